"""Drums: a drum stem -> energies of four bands, frame by frame, and onsets."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from features.audio import Audio, AudioError, AudioSource, to_audio
from features.channels import N_DRUM_BANDS
from features.filters import gaussian_blur
from features.frames import CONTROL_FRAME_RATE, FrameGrid

SAMPLE_RATE = 32_000
DRUM_BANDS_HZ = ((30.0, 150.0), (150.0, 500.0), (500.0, 4000.0), (4000.0, 16000.0))
"""Bass drum; body of snare and toms; snare's rattle and shells; hi-hats and cymbals."""

DRUM_BLUR_S = 0.02
RANGE_DB = 50.0
SILENCE_DBFS = -70.0
DRUMS_VERSION = "drums-1"
ONSETS_VERSION = "onsets-2"
_TILT_DB = (0.0, 0.0, 8.0, 13.0)
_WINDOW = 1024
_SUBFRAMES = 2
_LOUDEST_SHARE = 0.01


@dataclass(frozen=True)
class DrumFeatures:
    """Drums on the control grid (50 frames a second).

    Shape:
        energies (T, 4) float32 in [0, 1]: 0 is 50 dB below the loudest, 1 the loudest
        onsets_s (N,)   times of the onsets in seconds, ascending
    """

    energies: Tensor
    onsets_s: np.ndarray


def band_powers(samples: Tensor) -> Tensor:
    """Mean square of each drum band in each 20 ms frame: (S,) at 32 kHz -> (T, 4).

    The band-pass is a sum over the bins of a short-time spectrum (Hann window of 32 ms, two hops of
    10 ms a frame): short enough to keep strokes apart, long enough to tell 30 Hz from 150 Hz.
    """
    n_frames = FrameGrid.from_duration(samples.numel() / SAMPLE_RATE).n_frames
    hop = FrameGrid(CONTROL_FRAME_RATE * _SUBFRAMES, 0).hop_samples(SAMPLE_RATE)
    before = (_WINDOW - hop) // 2  # the window's middle falls on the subframe's
    n_subframes = n_frames * _SUBFRAMES
    after = max(0, n_subframes * hop + _WINDOW - samples.numel())
    padded = functional.pad(samples, (before, after))
    window = torch.hann_window(_WINDOW)
    bins = torch.arange(_WINDOW // 2 + 1) * (SAMPLE_RATE / _WINDOW)
    select = torch.stack([(bins >= low) & (bins < high) for low, high in DRUM_BANDS_HZ], 1)
    # Parseval: the mean square of a real signal from its one-sided spectrum, freed of the window's power.
    weight = select.float() * (2.0 / (_WINDOW * window.square().sum()))  # (F, 4)
    powers = []
    # In pieces: the windows of an hour at once would fill the memory.
    for chunk in padded.unfold(0, _WINDOW, hop)[:n_subframes].split(4096):
        spectrum = torch.fft.rfft(chunk * window)  # (N, F)
        powers.append((spectrum.real.square() + spectrum.imag.square()) @ weight)
    joined = torch.cat(powers) if powers else torch.zeros(0, N_DRUM_BANDS)
    return joined.reshape(n_frames, _SUBFRAMES, N_DRUM_BANDS).mean(1)  # (T, 4)


def energies(samples: Tensor, blur_s: float = DRUM_BLUR_S) -> Tensor:
    """Band energies in [0, 1] of a drum stem: (S,) at 32 kHz -> (T, 4).

    RMS in dB, with a fixed tilt that lifts the upper bands of a usual kit to the height of the lower,
    relative to the mean of the loudest 1 % of frames (level invariant, and one click does not set the
    scale), clamped to 50 dB and blurred in time. A stem below -70 dBFS is silence: all zero.
    """
    power = band_powers(samples)
    if power.shape[0] == 0:
        return power
    level_db = 10.0 * torch.log10(power.clamp_min(1e-20))  # (T, 4)
    loudest = power.sum(1).topk(max(1, round(_LOUDEST_SHARE * power.shape[0]))).values.mean()
    if 10.0 * torch.log10(loudest.clamp_min(1e-20)) < SILENCE_DBFS:
        return torch.zeros_like(power)
    tilted = level_db + torch.tensor(_TILT_DB)
    reference = tilted.max(1).values.topk(max(1, round(_LOUDEST_SHARE * power.shape[0]))).values.mean()
    scaled = 1.0 + (tilted - reference).clamp(-RANGE_DB, 0.0) / RANGE_DB
    return gaussian_blur(scaled, blur_s, CONTROL_FRAME_RATE)


def onsets(
    samples: np.ndarray,
    sample_rate: int = SAMPLE_RATE,
    lag: int = 2,
    max_bands: int = 3,
    delta: float = 0.09,
) -> np.ndarray:
    """Times in seconds of the onsets of a drum stem (S,): SuperFlux (Böck & Widmer 2013), by librosa.

    The defaults were chosen against exact strokes, in stems that were separated from mixes
    (docs/earlier-figures.md).

    Args:
        lag: columns of 10 ms that the flux looks back.
        max_bands: width of the maximum filter over bands of the earlier column; 1 is plain spectral flux.
        delta: height over the local mean that makes a peak an onset, as a share of the highest peak.
    """
    import librosa

    if samples.size == 0 or _level_dbfs(samples) < SILENCE_DBFS:
        return np.zeros(0)
    hop = sample_rate // 100
    envelope = librosa.onset.onset_strength(
        y=samples, sr=sample_rate, hop_length=hop, n_fft=1024, lag=lag, max_size=max_bands
    )
    found = librosa.onset.onset_detect(
        onset_envelope=envelope, sr=sample_rate, hop_length=hop, units="time", delta=delta, wait=4
    )
    return np.asarray(found, dtype=np.float64)


def _level_dbfs(samples: np.ndarray) -> float:
    """RMS of the loudest 20 ms, in dB."""
    n_frames = max(1, samples.size // 640)
    level = max(float(np.sqrt(np.mean(piece**2))) for piece in np.array_split(samples, n_frames))
    return 20.0 * float(np.log10(max(level, 1e-10)))


def drum_stem(source: AudioSource) -> Audio:
    """The stem as mono at 32 kHz, freed of any offset. AudioError where it cannot be read or is empty."""
    audio = to_audio(source)
    if audio.n_samples == 0:
        raise AudioError("the drum stem holds no samples; expected sound")
    mono = audio.mono()
    return Audio((mono - mono.mean())[None], audio.sample_rate).resampled(SAMPLE_RATE)


def drum_features(stem: AudioSource, blur_s: float = DRUM_BLUR_S) -> DrumFeatures:
    """Band energies and onsets of a drum stem (any rate; separate a mix first, see `separators`).

    Raises:
        AudioError: the sound cannot be read, is empty, or holds NaN.
    """
    samples = drum_stem(stem).mono()
    return DrumFeatures(energies(torch.from_numpy(samples), blur_s), onsets(samples))
