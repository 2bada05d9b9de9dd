"""The analysis of the bundled codec: log-frequency band levels at several time-frequency resolutions.

Low notes need long windows to be resolved, strokes need short ones; no single spectrogram has
both, so each latent frame describes four, each over its own range of frequencies.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

FLOOR_DB = -90.0


@dataclass(frozen=True)
class Resolution:
    """One spectrogram: bands of `bands_per_octave` from `low_hz` to `high_hz`.

    `window` samples of sound a column, `subframes` columns a latent frame, and `weight`, how much
    the principal components care about these bands.
    """

    window: int
    low_hz: float
    high_hz: float
    bands_per_octave: float
    subframes: int
    weight: float = 1.0

    @property
    def n_bands(self) -> int:
        return round(math.log2(self.high_hz / self.low_hz) * self.bands_per_octave)

    @property
    def centres_hz(self) -> Tensor:
        """Middle of each band, (N,)."""
        return self.low_hz * 2.0 ** ((torch.arange(self.n_bands) + 0.5) / self.bands_per_octave)


DEFAULT_RESOLUTIONS = (
    Resolution(window=10240, low_hz=40.0, high_hz=500.0, bands_per_octave=24, subframes=1),
    Resolution(window=5120, low_hz=500.0, high_hz=3200.0, bands_per_octave=24, subframes=1),
    Resolution(window=2560, low_hz=3200.0, high_hz=6400.0, bands_per_octave=24, subframes=1),
    Resolution(window=1536, low_hz=500.0, high_hz=16000.0, bands_per_octave=6, subframes=2, weight=1.2),
    Resolution(window=512, low_hz=60.0, high_hz=16000.0, bands_per_octave=1.25, subframes=4, weight=1.5),
)


def band_matrix(resolution: Resolution, sample_rate: int) -> Tensor:
    """Power-averaging triangles on a log-frequency axis, (window // 2 + 1, N); columns sum to one."""
    bins_hz = torch.arange(resolution.window // 2 + 1) * (sample_rate / resolution.window)  # (F,)
    centres = resolution.centres_hz  # (N,)
    # A band is never narrower than a bin, or it would fall between two of them.
    half_width = torch.maximum(
        centres * (2.0 ** (1.0 / resolution.bands_per_octave) - 1.0),
        torch.tensor(sample_rate / resolution.window),
    )
    weights = (1.0 - (bins_hz[:, None] - centres).abs() / half_width).clamp(min=0.0)  # (F, N)
    return weights / weights.sum(dim=0, keepdim=True).clamp(min=1e-9)


def spread_over_bins(resolution: Resolution, bins_hz: Tensor) -> Tensor:
    """Linear interpolation in log frequency from bands to bins (F,): (F, N); zero above the highest band."""
    position = torch.log2(bins_hz.clamp(min=1.0) / resolution.low_hz) * resolution.bands_per_octave - 0.5
    position = position.clamp(0, resolution.n_bands - 1)
    spread = (1.0 - (position[:, None] - torch.arange(resolution.n_bands)).abs()).clamp(min=0.0)
    return spread * (bins_hz <= resolution.high_hz)[:, None]


class BandAnalysis(nn.Module):
    """Sound -> band levels of every resolution, latent frame by latent frame."""

    def __init__(self, sample_rate: int, hop: int, resolutions: tuple[Resolution, ...]) -> None:
        super().__init__()
        self.sample_rate, self.hop, self.resolutions = sample_rate, hop, resolutions
        for index, resolution in enumerate(resolutions):
            if hop % resolution.subframes:
                raise ValueError(f"{resolution.subframes} subframes do not divide a hop of {hop} samples")
            self.register_buffer(f"bands_{index}", band_matrix(resolution, sample_rate), persistent=False)
            self.register_buffer(
                f"window_{index}",
                torch.hann_window(resolution.window) * (2 / resolution.window) * 2,
                persistent=False,
            )

    @property
    def n_features(self) -> int:
        return sum(r.n_bands * r.subframes for r in self.resolutions)

    def weights(self) -> Tensor:
        """Importance of each feature, (N,)."""
        return torch.cat([torch.full((r.n_bands * r.subframes,), r.weight) for r in self.resolutions])

    def feature_slice(self, index: int) -> slice:
        """Where the features of resolution `index` stand."""
        sizes = [r.n_bands * r.subframes for r in self.resolutions]
        return slice(sum(sizes[:index]), sum(sizes[: index + 1]))

    def levels(self, audio: Tensor, index: int) -> Tensor:
        """Band levels of one resolution: (B, S) -> (B, T * subframes, N), 20 dB above the floor are 1."""
        resolution = self.resolutions[index]
        step = self.hop // resolution.subframes
        n_columns = math.ceil(audio.shape[-1] / self.hop) * resolution.subframes
        left = resolution.window // 2 - step // 2
        right = n_columns * step + resolution.window - step - left - audio.shape[-1]
        padded = torch.nn.functional.pad(audio, (left, max(right, 0)))
        frames = padded.unfold(-1, resolution.window, step)[:, :n_columns]  # (B, T', window)
        power = torch.fft.rfft(frames * self.get_buffer(f"window_{index}")).abs().square()  # (B, T', F)
        level_db = 10.0 * torch.log10(power @ self.get_buffer(f"bands_{index}") + 10.0 ** (FLOOR_DB / 10))
        return (level_db - FLOOR_DB) / 20.0

    def forward(self, audio: Tensor) -> Tensor:
        """(B, S) -> (B, T, N), T = ceil(S / hop); every frame is centred on its own span of sound."""
        n_frames = math.ceil(audio.shape[-1] / self.hop)
        columns = [
            self.levels(audio, index).reshape(audio.shape[0], n_frames, -1)
            for index in range(len(self.resolutions))
        ]
        return torch.cat(columns, dim=-1)  # (B, T, N)
