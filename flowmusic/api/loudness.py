"""Loudness of a clip (ITU-R BS.1770-4, by pyloudnorm), and limited peaks."""

from __future__ import annotations

import math

import numpy as np

LOOK_AHEAD_S = 0.02
TOLERANCE_LU = 0.1
_ROUNDS = 8


def integrated_loudness(audio: np.ndarray, sample_rate: int) -> float | None:
    """Integrated loudness of a clip (C, S) in LUFS; None for silence."""
    import pyloudnorm

    if float(np.abs(audio).max(initial=0.0)) < 1e-6:
        return None
    block_s = min(0.4, audio.shape[1] / sample_rate)
    measured = pyloudnorm.Meter(sample_rate, block_size=block_s).integrated_loudness(audio.T)
    return float(measured) if math.isfinite(measured) else None


def at_loudness(audio: np.ndarray, sample_rate: int, target: float, peak: float) -> tuple[np.ndarray, float]:
    """A clip (C, S) brought to `target` LUFS, and the factor that was applied before its peaks were limited.

    What limiting takes away is made up for by more gain, until the target is reached within TOLERANCE_LU. A
    silent clip stays as it is.
    """
    measured = integrated_loudness(audio, sample_rate)
    if measured is None:
        return audio, 1.0
    gain, more = 1.0, float(10 ** ((target - measured) / 20))
    for _ in range(_ROUNDS):
        gain *= more
        louder = np.asarray(audio * np.float32(gain), dtype=np.float32)
        limited = limit(louder, peak, sample_rate)
        if limited is louder:
            break
        reached = integrated_loudness(limited, sample_rate)
        if reached is None or abs(reached - target) <= TOLERANCE_LU:
            break
        more = float(10 ** ((target - reached) / 20))
    return limited, gain


def limit(audio: np.ndarray, peak: float, sample_rate: int) -> np.ndarray:
    """A clip (C, S) with no sample beyond `peak`; all channels alike, so that nothing moves from its place.

    The gain that each sample needs is held for LOOK_AHEAD_S around it and then averaged over as long: what is
    further from any such sample stays as it is, and the very same array comes back where there is none. (By
    SciPy's filters: numpy-audio-limiter lets its gain rise again before the peak that it looked ahead
    to, which ends 9 to 100 % beyond the threshold, and turns each channel down by itself; pedalboard is GPL.)
    """
    from scipy.ndimage import minimum_filter1d, uniform_filter1d

    needed = np.minimum(1.0, peak / np.maximum(np.abs(audio).max(axis=0), 1e-9))  # (S,)
    if not needed.size or needed.min() == 1.0:
        return audio
    size = 2 * round(LOOK_AHEAD_S * sample_rate / 2) + 1
    # Each value of a mean over held minima is at most what its middle needs.
    gain = uniform_filter1d(minimum_filter1d(needed, size), size)
    return np.asarray(np.clip(audio * gain, -peak, peak), dtype=audio.dtype)
