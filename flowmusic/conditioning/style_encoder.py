"""Features of an excerpt -> style tokens, through a bottleneck that is too narrow for what is played."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from flowmusic.attention import Rotation, SelfAttention, rotation
from flowmusic.conditioning.quantise import ResidualQuantiser
from flowmusic.conditioning.style import StyleConfig, StyleTokens


@dataclass(frozen=True)
class StyleFeatures:
    """Frozen features of one excerpt per item.

    Shape:
        values (B, T, F)
        mask   (B, T) bool: True on the frames of the excerpt; an item without any has no style
    """

    values: Tensor
    mask: Tensor

    def __post_init__(self) -> None:
        if self.values.ndim != 3 or self.mask.shape != self.values.shape[:2] or self.mask.dtype != torch.bool:
            raise ValueError(
                "style features must be (B, T, F) with a bool mask (B, T), "
                f"got {tuple(self.values.shape)} and {self.mask.dtype} {tuple(self.mask.shape)}"
            )


def pad_features(excerpts: Sequence[Tensor]) -> StyleFeatures:
    """From the features (T_i, F) of each item, none of which is padded."""
    lengths = torch.tensor([excerpt.shape[0] for excerpt in excerpts])
    mask = torch.arange(int(lengths.max()))[None] < lengths[:, None]
    return StyleFeatures(nn.utils.rnn.pad_sequence(list(excerpts), batch_first=True), mask)


@dataclass(frozen=True)
class StyleEncoding:
    """Style tokens, the codes of each of them (B, M, codebooks), and the commitment loss of training."""

    tokens: StyleTokens
    codes: Tensor
    commitment: Tensor


class StyleBlock(nn.Module):
    """Self-attention and feed-forward, each after a layer norm. Shape: (B, T, N) -> (B, T, N)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm_attention, self.norm_mlp = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = SelfAttention(width, heads)
        self.expand, self.contract = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)

    def forward(self, x: Tensor, by: Rotation, key_mask: Tensor) -> Tensor:
        x = x + self.attention(self.norm_attention(x), by, key_mask)
        out: Tensor = x + self.contract(functional.gelu(self.expand(self.norm_mlp(x))))
        return out


class StyleConditioner(nn.Module):
    """Transformer -> batch norm -> residual quantiser -> every n-th frame (arXiv 2407.12563, §3).

    Fewer codebooks say less: the tokens of one codebook alone hold the broadest traits. The tokens carry no
    positions, so what attends to them cannot read off in which order things came.

    Shape: StyleFeatures of (B, T, F) -> StyleTokens of (B, ceil(T / token_every), style_dim)
    """

    def __init__(self, config: StyleConfig, style_dim: int) -> None:
        super().__init__()
        self.config = config
        self.project_in = nn.Linear(config.feature_dim, style_dim)
        self.blocks = nn.ModuleList(StyleBlock(style_dim, config.heads) for _ in range(config.depth))
        # the scale of what is quantised is given: neither the codes nor the encoder can run away or shrink
        self.norm = nn.BatchNorm1d(style_dim, affine=False)
        self.quantiser = ResidualQuantiser(config.codebooks, config.codes, style_dim)

    def forward(
        self,
        features: StyleFeatures,
        codebooks: int | Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> StyleEncoding:
        """codebooks: how many to use (all), for the batch or (B,) by item. generator: needed in training."""
        if features.values.shape[2] != self.config.feature_dim:
            raise ValueError(
                f"style features must have {self.config.feature_dim} channels, got {features.values.shape[2]}"
            )
        encoded = self._encode(features)  # (B, T, N)
        mask = features.mask
        if self.training and int(mask.sum()) < 2:
            raise ValueError("training of the style conditioner needs at least one excerpt in a batch")
        by_frame = None if codebooks is None else self._codebooks(codebooks, mask)[mask]
        quantised = self.quantiser(self._normalise(encoded[mask]), by_frame, generator)
        every = self.config.token_every
        tokens = quantised.values.new_zeros(*mask.shape, encoded.shape[2])
        tokens[mask] = quantised.values
        codes = quantised.codes.new_zeros(*mask.shape, self.quantiser.n_codebooks)
        codes[mask] = quantised.codes
        return StyleEncoding(
            StyleTokens(tokens[:, ::every], mask[:, ::every]), codes[:, ::every], quantised.commitment
        )

    def _encode(self, features: StyleFeatures) -> Tensor:
        x = self.project_in(features.values.masked_fill(~features.mask.unsqueeze(-1), 0.0))
        n_frames, head_dim = x.shape[1], x.shape[2] // self.config.heads
        # an item without an excerpt attends to its padding: no NaN, and nobody reads the result
        seen = features.mask | ~features.mask.any(dim=1, keepdim=True)
        by = rotation(n_frames, head_dim, x.device)
        for block in self.blocks:
            x = block(x, by, seen[:, None, None])
        return x.float()

    def _normalise(self, vectors: Tensor) -> Tensor:
        with torch.autocast(vectors.device.type, enabled=False):
            out: Tensor = self.norm(vectors)
        return out

    def _codebooks(self, codebooks: int | Tensor, mask: Tensor) -> Tensor:
        """(B, T): how many codebooks each frame uses."""
        wanted = torch.as_tensor(codebooks, device=mask.device)
        if wanted.ndim > 1 or bool(((wanted < 1) | (wanted > self.config.codebooks)).any()):
            raise ValueError(
                f"style codebooks must be from 1 to {self.config.codebooks}, got {wanted.tolist()}"
            )
        return wanted.reshape(-1, 1).expand(mask.shape)
