"""Notes, drum hits and pitch tracks as plain symbols, and the melody salience that they mean."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from features.channels import N_PITCHES, PITCH_LOW_MIDI
from features.frames import FrameGrid
from features.text_files import TextFileError, read_text

if TYPE_CHECKING:
    from torch import Tensor  # reading symbols does without torch, which takes a second to import

logger = logging.getLogger(__name__)

_INSTANTS_PER_FRAME = 4
# CREPE's bins lie 20 cents apart: those up to 40 cents away pool into a semitone.
_POOLED_SEMITONES, _CREPE_WIDTH_SEMITONES = 0.4, 0.25


class NotationError(ValueError):
    """Symbols that cannot be read; the message names the file or the bar and what was expected."""


def read_symbols(path: str | Path, expected: str) -> str:
    """The text of a file of symbols. NotationError where there is none; says what was `expected`."""
    try:
        return read_text(path, expected)
    except TextFileError as error:
        raise NotationError(str(error)) from error


@dataclass(frozen=True)
class Note:
    """One note: seconds, MIDI pitch 0..127, velocity 1..127."""

    start_s: float
    end_s: float
    midi: int
    velocity: int = 100

    def __post_init__(self) -> None:
        if not (math.isfinite(self.start_s) and math.isfinite(self.end_s) and 0 <= self.start_s < self.end_s):
            raise NotationError(f"a note must have 0 <= start < end, got {self.start_s} to {self.end_s} s")
        if not 0 <= self.midi <= 127:
            raise NotationError(f"a note's pitch must be a MIDI number 0..127, got {self.midi}")


@dataclass(frozen=True)
class DrumHit:
    """One drum stroke: its time in seconds, General MIDI percussion key, velocity 1..127."""

    time_s: float
    midi: int
    velocity: int = 100

    def __post_init__(self) -> None:
        if not (math.isfinite(self.time_s) and self.time_s >= 0):
            raise NotationError(f"a drum hit must have a time >= 0 s, got {self.time_s}")
        if not 0 <= self.midi <= 127:
            raise NotationError(f"a drum hit's key must be a MIDI number 0..127, got {self.midi}")


def frame_overlap(grid: FrameGrid, start_s: float, end_s: float) -> tuple[slice, np.ndarray]:
    """The frames that [start_s, end_s) touches and the share of each that it fills.

    Returns:
        (slice of length N, float32 weights (N,) in [0, 1]); N = 0 outside the grid.
    """
    low, high = max(0.0, start_s) * grid.frame_rate, min(end_s, grid.duration_s) * grid.frame_rate
    if not low < high:
        return slice(0, 0), np.zeros(0, dtype=np.float32)
    first, last = math.floor(low), min(math.ceil(high), grid.n_frames)
    edges = np.arange(first, last + 1)
    weights = np.minimum(edges[1:], high) - np.maximum(edges[:-1], low)
    return slice(first, last), np.clip(weights, 0.0, 1.0).astype(np.float32)


def notes_to_salience(notes: Sequence[Note], grid: FrameGrid, blur_s: float = 0.0) -> Tensor:
    """Melody salience of notes, (T, 53): the share of each frame that a semitone sounds.

    Notes outside MIDI 43..95 have no bin: they are left out, and a warning counts them.
    `blur_s` is the standard deviation of a Gaussian along time.
    """
    salience = np.zeros((grid.n_frames, N_PITCHES), dtype=np.float32)
    outside = 0
    for note in notes:
        pitch = note.midi - PITCH_LOW_MIDI
        if not 0 <= pitch < N_PITCHES:
            outside += 1
            continue
        frames, weights = frame_overlap(grid, note.start_s, note.end_s)
        salience[frames, pitch] += weights
    if outside:
        logger.warning("%d of %d notes lie outside MIDI 43..95 and are left out", outside, len(notes))
    return _blurred(salience.clip(max=1.0), blur_s, grid)


def held_samples(times_s: np.ndarray, instants: np.ndarray, hop_s: float) -> tuple[np.ndarray, np.ndarray]:
    """Which sample of a track (N,) is nearest to each instant (M,), and whether it still holds there, (M,).

    It holds for 0.75 of the track's median hop; `hop_s` is that of a track of one sample.
    """
    nearest = np.searchsorted((times_s[1:] + times_s[:-1]) / 2, instants)
    hop_s = float(np.median(np.diff(times_s))) if times_s.size > 1 else hop_s
    return nearest, np.abs(times_s[nearest] - instants) <= 0.75 * hop_s


def f0_to_salience(
    times_s: np.ndarray,
    f0_hz: np.ndarray,
    grid: FrameGrid,
    blur_s: float = 0.0,
    confidence: np.ndarray | None = None,
) -> Tensor:
    """Melody salience of a pitch track, (T, 53), shaped like CREPE's, pooled to semitones.

    A pitch excites the semitones within 40 cents of it by 1 and those beyond along a Gaussian of
    25 cents: CREPE's training target. Each sample of the track holds half-way to its neighbours,
    at most 0.75 of the median hop.

    Args:
        times_s: (N,) increasing seconds.
        f0_hz: (N,) Hz; 0, negative or NaN where unvoiced.
        confidence: (N,) in [0, 1], scales the salience.
    """
    times, f0 = np.asarray(times_s, dtype=np.float64), np.asarray(f0_hz, dtype=np.float64)
    if times.ndim != 1 or times.shape != f0.shape or times.size == 0:
        raise NotationError(f"expected as many times as frequencies, got {times.shape} and {f0.shape}")
    if not np.isfinite(times).all() or (np.diff(times) <= 0).any():
        raise NotationError("the times of a pitch track must be increasing numbers of seconds")
    weight = np.ones_like(times) if confidence is None else np.asarray(confidence, dtype=np.float64)
    if weight.shape != times.shape or not ((weight >= 0) & (weight <= 1)).all():
        raise NotationError("the confidence of a pitch track must be one number from 0 to 1 for each time")
    instants = (np.arange(grid.n_frames * _INSTANTS_PER_FRAME) + 0.5) / (
        grid.frame_rate * _INSTANTS_PER_FRAME
    )
    nearest, held = held_samples(times, instants, 1.0 / grid.frame_rate)  # (T * I,)
    voiced = np.isfinite(f0) & (np.nan_to_num(f0) > 0)  # (N,)
    pitch = 12 * np.log2(np.where(voiced, f0, 440.0) / 440.0) + 69 - PITCH_LOW_MIDI
    outside = voiced & (weight > 0) & ((pitch < -0.5) | (pitch >= N_PITCHES - 0.5))
    if outside.any():
        logger.warning(
            "%d of %d pitches lie outside MIDI 43..95 (98 to 1976 Hz) and are left out",
            outside.sum(),
            (voiced & (weight > 0)).sum(),
        )
    distance = np.abs(pitch[:, None] - np.arange(N_PITCHES)) - _POOLED_SEMITONES  # (N, P)
    rows = np.exp(-0.5 * (np.maximum(distance, 0.0) / _CREPE_WIDTH_SEMITONES) ** 2)
    rows = (rows * (voiced * weight)[:, None]).astype(np.float32)
    sampled = rows[nearest] * held[:, None]  # (T * I, P)
    salience = sampled.reshape(grid.n_frames, _INSTANTS_PER_FRAME, N_PITCHES).mean(axis=1, dtype=np.float32)
    return _blurred(salience, blur_s, grid)


def _blurred(salience: np.ndarray, blur_s: float, grid: FrameGrid) -> Tensor:
    """Blurred along time, (T, P)."""
    import torch

    from features.filters import gaussian_blur

    return gaussian_blur(torch.from_numpy(salience), blur_s, grid.frame_rate)
