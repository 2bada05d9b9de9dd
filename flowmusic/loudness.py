"""Loudness of a clip (ITU-R BS.1770-4, by pyloudnorm), and bringing clips to one without clipping."""

from __future__ import annotations

import math

import numpy as np

LOWEST_LUFS, HIGHEST_LUFS = -40.0, -5.0


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
