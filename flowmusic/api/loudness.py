"""Loudness of a clip (ITU-R BS.1770-4, by pyloudnorm), and limited peaks (by numpy-audio-limiter)."""

from __future__ import annotations

import math

import numpy as np

ATTACK_S, RELEASE_S, LOOK_AHEAD_S = 0.005, 0.05, 0.02
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
    gain = float(10 ** ((target - measured) / 20))
    for _ in range(_ROUNDS):
        louder = np.asarray(audio * np.float32(gain), dtype=np.float32)
        limited = limit(louder, peak, sample_rate)
        if limited is louder:
            break
        reached = integrated_loudness(limited, sample_rate)
        if reached is None or abs(reached - target) <= TOLERANCE_LU:
            break
        gain *= float(10 ** ((target - reached) / 20))
    return limited, gain


def limit(audio: np.ndarray, peak: float, sample_rate: int) -> np.ndarray:
    """A clip (C, S) with no sample beyond `peak`, by a limiter that looks ahead; all channels alike.

    The very same array where no sample lies beyond it.
    """
    from numpy_audio_limiter import limit as limited

    if float(np.abs(audio).max(initial=0.0)) <= peak:
        return audio
    out = limited(
        signal=np.ascontiguousarray(audio, dtype=np.float32),
        attack_coeff=math.exp(-1 / (ATTACK_S * sample_rate)),
        release_coeff=math.exp(-1 / (RELEASE_S * sample_rate)),
        delay=round(LOOK_AHEAD_S * sample_rate),
        threshold=peak,
    )
    return np.asarray(np.clip(out, -peak, peak), dtype=np.float32)
