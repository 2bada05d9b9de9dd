"""Loudness of a clip (ITU-R BS.1770-4, by pyloudnorm), and bringing clips to one without clipping."""

from __future__ import annotations

import math

import numpy as np

LOWEST_LUFS, HIGHEST_LUFS = -40.0, -5.0
LIMITER_S = 0.02


def loudness_gain(audio: np.ndarray, sample_rate: int, target_lufs: float, peak: float) -> float:
    """Factor that brings a clip (C, S) to `target_lufs`, or as near as `peak` allows; 1 for silence."""
    import pyloudnorm

    largest = float(np.abs(audio).max(initial=0.0))
    if largest < 1e-6:
        return 1.0
    block_s = min(0.4, audio.shape[1] / sample_rate)
    measured = pyloudnorm.Meter(sample_rate, block_size=block_s).integrated_loudness(audio.T)
    if not math.isfinite(measured):
        return 1.0
    return min(float(10 ** ((target_lufs - measured) / 20)), peak / largest)


def limited(audio: np.ndarray, peak: float, sample_rate: int) -> np.ndarray:
    """A clip (C, S) with no sample beyond `peak`; what is 20 ms from any such sample stays as it is."""
    from scipy.ndimage import minimum_filter1d, uniform_filter1d

    needed = np.minimum(1.0, peak / np.maximum(np.abs(audio).max(axis=0), 1e-9))  # (S,)
    if not needed.size or needed.min() == 1.0:
        return audio
    size = 2 * round(LIMITER_S * sample_rate / 2) + 1
    # Each value of a mean over held minima is at most what its middle needs.
    gain = uniform_filter1d(minimum_filter1d(needed, size), size)
    return np.asarray(np.clip(audio * gain, -peak, peak), dtype=audio.dtype)
