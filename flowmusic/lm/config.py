"""The shape of a music language model: all that must be known to build one before its weights are read."""

from __future__ import annotations

from dataclasses import dataclass, fields

from features.controls import CONTROL_NAMES
from flowmusic.conditioning.style import StyleConfig, check_positive
from flowmusic.model.config import ConditionedConfig

PATTERNS = ("depth", "delay")


@dataclass(frozen=True)
class LmConfig(ConditionedConfig):
    """Shape of a `TokenTransformer`. The defaults are those of the bundled language model.

    latent_dim        channels D of the codec's latents
    image_dim         how many of them, the last ones, are the stereo image, which has a codebook of its own
    codebooks         residual codebooks of the sound
    codes             codes of each codebook
    width             channels H of the residual stream
    depth             transformer blocks
    heads             attention heads; `width / heads` must be even (rotary positions turn pairs)
    mlp_ratio         hidden channels of the feed-forward part, in widths
    cross_every       every how many blocks the tokens of text and style are attended to
    window            steps that a step attends to: itself and those just before it, in clips of any length
    lookahead         frames (odd) of the controls, half before and half after, that a frame sees
    pattern           how the tokens of a frame are predicted: one after the other by a small transformer over
                      codebooks ('depth', RQ-Transformer, arXiv 2203.01941), or each a frame later than the
                      one before it ('delay', MusicGen, arXiv 2306.05284)
    depth_width, depth_blocks, depth_heads   of that small transformer
    control_fold      control frames per latent frame
    controls          names of the controls that it follows, in the order of the weights' channels
    text_dim          channels E of the text encoder's states
    style_dim         channels of a style token
    style             shape of what makes style tokens of a recording; None: the model knows no style
    """

    latent_dim: int = 172
    image_dim: int = 12
    codebooks: int = 8
    codes: int = 512
    width: int = 288
    depth: int = 8
    heads: int = 6
    mlp_ratio: float = 3.0
    cross_every: int = 2
    window: int = 250
    lookahead: int = 9
    pattern: str = "depth"
    depth_width: int = 192
    depth_blocks: int = 2
    depth_heads: int = 4
    control_fold: int = 2
    text_dim: int = 384
    style_dim: int = 128
    style: StyleConfig | None = None
    controls: tuple[str, ...] = CONTROL_NAMES

    def __post_init__(self) -> None:
        others = ("mlp_ratio", "style", "image_dim", "controls", "pattern")
        check_positive(self, [field.name for field in fields(self) if field.name not in others])
        check_positive(self, ("mlp_ratio",), whole=False)
        if self.pattern not in PATTERNS:
            raise ValueError(f"LmConfig.pattern must be one of {', '.join(PATTERNS)}, got {self.pattern!r}")
        for width, heads in ((self.width, self.heads), (self.depth_width, self.depth_heads)):
            if width % heads or (width // heads) % 2:
                raise ValueError(f"LmConfig: a width must be an even multiple of heads, got {width}, {heads}")
        if self.lookahead % 2 == 0:
            raise ValueError(f"LmConfig.lookahead must be odd, got {self.lookahead}")
        self.check_conditions()

    @property
    def tokens_per_frame(self) -> int:
        """Codebooks K of the sound, and one of the stereo image where there is one."""
        return self.codebooks + (1 if self.image_dim else 0)

    @property
    def hidden(self) -> int:
        """Channels inside the feed-forward part."""
        return round(self.width * self.mlp_ratio)

    @classmethod
    def from_dict(cls, values: object, source: str = "the configuration of the language model") -> LmConfig:
        """From plain values. ValueError, naming `source`, for unknown keys; missing ones are the defaults."""
        return cls(**cls.settings_of(values, source))
