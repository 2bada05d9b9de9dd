"""Sound from magnitudes alone: a phase-vocoder start, then a few fast Griffin-Lim iterations.

Conventions: a "magnitude" here is that of an STFT with a Hann window whose phase is measured at
the middle of the window, where all bins of one partial have the same phase.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


class Stft:
    """STFT whose frame i is centred at (i + 0.5) * hop samples, with one spare frame at either end."""

    def __init__(self, window: int, hop: int) -> None:
        self.window, self.hop = window, hop
        self.taper = torch.hann_window(window)
        self.scale = 4.0 / window  # a full-scale sine has magnitude 1

    @property
    def n_bins(self) -> int:
        return self.window // 2 + 1

    def bins_hz(self, sample_rate: int) -> Tensor:
        """Frequency of each bin, (F,)."""
        return torch.arange(self.n_bins) * (sample_rate / self.window)

    def spectrum(self, audio: Tensor, n_frames: int) -> Tensor:
        """(B, S) -> complex (B, F, n_frames + 2): the first and last column are the spare ones."""
        left = self.hop // 2
        right = (n_frames + 1) * self.hop - left - audio.shape[-1]
        padded = torch.nn.functional.pad(audio, (left, right))
        return (
            torch.stft(
                padded,
                self.window,
                self.hop,
                window=self.taper.to(audio.device),
                center=True,
                pad_mode="constant",
                return_complex=True,
            )
            * self.scale
        )

    def magnitude(self, audio: Tensor, n_frames: int) -> Tensor:
        """(B, S) -> (B, n_frames, F)."""
        return self.spectrum(audio, n_frames)[..., 1:-1].abs().transpose(1, 2)

    def synthesise(self, spectrum: Tensor, n_samples: int) -> Tensor:
        """Inverse of `spectrum`: complex (B, F, T + 2) -> (B, n_samples)."""
        length = (spectrum.shape[-1] - 1) * self.hop
        audio = torch.istft(
            spectrum / self.scale,
            self.window,
            self.hop,
            window=self.taper.to(spectrum.device),
            center=True,
            length=length,
        )
        return audio[:, self.hop // 2 : self.hop // 2 + n_samples]


def partial_phases(magnitude: Tensor, hop: int, window: int) -> Tensor:
    """Phases of sinusoids that glide from peak to peak: (B, T, F) -> radians (B, T, F).

    Between two minima of a frame's spectrum lies one partial; its frequency is read off the
    parabola through the logarithm of its peak; its phase advances by hop times the mean of the old
    and the new frequency. All bins of the region take the phase of the peak.
    """
    _, n_frames, n_bins = magnitude.shape
    log_mag = torch.log(magnitude.clamp(min=1e-7))
    here, below, above = log_mag[..., 1:-1], log_mag[..., :-2], log_mag[..., 2:]
    is_peak = torch.nn.functional.pad((here > below) & (here >= above), (1, 1))
    is_valley = torch.nn.functional.pad((here <= below) & (here < above), (1, 1))
    region = torch.cumsum(is_valley, dim=-1)  # (B, T, F) index of the region of each bin
    bins = torch.arange(n_bins, device=region.device).expand_as(region)
    peak_of_region = torch.zeros_like(region).scatter_reduce(
        -1, region, torch.where(is_peak, bins, 0), reduce="amax", include_self=True
    )
    peak = peak_of_region.gather(-1, region)  # (B, T, F) peak bin of each bin's region
    curve = below - 2 * here + above
    offset = torch.where(curve < -1e-6, 0.5 * (below - above) / curve, torch.zeros_like(curve)).clamp(
        -0.5, 0.5
    )
    bin_frequency = bins + torch.nn.functional.pad(offset, (1, 1))
    omega = (2 * math.pi / window) * bin_frequency.gather(-1, peak)  # (B, T, F) radians a sample
    before = torch.cat([omega[:, :1], omega[:, :-1].gather(-1, peak[:, 1:])], dim=1)
    advance = torch.remainder(0.5 * hop * (before + omega), 2 * math.pi)
    phases = [advance[:, 0]]
    for index in range(1, n_frames):
        phases.append(torch.remainder(phases[-1].gather(-1, peak[:, index]) + advance[:, index], 2 * math.pi))
    return torch.stack(phases, dim=1)


def reconstruct(
    magnitude: Tensor, stft: Stft, n_samples: int, iterations: int = 6, momentum: float = 0.9
) -> Tensor:
    """Sound whose STFT has the given magnitudes: (B, T, F) -> (B, n_samples).

    Fast Griffin-Lim (Perraudin et al. 2013) from phase-vocoder phases (Laroche & Dolson 1999).
    """
    padded = torch.cat([magnitude[:, :1], magnitude, magnitude[:, -1:]], dim=1)  # (B, T + 2, F)
    phase = partial_phases(padded, stft.hop, stft.window).transpose(1, 2)  # (B, F, T + 2)
    target = padded.transpose(1, 2)
    # torch.stft measures phase at the window's start: bin k at its middle differs by (-1)^k.
    sign = 1.0 - 2.0 * (torch.arange(target.shape[1], device=target.device) % 2).to(target)
    spectrum = torch.polar(target, phase) * sign[:, None]
    previous = torch.zeros_like(spectrum)
    total = (padded.shape[1] - 1) * stft.hop
    n_inner = padded.shape[1] - 2
    for _ in range(iterations):
        audio = stft.synthesise(spectrum, total - stft.hop // 2)
        consistent = stft.spectrum(audio[:, : n_inner * stft.hop], n_inner)
        accelerated = consistent + momentum * (consistent - previous)
        previous = consistent
        spectrum = accelerated * (
            target * torch.rsqrt(accelerated.real.square() + accelerated.imag.square() + 1e-12)
        )
    return stft.synthesise(spectrum, n_samples)
