"""A probe of what a clip is: instrument families, tempo and mode, learnt from labelled renders.

It has no part in training the generator. Timbre is seen through musicnn, tempo through the autocorrelation
of the rise of its frames, mode through the chords that are recognised; each attribute is one logistic
regression.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from features.audio import Audio
from features.cache import FeatureCache
from features.extract import content_key
from flowmusic.composer.captions import tempo_word
from flowmusic.composer.harmony import MINOR_MODES
from flowmusic.evaluation.embeddings import EmbeddingStore
from flowmusic.evaluation.musicnn import HOP, SAMPLE_RATE, log_mel

if TYPE_CHECKING:
    from features.chords import ChordRecogniser

FAMILIES: dict[str, frozenset[int]] = {
    "piano": frozenset(range(6)),
    "mallets": frozenset(range(8, 15)),
    "organ": frozenset(range(16, 21)),
    "guitar": frozenset(range(24, 31)),
    "strings": frozenset({*range(40, 43), 45, *range(48, 52), 110}),
    "brass": frozenset(range(56, 64)),
    "woodwinds": frozenset(range(64, 80)),
    "synth": frozenset(range(80, 96)),
}
"""General MIDI programs (from 0) of the instrument families that the probe knows."""

ATTRIBUTES = (*FAMILIES, "drums", "fast", "minor")
TEMPO_VERSION, MODE_VERSION = "text-probe.2", "text-probe-mode.1"
TEMPO_GRID_BPM = np.geomspace(45, 240, 48)
PENALTIES = (0.01, 0.03, 0.1, 0.3, 1.0)
VALID_EVERY = 5
MIN_EXAMPLES = 8

# Krumhansl and Kessler (1982): how well each degree of the scale fits a major and a minor key.
_MAJOR = (6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88)
_MINOR = (6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17)

Labels = dict[str, bool | None]


def labels_of(song: dict[str, Any]) -> Labels:
    """What a corpus song is, by attribute; None where it is neither (a medium tempo)."""
    programs = {*song["programs"]["backing"]} | ({song["programs"]["melody"]} - {None})
    labels: Labels = {name: bool(programs & members) for name, members in FAMILIES.items()}
    labels["drums"] = song["programs"]["drums"] is not None
    word = tempo_word(float(song["bpm"]), str(song["metre"]))
    labels["fast"] = None if word == "medium" else word == "fast"
    labels["minor"] = song["mode"] in MINOR_MODES
    return labels


def solo_labels_of(song: dict[str, Any]) -> Labels:
    """What the melody stem of a corpus song is: one instrument; it says little of tempo and mode."""
    labels: Labels = {name: song["programs"]["melody"] in members for name, members in FAMILIES.items()}
    return {**labels, "drums": False, "fast": None, "minor": None}


def features_of(audio: Audio, store: EmbeddingStore, cache: FeatureCache) -> dict[str, np.ndarray]:
    """patches (N, 200), timbre (400,) and tempo (49,) of a clip, kept in `cache`."""
    patches = store.embed(audio)
    timbre = np.concatenate([patches.mean(axis=0), patches.max(axis=0)])

    def compute() -> dict[str, Tensor]:
        return {"tempo": torch.from_numpy(tempo_features(log_mel(audio)).astype(np.float32))}

    kept = cache.get_or_compute(content_key(audio), "text-probe", TEMPO_VERSION, compute)
    return {"patches": patches, "timbre": timbre, "tempo": kept["tempo"].numpy()}


def mode_of(audio: Audio, chords: ChordRecogniser, cache: FeatureCache) -> np.ndarray:
    """`mode_features` (3,) of a clip, kept in `cache`."""

    def compute() -> dict[str, Tensor]:
        extracted = mode_features(chords.extract(audio).posteriors)
        return {"mode": torch.from_numpy(extracted.astype(np.float32))}

    version = f"{MODE_VERSION}-{chords.version}"
    return cache.get_or_compute(content_key(audio), "text-probe-mode", version, compute)["mode"].numpy()


def tempo_features(frames: np.ndarray) -> np.ndarray:
    """Autocorrelation of the rise of log-mel frames (T, 96) at 48 tempi, and the mean rise, (49,)."""
    strength = np.maximum(np.diff(frames, axis=0), 0.0).mean(axis=1).astype(np.float64)
    centred = strength - strength.mean()
    spectrum = np.abs(np.fft.rfft(centred, 2 * len(centred))) ** 2
    correlation = np.fft.irfft(spectrum)[: len(centred)] / max(float((centred**2).sum()), 1e-9)
    lags = 60.0 / TEMPO_GRID_BPM * SAMPLE_RATE / HOP
    return np.append(np.interp(lags, np.arange(len(correlation)), correlation), strength.mean())


def mode_features(posteriors: Tensor) -> np.ndarray:
    """Best correlation of recognised chords with a major and a minor key, and their difference, (3,).

    Shape: posteriors (F, 37) as `features.chords` has them: roots, basses, pitch classes, no chord
    """
    classes = posteriors[:, :36].float().mean(dim=0).reshape(3, 12).sum(dim=0).numpy()
    turned = [np.roll(classes, -tonic) for tonic in range(12)]
    major, minor = (max(_correlation(row, key) for row in turned) for key in (_MAJOR, _MINOR))
    return np.array([major, minor, minor - major])


def _correlation(first: np.ndarray, second: Sequence[float]) -> float:
    if first.std() < 1e-9:
        return 0.0
    return float(np.corrcoef(first, second)[0, 1])


def inputs_for(attribute: str, features: dict[str, np.ndarray]) -> np.ndarray:
    """The features that the probe of an attribute sees."""
    if attribute == "minor":
        return features["mode"]
    if attribute == "fast":
        return np.concatenate([features["tempo"], features["timbre"]])
    return features["timbre"]


@dataclass(frozen=True)
class Logistic:
    """Probability 1 / (1 + exp(-(w x + b))) of standardised inputs x = (input - mean) / scale, all (D,)."""

    mean: np.ndarray
    scale: np.ndarray
    weights: np.ndarray
    bias: float

    def __call__(self, inputs: np.ndarray) -> np.ndarray:
        """Probabilities (N,) of inputs (N, D)."""
        from scipy.special import expit

        return np.asarray(expit((inputs - self.mean) / self.scale @ self.weights + self.bias))


def fit_logistic(inputs: np.ndarray, labels: np.ndarray, penalty: float) -> Logistic:
    """Logistic regression of inputs (N, D) on labels (N,) bool: mean log loss + penalty |w|^2 / 2.

    Raises:
        ValueError: labels of one kind only.
    """
    from scipy.optimize import minimize
    from scipy.special import expit

    if len(set(labels.tolist())) < 2:
        raise ValueError("a probe needs examples of both kinds, got one")
    mean, scale = inputs.mean(axis=0), np.maximum(inputs.std(axis=0), 1e-6)
    x, y = (inputs - mean) / scale, labels.astype(np.float64)

    def loss(theta: np.ndarray) -> tuple[float, np.ndarray]:
        logits = x @ theta[:-1] + theta[-1]
        error = (expit(logits) - y) / len(y)
        value = (
            float(np.mean(np.logaddexp(0, logits) - y * logits))
            + penalty * float(theta[:-1] @ theta[:-1]) / 2
        )
        return value, np.append(x.T @ error + penalty * theta[:-1], error.sum())

    found = minimize(loss, np.zeros(x.shape[1] + 1), jac=True, method="L-BFGS-B")
    return Logistic(mean, scale, found.x[:-1], float(found.x[-1]))


def auc(positive: np.ndarray, negative: np.ndarray) -> float:
    """How often a score of `positive` is above one of `negative`, ties counting half.

    Raises:
        ValueError: no score of one kind.
    """
    if len(positive) == 0 or len(negative) == 0:
        raise ValueError(f"expected scores of both kinds, got {len(positive)} and {len(negative)}")
    above = (positive[:, None] > negative[None]).mean() + 0.5 * (positive[:, None] == negative[None]).mean()
    return float(above)


def train_probe(inputs: np.ndarray, labels: np.ndarray) -> Logistic:
    """The regression with the penalty that does best on every fifth example; then fitted to all.

    Raises:
        ValueError: fewer than 8 examples, or of one kind only in either part.
    """
    if len(labels) < MIN_EXAMPLES:
        raise ValueError(f"a probe needs at least {MIN_EXAMPLES} examples, got {len(labels)}")
    held = np.zeros(len(labels), dtype=bool)
    for kind in (True, False):  # every fifth of each kind
        held[np.flatnonzero(labels == kind)[::VALID_EVERY]] = True
    scores = []
    for penalty in PENALTIES:
        values = fit_logistic(inputs[~held], labels[~held], penalty)(inputs[held])
        scores.append(auc(values[labels[held]], values[~labels[held]]))
    return fit_logistic(inputs, labels, PENALTIES[int(np.argmax(scores))])
