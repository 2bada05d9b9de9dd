"""Phases that fit magnitudes: fast Griffin-Lim (Perraudin, Balazs and Søndergaard 2013)."""

from __future__ import annotations

import torch
from torch import Tensor


def griffin_lim(
    spectrum: Tensor, magnitude: Tensor, window: int, hop: int, iterations: int, momentum: float
) -> Tensor:
    """Move the phases of a Hann-windowed STFT towards those of some sound that has its magnitudes.

    A clip of T hops has T + 2 frames, centred half a hop before it, half a hop after its start, and so on;
    sound outside of the clip is silent.

    Shape: spectrum (B, T + 2, F) complex, overwritten; magnitude (B, T + 2, F) -> (B, T + 2, F) complex
    """
    batch, n_frames, _ = magnitude.shape
    taper = torch.hann_window(window, device=magnitude.device)
    gain = _gain(taper, n_frames, hop)
    frames = magnitude.new_empty(batch, n_frames, window)
    sound = magnitude.new_empty(batch, (n_frames - 1 + -(-window // hop)) * hop)
    framed = sound[:, : (n_frames - 1) * hop + window].unfold(1, window, hop)  # (B, T + 2, window), a view
    previous, consistent = torch.zeros_like(spectrum), torch.empty_like(spectrum)
    accelerated, ratio = torch.view_as_real(spectrum), torch.empty_like(magnitude)
    # every step writes into memory that is there: fresh memory costs more than the arithmetic
    for _ in range(iterations):
        torch.fft.irfft(spectrum, n=window, out=frames)
        overlap_add(frames.mul_(taper), hop, sound)
        sound.mul_(gain)
        torch.mul(framed, taper, out=frames)
        torch.fft.rfft(frames, out=consistent)
        new, old = torch.view_as_real(consistent), torch.view_as_real(previous)
        torch.lerp(old, new, 1 + momentum, out=accelerated)  # new + momentum * (new - old)
        real, imaginary = accelerated.unbind(-1)
        torch.mul(real, real, out=ratio).addcmul_(imaginary, imaginary).add_(1e-12).rsqrt_()
        accelerated.mul_(ratio.mul_(magnitude).unsqueeze(-1))
        previous, consistent = consistent, previous
    return spectrum


def overlap_add(frames: Tensor, hop: int, out: Tensor) -> None:
    """Sum frames (B, T, W), each `hop` samples after the last, into `out`, (B, (T + ceil(W / hop)) hop).

    Shifted by one hop at a time, so that no sum depends on the number of threads.
    """
    batch, n_frames, window = frames.shape
    out.zero_()
    for index, start in enumerate(range(0, window, hop)):
        part = frames[..., start : start + hop]
        rows = out[:, index * hop : (index + n_frames) * hop].view(batch, n_frames, hop)
        rows[..., : part.shape[-1]].add_(part)


def _gain(taper: Tensor, n_frames: int, hop: int) -> Tensor:
    """What undoes two windows that overlap; zero outside of the clip."""
    window = taper.shape[0]
    total = taper.new_empty(1, (n_frames - 1 + -(-window // hop)) * hop)
    overlap_add(taper.square().expand(1, n_frames, window), hop, total)
    gain = torch.zeros_like(total[0])
    start = window // 2 + hop // 2
    end = start + (n_frames - 2) * hop
    gain[start:end] = 1.0 / total[0, start:end]
    return gain
