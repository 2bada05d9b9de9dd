"""What a decoder predicts, refined by convolutions over time and frequency together.

A decoder that reads all bins of a column off one vector has weights of its own for each bin, and no more
freedom than that vector has numbers. What a partial or a stroke looks like is the same at all bins, so that
convolutions learn it from all of them.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from flowmusic.codec.analysis import FLOOR_DB, BandAnalysis, spread_over_bins
from flowmusic.codec.bands import BandStft

KERNEL = (5, 3)
MIDDLE = 2.5  # log10 amplitudes are around -2.5


class ConvBlock(nn.Module):
    """x + what a convolution and a pointwise layer make of it. (B, C, T, F) -> same."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        padding = (KERNEL[0] // 2, KERNEL[1] // 2)
        self.conv = nn.Conv2d(channels, channels, KERNEL, padding=padding)
        self.mix = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        mixed: Tensor = self.mix(nn.functional.gelu(self.conv(x)))
        return x + mixed


class Refinement(nn.Module):
    """Log10 magnitudes (B, T, F) and the stored levels at their bins (B, M, T, F) -> magnitudes (B, T, F).

    It works on patches of `columns` by `2 * columns` bins. What it adds starts at zero.
    """

    def __init__(self, n_bins: int, n_maps: int, columns: int, channels: int, depth: int) -> None:
        super().__init__()
        self.patch = (columns, 2 * columns)
        cells = columns * 2 * columns
        n_places = -(-n_bins // self.patch[1])
        padding = (KERNEL[0] // 2, KERNEL[1] // 2)
        self.enter = nn.Conv2d((1 + n_maps) * cells, channels, KERNEL, padding=padding)
        self.place = nn.Parameter(torch.zeros(channels, 1, n_places))
        self.blocks = nn.Sequential(*(ConvBlock(channels) for _ in range(depth)))
        self.leave = nn.Conv2d(channels, cells, 1)
        for parameter in self.leave.parameters():
            nn.init.zeros_(parameter)

    def forward(self, log_magnitude: Tensor, levels: Tensor) -> Tensor:
        n_bins = log_magnitude.shape[-1]
        maps = torch.cat([log_magnitude[:, None], levels.to(log_magnitude)], dim=1)  # (B, 1 + M, T, F)
        patches = self._to_patches(maps + MIDDLE).to(self.enter.weight.dtype)
        hidden = self.blocks(self.enter(patches) + self.place)
        added = self.leave(hidden.to(self.leave.weight.dtype))
        return log_magnitude + self._from_patches(added)[..., :n_bins]

    def _to_patches(self, maps: Tensor) -> Tensor:
        """(B, M, T, F) -> (B, M * columns * bins, T / columns, F / bins), F filled up."""
        tall, wide = self.patch
        batch, n_maps, frames, bins = maps.shape
        padded = nn.functional.pad(maps, (0, -bins % wide))
        cut = padded.reshape(batch, n_maps, frames // tall, tall, -1, wide)
        return cut.permute(0, 1, 3, 5, 2, 4).reshape(batch, n_maps * tall * wide, frames // tall, -1)

    def _from_patches(self, x: Tensor) -> Tensor:
        """(B, columns * bins, T / columns, F / bins) -> (B, T, F)."""
        tall, wide = self.patch
        batch, _, rows, places = x.shape
        cells = x.reshape(batch, tall, wide, rows, places).permute(0, 3, 1, 4, 2)
        return cells.reshape(batch, rows * tall, places * wide)


class LevelMaps:
    """The band levels that latents store, read at the bins and columns of each band of the decoder.

    Maps of each band, in log10 amplitude: of the resolution that resolves most frequencies at a bin, then
    of every resolution that has several columns a latent frame.

    Shape: features (B, T, N) -> a tensor (B, M, T', F) a band
    """

    def __init__(self, analysis: BandAnalysis, bands: Sequence[BandStft]) -> None:
        self.analysis = analysis
        self.columns = [analysis.hop // band.stft.hop for band in bands]
        short = [index for index, known in enumerate(analysis.resolutions) if known.subframes > 1]
        self.n_maps = 1 + len(short)
        self.spreads = [
            [self._finest(band.bins_hz), *({index: self._spread(index, band.bins_hz)} for index in short)]
            for band in bands
        ]

    def __call__(self, features: Tensor) -> list[Tensor]:
        maps = []
        for columns, kinds in zip(self.columns, self.spreads, strict=True):
            read = [self._read(features, spreads, columns) for spreads in kinds]
            maps.append(torch.stack(read, dim=1) + FLOOR_DB / 20.0)
        return maps

    def _read(self, features: Tensor, spreads: dict[int, Tensor], columns: int) -> Tensor:
        """Levels of some resolutions, each spread over bins (F, N): (B, T * columns, F)."""
        batch, frames, _ = features.shape
        total = features.new_zeros(())
        for index, spread in spreads.items():
            levels = features[..., self.analysis.feature_slice(index)].reshape(batch, -1, spread.shape[1])
            at_bins = (levels @ spread.T.to(levels)).transpose(1, 2)  # (B, F, T * subframes)
            total = total + nn.functional.interpolate(at_bins, size=frames * columns, mode="linear")
        return total.transpose(1, 2)

    def _finest(self, bins_hz: Tensor) -> dict[int, Tensor]:
        known = self.analysis.resolutions
        covers = torch.stack([(bins_hz >= r.low_hz) & (bins_hz <= r.high_hz) for r in known])  # (R, F)
        chosen = (torch.tensor([r.bands_per_octave for r in known])[:, None] * covers).argmax(dim=0)
        return {
            index: self._spread(index, bins_hz) * (chosen == index)[:, None]
            for index in range(len(known))
            if bool((chosen == index).any())
        }

    def _spread(self, index: int, bins_hz: Tensor) -> Tensor:
        return spread_over_bins(self.analysis.resolutions[index], bins_hz)
