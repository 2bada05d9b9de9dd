"""Style tokens: how a recording sounds, as a short sequence that the model attends to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

MIN_EXCERPT_S, MAX_EXCERPT_S = 1.5, 4.5
"""Of a recording that style is taken from, in training and in use (arXiv 2407.12563, §4)."""


@dataclass(frozen=True)
class StyleConfig:
    """Shape of a `StyleConditioner`. The defaults are those of a mono model without style.

    features      what the excerpt is turned into: 'codec' (the model's own latents), or a feature
                  extractor of transformers (a folder, or an id of the hub)
    feature_dim   channels F of the features
    feature_rate  features a second
    depth         transformer blocks
    heads         attention heads
    codebooks     codebooks of the residual quantiser
    codes         codes of each codebook
    token_every   every how many features there is a style token
    """

    features: str = "codec"
    feature_dim: int = 160
    feature_rate: float = 25.0
    depth: int = 2
    heads: int = 4
    codebooks: int = 6
    codes: int = 256
    token_every: int = 5

    def __post_init__(self) -> None:
        check_positive(self, ("feature_dim", "depth", "heads", "codebooks", "codes", "token_every"))
        check_positive(self, ("feature_rate",), whole=False)
        if not isinstance(self.features, str) or not self.features:
            raise ValueError(f"StyleConfig.features must name a feature extractor, got {self.features!r}")


@dataclass(frozen=True)
class StyleTokens:
    """Style of each item of a batch.

    Shape:
        tokens (B, M, style_dim)
        mask   (B, M) bool: True where a token is real; an item without any has no style
    """

    tokens: Tensor
    mask: Tensor

    def __post_init__(self) -> None:
        if self.tokens.ndim != 3 or self.mask.shape != self.tokens.shape[:2] or self.mask.dtype != torch.bool:
            raise ValueError(
                "style tokens must be (B, M, style_dim) with a bool mask (B, M), "
                f"got {tuple(self.tokens.shape)} and {self.mask.dtype} {tuple(self.mask.shape)}"
            )

    @classmethod
    def null(cls, batch_size: int, style_dim: int) -> StyleTokens:
        """No style: a sequence of no tokens."""
        return cls(torch.zeros(batch_size, 0, style_dim), torch.zeros(batch_size, 0, dtype=torch.bool))


def check_positive(config: object, names: Sequence[str], whole: bool = True) -> None:
    """ValueError, naming the field, unless all of these fields of a configuration are positive numbers."""
    for name in names:
        value = getattr(config, name)
        if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)) or value <= 0:
            kind = "a positive whole number" if whole else "a positive number"
            raise ValueError(f"{type(config).__name__}.{name} must be {kind}, got {value!r}")
