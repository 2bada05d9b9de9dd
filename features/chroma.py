"""One-hot chroma, as JASCO (arXiv 2406.10970) compares melodies by it."""

from __future__ import annotations

import numpy as np

from features.audio import resample

CHROMA_SAMPLE_RATE = 32_000
CHROMA_WINDOW = 2**14
CHROMA_HOP = CHROMA_WINDOW // 4
CHROMA_SILENCE_DB = -60.0
SILENT = -1
"""Stands for a pitch class where there is none."""


def one_hot_chroma(samples: np.ndarray, sample_rate: int) -> np.ndarray:
    """Return the index of the strongest of 12 chroma bins in each frame of (S,) samples, shape (F,).

    Window 2**14 samples at 32 kHz, hop a quarter of it. Frames more than 60 dB below the clip's
    loudest, and all frames of a silent clip, are SILENT.
    """
    import librosa
    import librosa.filters

    samples = resample(samples, sample_rate, CHROMA_SAMPLE_RATE)
    power = np.abs(librosa.stft(samples, n_fft=CHROMA_WINDOW, hop_length=CHROMA_HOP)) ** 2  # (bins, F)
    bank = librosa.filters.chroma(sr=CHROMA_SAMPLE_RATE, n_fft=CHROMA_WINDOW, tuning=0.0)  # (12, bins)
    energy = bank @ power  # (12, F)
    loudness = energy.sum(axis=0)
    audible = loudness > max(1e-6, loudness.max(initial=0.0) * 10 ** (CHROMA_SILENCE_DB / 10))
    return np.where(audible, energy.argmax(axis=0), SILENT)
