"""Sound from magnitudes alone: a phase-vocoder start, then a few fast Griffin-Lim iterations.

Conventions: a "magnitude" here is that of an STFT with a Hann window whose phase is measured at
the middle of the window, where all bins of one partial have the same phase.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from flowmusic.codec.griffin_lim import griffin_lim


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
    _, _, n_bins = magnitude.shape
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
    phases = torch.remainder(0.5 * hop * (before + omega), 2 * math.pi)  # by how much each frame advances
    frames = zip(phases.unbind(1), phases.unbind(1)[1:], peak.unbind(1)[1:], strict=False)
    for earlier, phase, peaks in frames:  # in place: each becomes the sum of all before it
        phase.add_(earlier.gather(-1, peaks)).remainder_(2 * math.pi)
    return phases


@torch.no_grad()
def reconstruct(
    magnitude: Tensor, stft: Stft, n_samples: int, iterations: int = 6, momentum: float = 0.9
) -> Tensor:
    """Sound whose STFT has the given magnitudes of its lowest bins: (B, T, F) -> (B, n_samples).

    Fast Griffin-Lim (Perraudin et al. 2013) from phase-vocoder phases (Laroche & Dolson 1999). Where only low
    bins are given, phases are found at a lower sample rate, which changes nothing but their cost.
    """
    n_bins = magnitude.shape[-1]
    factor = _decimation(stft, n_bins)
    low = Stft(stft.window // factor, stft.hop // factor)
    magnitude = torch.nn.functional.pad(magnitude, (0, low.n_bins - n_bins))
    padded = torch.cat([magnitude[:, :1], magnitude, magnitude[:, -1:]], dim=1)  # (B, T + 2, F)
    # torch.stft measures phase at the window's start: bin k at its middle differs by (-1)^k.
    sign = 1.0 - 2.0 * (torch.arange(low.n_bins, device=magnitude.device) % 2).to(magnitude)
    spectrum = torch.polar(padded, partial_phases(padded, low.hop, low.window)) * sign
    spectrum = griffin_lim(spectrum, padded, low.window, low.hop, iterations, momentum)
    spectrum = torch.nn.functional.pad(spectrum, (0, stft.n_bins - low.n_bins))
    return stft.synthesise(spectrum.transpose(1, 2), n_samples)


def _decimation(stft: Stft, n_bins: int) -> int:
    """By how much less often sound whose STFT has only the lowest `n_bins` bins may be sampled."""
    enough = n_bins + 8  # a Hann window spreads a bin over its neighbours
    shared = math.gcd(stft.window // 2, stft.hop // 2)  # frames stay where they are
    factors = [n for n in range(1, shared + 1) if shared % n == 0 and stft.window // (2 * n) >= enough]
    return max(factors, default=1)
