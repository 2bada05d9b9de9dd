"""The bands of the decoder: which STFT covers which frequencies, and how they cross over."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from flowmusic.codec.phase import Stft, reconstruct

LOG_FLOOR = -5.0  # log10 of the smallest magnitude that differs from silence: -100 dB


def from_log10(levels: Tensor) -> Tensor:
    """10 ** levels. Unlike torch's power of a number, it has the same bits whatever the number of threads."""
    return torch.exp(levels * math.log(10.0))


@dataclass(frozen=True)
class DecoderBand:
    """An STFT (Hann `window` and `hop` in samples) that the decoder predicts from `low_hz` to `high_hz`.

    With `refine_channels`, what it predicts is refined by `refine_depth` blocks (flowmusic.codec.refinement).
    """

    window: int
    hop: int
    low_hz: float
    high_hz: float
    refine_channels: int = 0
    refine_depth: int = 3


# Phases from smoothed magnitudes (3 x 3) keep a chroma correlation of .96 on recordings with this pair,
# .90 with a window of 2048 alone, and its onsets are sharper than those of 4096 alone.
DEFAULT_BANDS = (DecoderBand(4096, 640, 0.0, 1550.0), DecoderBand(2048, 320, 1550.0, 16000.0))
CROSSOVER_HZ = 300.0


class BandStft:
    """One band of the decoder: the bins of its STFT, and their weights where bands cross over."""

    def __init__(self, band: DecoderBand, sample_rate: int) -> None:
        self.stft = Stft(band.window, band.hop)
        bin_hz = self.stft.bins_hz(sample_rate)
        # Equal power where two bands meet: their phases are found separately, so they do not add up in phase.
        rise = ((bin_hz - band.low_hz) / CROSSOVER_HZ + 0.5).clamp(0, 1) if band.low_hz > 0 else None
        fall = (
            ((bin_hz - band.high_hz) / CROSSOVER_HZ + 0.5).clamp(0, 1)
            if band.high_hz < sample_rate / 2
            else None
        )
        weight = torch.ones(self.stft.n_bins)
        weight = weight if rise is None else weight * torch.sin(rise * math.pi / 2)
        weight = weight if fall is None else weight * torch.cos(fall * math.pi / 2)
        inside = torch.nonzero(weight > 1e-4)[:, 0]
        self.first, self.last = int(inside[0]), int(inside[-1]) + 1
        self.weight = weight[self.first : self.last]
        self.bins_hz = bin_hz[self.first : self.last]

    @property
    def n_bins(self) -> int:
        """F, bins of the STFT that the decoder predicts."""
        return self.last - self.first

    def log_magnitude(self, audio: Tensor, n_columns: int) -> Tensor:
        """(B, S) -> (B, n_columns, F), log10, floored."""
        magnitude = self.stft.magnitude(audio, n_columns)[..., self.first : self.last]
        return torch.log10(magnitude.clamp(min=10.0**LOG_FLOOR))

    def synthesise(self, log_magnitude: Tensor, n_samples: int, iterations: int) -> Tensor:
        """(B, T', F) -> this band's share of the sound, (B, n_samples)."""
        magnitude = torch.where(log_magnitude > LOG_FLOOR, from_log10(log_magnitude), 0.0)
        magnitude = magnitude * self.weight.to(log_magnitude.device)
        padded = nn.functional.pad(magnitude, (self.first, 0))  # (B, T', F) of the bins from 0
        return reconstruct(padded, self.stft, n_samples, iterations)
