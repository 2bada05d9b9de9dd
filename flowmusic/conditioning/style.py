"""Style tokens: how a recording sounds, as a short sequence that the model attends to."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

MIN_EXCERPT_S, MAX_EXCERPT_S = 1.5, 4.5
"""Of a recording that style is taken from, in training and in use (arXiv 2407.12563, §4)."""


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
