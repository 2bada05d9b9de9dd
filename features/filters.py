"""Band-pass and temporal blur: what makes a control say *what* to play and not how it sounded.

Pure functions of tensors.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


def band_pass(x: Tensor, low_hz: float, high_hz: float, sample_rate: int, slope: float = 0.15) -> Tensor:
    """Zero-phase band-pass of (..., S): flat between the edges, raised-cosine skirts outside.

    The skirt reaches zero at `low_hz * (1 - slope)` and `high_hz * (1 + slope)`. Multiplying the
    spectrum is exact convolution with the response's inverse transform; the signal is padded with
    zeros by 4096 samples so that the circular wrap falls into silence.
    """
    if not 0 <= low_hz < high_hz:
        raise ValueError(f"expected 0 <= low_hz < high_hz, got {low_hz} and {high_hz}")
    n_samples = x.shape[-1]
    padded = n_samples + 4096
    freqs = torch.fft.rfftfreq(padded, 1.0 / sample_rate).to(x)  # (F,)
    rise = ((freqs - low_hz * (1 - slope)) / max(low_hz * slope, 1e-6)).clamp(0, 1)
    fall = ((high_hz * (1 + slope) - freqs) / (high_hz * slope)).clamp(0, 1)
    gain = torch.sin(rise * (math.pi / 2)) ** 2 * torch.sin(fall * (math.pi / 2)) ** 2
    return torch.fft.irfft(torch.fft.rfft(x, padded) * gain, padded)[..., :n_samples]


def gaussian_kernel(blur_s: float, frame_rate: float) -> Tensor:
    """Unit-sum Gaussian of standard deviation `blur_s`, cut at 4 sigma; shape (2R + 1,)."""
    sigma = blur_s * frame_rate
    radius = max(1, math.ceil(4 * sigma))
    kernel = torch.exp(-0.5 * (torch.arange(-radius, radius + 1, dtype=torch.float32) / sigma) ** 2)
    return kernel / kernel.sum()


def gaussian_blur(x: Tensor, blur_s: float, frame_rate: float) -> Tensor:
    """Blur (T, ...) along time with a Gaussian of standard deviation `blur_s` seconds.

    The edges are reflected half a sample outside (…b a | a b c … ), under which a symmetric
    kernel of unit sum moves weight around but never in or out: the mean over time is kept.
    """
    if blur_s < 0:
        raise ValueError(f"blur_s must be >= 0, got {blur_s}")
    n_frames = x.shape[0]
    if blur_s == 0 or n_frames < 2:
        return x
    kernel = gaussian_kernel(blur_s, frame_rate).to(x)
    radius = kernel.numel() // 2
    index = torch.arange(-radius, n_frames + radius) % (2 * n_frames)
    index = torch.where(index < n_frames, index, 2 * n_frames - 1 - index)
    flat = x.reshape(n_frames, -1)[index].T[:, None]  # (N, 1, T + 2R)
    return torch.nn.functional.conv1d(flat, kernel[None, None])[:, 0].T.reshape(x.shape)


def fit_frames(x: Tensor, n_frames: int) -> Tensor:
    """(T, C) cut, or padded with zeros at its end, to `n_frames`."""
    missing = max(0, n_frames - x.shape[0])
    return torch.cat([x[:n_frames], x.new_zeros(missing, x.shape[1])])
