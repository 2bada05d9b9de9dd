"""The shape of a flow model: everything that must be known to build one before its weights are read."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields


@dataclass(frozen=True)
class FlowConfig:
    """Shape of a `FlowTransformer`. The defaults are those of the embedded model.

    latent_dim      channels D of the codec's latents
    width           channels H of the residual stream
    depth           transformer blocks
    heads           attention heads; `width / heads` must be even (rotary positions turn pairs)
    mlp_ratio       hidden channels of the feed-forward part, in widths
    conv_kernel     frames that the depthwise convolution of the feed-forward part sees (odd)
    cross_every     every how many blocks the tokens of text and style are attended to
    control_fold    control frames per latent frame
    text_dim        channels E of the text encoder's states
    style_dim       channels of a style token
    time_channels   sinusoidal channels of the time embedding (even)
    """

    latent_dim: int = 160
    width: int = 320
    depth: int = 8
    heads: int = 5
    mlp_ratio: float = 3.0
    conv_kernel: int = 5
    cross_every: int = 2
    control_fold: int = 2
    text_dim: int = 384
    style_dim: int = 128
    time_channels: int = 256

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            whole = field.name != "mlp_ratio"
            if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)) or value <= 0:
                kind = "a positive whole number" if whole else "a positive number"
                raise ValueError(f"FlowConfig.{field.name} must be {kind}, got {value!r}")
        if self.width % self.heads or (self.width // self.heads) % 2:
            raise ValueError(
                f"FlowConfig.width must be an even multiple of heads, got {self.width} and {self.heads}"
            )
        if self.conv_kernel % 2 == 0 or self.time_channels % 2:
            raise ValueError(
                "FlowConfig.conv_kernel must be odd and time_channels even, "
                f"got {self.conv_kernel} and {self.time_channels}"
            )

    @property
    def hidden(self) -> int:
        """Channels inside the feed-forward part."""
        return round(self.width * self.mlp_ratio)

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=2)

    @classmethod
    def from_dict(cls, values: object, source: str = "the flow configuration") -> FlowConfig:
        """From plain values. ValueError, naming `source`, for unknown keys; missing ones are the defaults."""
        if not isinstance(values, dict):
            raise ValueError(f"{source} must be a table of settings, got {type(values).__name__}")
        known = [field.name for field in fields(cls)]
        unknown = sorted(str(key) for key in values if key not in known)
        if unknown:
            raise ValueError(f"{source} has unknown keys {unknown}; expected some of {known}")
        return cls(**values)

    @classmethod
    def from_json(cls, text: str, source: str = "the flow configuration") -> FlowConfig:
        """Read what `to_json` wrote. ValueError, naming `source`, for broken JSON or unknown keys."""
        try:
            values = json.loads(text)
        except json.JSONDecodeError as error:
            raise ValueError(f"{source} is not valid JSON: {error}") from error
        return cls.from_dict(values, source)
