"""Latents -> magnitudes: a ConvNeXt over time (after Vocos, arXiv 2306.00814, without its phase head)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from flowmusic.codec.refinement import Refinement


class ConvNeXtBlock(nn.Module):
    """Depthwise convolution over time, then a pointwise MLP, with a scaled residual. (B, W, T) -> same."""

    def __init__(self, width: int, expansion: int, kernel: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv1d(width, width, kernel, padding=kernel // 2, groups=width)
        self.norm = nn.LayerNorm(width)
        self.widen = nn.Linear(width, expansion * width)
        self.narrow = nn.Linear(expansion * width, width)
        self.gain = nn.Parameter(torch.full((width,), 0.2))

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.norm(self.depthwise(x).transpose(1, 2))  # (B, T, W)
        hidden = self.narrow(nn.functional.gelu(self.widen(hidden)))
        return x + (self.gain * hidden).transpose(1, 2)


class MagnitudeDecoder(nn.Module):
    """(B, T, D) latents -> log10 STFT magnitudes, one tensor a band.

    The trunk runs at `upsample` columns a latent frame; band i, with `bands[i] = (columns, bins)`, is read
    off each of them as so many columns of its own: (B, T * upsample * columns, bins). With `refine[i]`,
    channels and depth, it is refined beside `n_maps` maps of the levels that the latents store (`LevelMaps`).
    """

    def __init__(
        self,
        latent_dim: int,
        bands: Sequence[tuple[int, int]],
        upsample: int,
        width: int,
        depth: int,
        refine: Sequence[tuple[int, int]],
        n_maps: int,
        expansion: int = 3,
        kernel: int = 7,
    ) -> None:
        super().__init__()
        self.bands, self.upsample, self.width = tuple(bands), upsample, width
        self.enter = nn.Linear(3 * latent_dim, upsample * width)
        self.blocks = nn.Sequential(*(ConvNeXtBlock(width, expansion, kernel) for _ in range(depth)))
        self.norm = nn.LayerNorm(width)
        self.leave = nn.Linear(width, sum(columns * bins for columns, bins in self.bands))
        nn.init.constant_(self.leave.bias, -3.0)
        self.refine = nn.ModuleList(
            Refinement(bins, n_maps, columns, channels, layers) if channels else nn.Identity()
            for (columns, bins), (channels, layers) in zip(self.bands, refine, strict=True)
        )

    def compute_in(self, dtype: torch.dtype) -> None:
        """Hold the weights in `dtype`, for inference; those that give levels in float32: 8 bits are .1 dB."""
        self.to(dtype)
        self.norm.float()
        self.leave.float()
        for part in self.refine:
            if isinstance(part, Refinement):
                part.leave.float()

    def forward(self, latents: Tensor, levels: Sequence[Tensor] = ()) -> list[Tensor]:
        batch, frames, _ = latents.shape
        dtype = self.enter.weight.dtype
        latents = latents.to(dtype)
        # Each frame with its neighbours: what lies between two latent frames needs both.
        padded = torch.cat([latents[:, :1], latents, latents[:, -1:]], dim=1)  # (B, T + 2, D)
        context = torch.cat([padded[:, :-2], padded[:, 1:-1], padded[:, 2:]], dim=-1)  # (B, T, 3D)
        hidden = self.enter(context).reshape(batch, frames * self.upsample, self.width)
        hidden = self.blocks(hidden.transpose(1, 2)).transpose(1, 2)  # (B, T * upsample, W)
        out = self.leave(self.norm(hidden.to(self.norm.weight.dtype)))
        out = out.split([columns * bins for columns, bins in self.bands], dim=-1)
        read = [x.reshape(batch, -1, bins) for x, (_, bins) in zip(out, self.bands, strict=True)]
        if not levels:
            return read
        parts = zip(self.refine, read, levels, strict=True)
        return [part(x, maps) if isinstance(part, Refinement) else x for part, x, maps in parts]
