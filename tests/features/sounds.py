"""Sounds with known pitches and times, as (S,) float32."""

from __future__ import annotations

import numpy as np


def tone(midi: float, duration_s: float, sample_rate: int, n_partials: int = 6) -> np.ndarray:
    """A harmonic tone whose partials fall off as 1/k, with 10 ms fades."""
    times_s = np.arange(round(duration_s * sample_rate)) / sample_rate
    f0_hz = 440.0 * 2.0 ** ((midi - 69.0) / 12.0)
    partials = [k for k in range(1, n_partials + 1) if k * f0_hz < 0.45 * sample_rate]
    wave = np.sum([np.sin(2 * np.pi * k * f0_hz * times_s) / k for k in partials], axis=0)
    fade = np.minimum(1.0, np.minimum(times_s, duration_s - times_s) / 0.01)
    return (0.2 * wave * fade).astype(np.float32)


def chord(pitches: tuple[int, ...], duration_s: float, sample_rate: int) -> np.ndarray:
    """Tones together, decaying a little like plucked ones."""
    times_s = np.arange(round(duration_s * sample_rate)) / sample_rate
    mixed = np.sum([tone(p, duration_s, sample_rate, 8) for p in pitches], axis=0)
    return np.asarray(0.6 * mixed * np.exp(-0.8 * times_s), dtype=np.float32)


def bursts(times_s: list[float], centre_hz: float, duration_s: float, sample_rate: int) -> np.ndarray:
    """Decaying strokes of a sine at `centre_hz`, starting at `times_s`."""
    samples = np.zeros(round(duration_s * sample_rate), dtype=np.float32)
    for start_s in times_s:
        first = round(start_s * sample_rate)
        local_s = np.arange(samples.size - first) / sample_rate
        stroke = np.sin(2 * np.pi * centre_hz * local_s) * np.exp(-local_s / 0.03)
        samples[first:] += stroke.astype(np.float32)
    return 0.5 * samples
