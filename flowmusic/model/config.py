"""The shape of a flow model: everything that must be known to build one before its weights are read."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

from features.controls import CONTROL_NAMES, CONTROLS
from flowmusic.conditioning.condition import ConditionShape
from flowmusic.conditioning.style import StyleConfig, check_positive


@dataclass(frozen=True)
class ConditionedConfig:
    """What the configurations of the flow and of the language model say of latents and conditions."""

    if TYPE_CHECKING:  # fields of those that inherit this, each with a default and a place of its own
        latent_dim: int
        image_dim: int
        control_fold: int
        text_dim: int
        style_dim: int
        controls: tuple[str, ...]

    @property
    def sound_dim(self) -> int:
        """Channels of the latents that are not the stereo image."""
        return self.latent_dim - self.image_dim

    @property
    def condition_shape(self) -> ConditionShape:
        """The shape of the conditions that the model takes."""
        return ConditionShape(
            self.latent_dim, self.text_dim, self.style_dim, self.control_fold, self.controls
        )

    def check_conditions(self) -> None:
        """ValueError, naming the field, for a stereo image or controls that cannot be."""
        name = type(self).__name__
        if not 0 <= self.image_dim < self.latent_dim:
            raise ValueError(
                f"{name}.image_dim must be from 0 to less than latent_dim, "
                f"got {self.image_dim} of {self.latent_dim}"
            )
        if len(set(self.controls)) < len(self.controls):
            raise ValueError(f"{name}.controls must not name a control twice, got {self.controls}")
        for control in self.controls:
            CONTROLS.check(control)

    @classmethod
    def settings_of(cls, values: object, source: str) -> dict[str, Any]:
        """Settings from plain values. ValueError, naming `source`, for unknown keys."""
        settings = _known(values, cls, source)
        if "controls" in settings:
            settings["controls"] = _names(settings["controls"], source)
        style = settings.pop("style", None)
        if style is not None:
            settings["style"] = StyleConfig(**_known(style, StyleConfig, f"style in {source}"))
        return settings


@dataclass(frozen=True)
class FlowConfig(ConditionedConfig):
    """Shape of a `FlowTransformer`. The defaults are those of the bundled model.

    latent_dim      channels D of the codec's latents
    image_dim       how many of them, the last ones, are the stereo image; a head of its own makes them
    width           channels H of the residual stream
    depth           transformer blocks
    heads           attention heads; `width / heads` must be even (rotary positions turn pairs)
    mlp_ratio       hidden channels of the feed-forward part, in widths
    conv_kernel     frames that the depthwise convolution of the feed-forward part sees (odd)
    cross_every     every how many blocks the tokens of text and style are attended to
    control_fold    control frames per latent frame
    controls        names of the controls that it follows, in the order of the weights' channels
    text_dim        channels E of the text encoder's states
    style_dim       channels of a style token
    token_summary   whether the mean tokens of text and style are added to every frame as well
    text_adapter    hidden channels of what puts any words as plain ones in that summary; 0: there is none
    style           shape of what makes style tokens of a recording; None: the model knows no style
    time_channels   sinusoidal channels of the time embedding (even)
    window_s        seconds of a training excerpt: long clips are made in windows of this length
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
    token_summary: bool = False
    style: StyleConfig | None = None
    image_dim: int = 0
    text_adapter: int = 0
    controls: tuple[str, ...] = CONTROL_NAMES
    window_s: float = 8.0

    def __post_init__(self) -> None:
        others = ("mlp_ratio", "window_s", "token_summary", "style", "image_dim", "text_adapter", "controls")
        check_positive(self, [field.name for field in fields(self) if field.name not in others])
        check_positive(self, ("mlp_ratio", "window_s"), whole=False)
        if self.width % self.heads or (self.width // self.heads) % 2:
            raise ValueError(
                f"FlowConfig.width must be an even multiple of heads, got {self.width} and {self.heads}"
            )
        if self.conv_kernel % 2 == 0 or self.time_channels % 2:
            raise ValueError(
                "FlowConfig.conv_kernel must be odd and time_channels even, "
                f"got {self.conv_kernel} and {self.time_channels}"
            )
        if not isinstance(self.token_summary, bool):
            raise ValueError(f"FlowConfig.token_summary must be true or false, got {self.token_summary!r}")
        for name in ("image_dim", "text_adapter"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int):
                raise ValueError(f"FlowConfig.{name} must be a whole number, got {value!r}")
        if self.text_adapter < 0 or (self.text_adapter and not self.token_summary):
            raise ValueError(
                "FlowConfig.text_adapter must be 0, or positive where token_summary is true, "
                f"got {self.text_adapter}"
            )
        self.check_conditions()
        if self.style is not None:
            self._check_style(self.style)

    def _check_style(self, style: StyleConfig) -> None:
        if self.style_dim % style.heads or (self.style_dim // style.heads) % 2:
            raise ValueError(
                "FlowConfig.style_dim must be an even multiple of style.heads, "
                f"got {self.style_dim} and {style.heads}"
            )
        if style.features == "codec" and style.feature_dim != self.sound_dim:
            raise ValueError(
                "FlowConfig.style.feature_dim must be latent_dim, less image_dim, where the features are "
                f"those of the codec, got {style.feature_dim} and {self.sound_dim}"
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
        return cls(**cls.settings_of(values, source))

    @classmethod
    def from_json(cls, text: str, source: str = "the flow configuration") -> FlowConfig:
        """Read what `to_json` wrote. ValueError, naming `source`, for broken JSON or unknown keys."""
        try:
            values = json.loads(text)
        except json.JSONDecodeError as error:
            raise ValueError(f"{source} is not valid JSON: {error}") from error
        return cls.from_dict(values, source)


def _known(values: object, kind: type[Any], source: str) -> dict[str, Any]:
    """A table of settings that are all fields of the dataclass `kind`; ValueError, naming `source`."""
    if not isinstance(values, dict):
        raise ValueError(f"{source} must be a table of settings, got {type(values).__name__}")
    known = [field.name for field in fields(kind)]
    unknown = sorted(str(key) for key in values if key not in known)
    if unknown:
        raise ValueError(f"{source} has unknown keys {unknown}; expected some of {known}")
    return dict(values)


def _names(values: object, source: str) -> tuple[str, ...]:
    """The names of controls in a configuration; ValueError, naming `source`, where they are none."""
    if not isinstance(values, (list, tuple)) or not all(isinstance(name, str) for name in values):
        raise ValueError(f"controls in {source} must be a list of names, got {values!r}")
    return tuple(values)
