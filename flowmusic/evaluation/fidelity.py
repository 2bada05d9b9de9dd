"""Fréchet distance of generated clips to unseen references, in an embedding that nothing was trained with.

The distance of small sets is biased upwards, so every row has the same size: the references are split into
two halves, and the clips made from one half are compared with the references of the other, both ways.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from flowmusic.evaluation.embeddings import EMBEDDING, EmbeddedClip, stack
from flowmusic.evaluation.estimates import Estimate, jackknife
from flowmusic.evaluation.report import markdown_table

MIN_REFERENCES = 4
MIN_SAMPLES = 4


@dataclass(frozen=True)
class Gaussian:
    """The mean (D,) and covariance (D, D) of samples."""

    mean: np.ndarray
    covariance: np.ndarray


def fit_gaussian(samples: np.ndarray) -> Gaussian:
    """The Gaussian of samples (N, D), its covariance shrunk towards a sphere after Ledoit and Wolf (2004).

    With few samples the plain covariance lacks most directions, and the distance of two sets depends more on
    their size than on what they hold; the shrinkage vanishes as N grows.

    Raises:
        ValueError: fewer than 4 samples, another shape, or numbers that are not finite.
    """
    from sklearn.covariance import ledoit_wolf

    if samples.ndim != 2:
        raise ValueError(f"expected samples of shape (N, D), got {samples.shape}")
    n = len(samples)
    if n < MIN_SAMPLES:
        raise ValueError(f"a Fréchet distance needs at least {MIN_SAMPLES} samples in each set, got {n}")
    if not np.isfinite(samples).all():
        raise ValueError("expected finite embeddings, got NaN or infinite ones")
    shrunk, _ = ledoit_wolf(samples.astype(np.float64))
    # From the biased to the unbiased scale, so that large sets give the usual covariance.
    return Gaussian(samples.mean(axis=0, dtype=np.float64), shrunk * n / (n - 1))


def frechet_distance(first: Gaussian, second: Gaussian) -> float:
    """|m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2)): Dowson and Landau (1982), used as FID and FAD.

    The trace of the root is the sum of the singular values of C1^(1/2) C2^(1/2), which needs no root of a
    matrix that is not symmetric; both roots come from eigenvalues, those below zero by rounding set to 0.
    """
    if first.mean.shape != second.mean.shape:
        raise ValueError(
            f"expected two Gaussians of one dimension, got {first.mean.shape} and {second.mean.shape}"
        )
    overlap = float(np.linalg.svd(_root(first.covariance) @ _root(second.covariance), compute_uv=False).sum())
    spread = float(np.trace(first.covariance) + np.trace(second.covariance)) - 2 * overlap
    return max(0.0, float(((first.mean - second.mean) ** 2).sum()) + spread)


def _root(covariance: np.ndarray) -> np.ndarray:
    """The symmetric root of a positive semidefinite matrix."""
    values, vectors = np.linalg.eigh((covariance + covariance.T) / 2)
    return np.asarray((vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T)


def distance_of(first: np.ndarray, second: np.ndarray) -> float:
    """Fréchet distance of samples (N, D) and (M, D)."""
    return frechet_distance(fit_gaussian(first), fit_gaussian(second))


@dataclass(frozen=True)
class Fidelity:
    """Fréchet distances of a set of clips, one for each reference and in the same order.

    across   clips of one half against the references of the other, mean of both ways; the interval leaves out
             one reference and its clip at a time
    whole    all clips against all references (None for the references themselves)
    """

    name: str
    n_patches: int
    across: Estimate
    whole: float | None


def measure(name: str, clips: Sequence[EmbeddedClip], references: Sequence[EmbeddedClip]) -> Fidelity:
    """Distances of clips to references; clip i was made from reference i.

    Raises:
        ValueError: lists of different length, or fewer than 4 references.
    """
    if len(clips) != len(references):
        raise ValueError(f"expected one clip for each of {len(references)} references, got {len(clips)}")
    if len(references) < MIN_REFERENCES:
        raise ValueError(
            f"expected at least {MIN_REFERENCES} references to split into halves, got {len(references)}"
        )

    def across(chosen: np.ndarray) -> float:
        halves = [[int(i) for i in chosen if i % 2 == half] for half in (0, 1)]
        ways = [(halves[0], halves[1]), (halves[1], halves[0])]
        return float(
            np.mean(
                [
                    distance_of(stack([clips[i] for i in a]), stack([references[i] for i in b]))
                    for a, b in ways
                ]
            )
        )

    whole = None if clips is references else distance_of(stack(clips), stack(references))
    n_patches = sum(len(clip.patches) for clip in clips)
    everything = np.arange(len(clips))
    fewest = min(len(item.patches) for item in (*clips, *references))
    if (len(clips) // 2 - 1) * fewest < MIN_SAMPLES:  # a half without one of its clips would be too small
        return Fidelity(name, n_patches, Estimate(len(clips), across(everything)), whole)
    return Fidelity(name, n_patches, jackknife(across, len(clips)), whole)


def compare(sets: Mapping[str, Sequence[EmbeddedClip]], references: Sequence[EmbeddedClip]) -> list[Fidelity]:
    """A row for the references' own halves, and one for each set of clips."""
    return [
        measure("references", references, references),
        *(measure(name, clips, references) for name, clips in sets.items()),
    ]


def to_markdown(rows: Sequence[Fidelity]) -> str:
    """The table, with what it was measured in."""
    header = ["clips", "n", "3 s patches", "Fréchet, across halves [95 %]", "all against all"]
    cells: list[list[str | float | None]] = [
        [row.name, f"{row.across.n}", f"{row.n_patches}", str(row.across), row.whole] for row in rows
    ]
    return f"Embedding: {EMBEDDING}.\n\n{markdown_table(header, cells)}"
