"""Fréchet distance between two sets of embeddings, each taken as a Gaussian."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

MIN_SAMPLES = 4


@dataclass(frozen=True)
class Gaussian:
    """mean (D,) and covariance (D, D) of `n` samples; `shrinkage` is the share of the spherical part."""

    mean: np.ndarray
    covariance: np.ndarray
    n: int
    shrinkage: float


def fit_gaussian(samples: np.ndarray) -> Gaussian:
    """The Gaussian of samples (N, D), its covariance shrunk towards a sphere after Ledoit and Wolf (2004).

    With few samples the plain covariance lacks most directions, and the distance of two sets depends more on
    their size than on what they hold; the shrinkage vanishes as N grows.

    Raises:
        ValueError: fewer than 4 samples, another shape, or numbers that are not finite.
    """
    if samples.ndim != 2:
        raise ValueError(f"expected samples of shape (N, D), got {samples.shape}")
    n, dim = samples.shape
    if n < MIN_SAMPLES:
        raise ValueError(f"a Fréchet distance needs at least {MIN_SAMPLES} samples in each set, got {n}")
    if not np.isfinite(samples).all():
        raise ValueError("expected finite embeddings, got NaN or infinite ones")
    mean = samples.mean(axis=0, dtype=np.float64)
    centred = samples.astype(np.float64) - mean
    plain = centred.T @ centred / n  # (D, D)
    variance = float(np.trace(plain)) / dim
    distance = float(((plain - variance * np.eye(dim)) ** 2).sum())  # from the sphere
    # Ledoit and Wolf's estimate of the covariance's own error: mean |x x' - S|^2 / n.
    error = float(((centred**2).sum(axis=1) ** 2).mean() - (plain**2).sum()) / n
    shrinkage = 1.0 if distance <= 0 else min(1.0, max(0.0, error / distance))
    # From the biased to the unbiased scale, so that large sets give the usual covariance.
    shrunk = ((1 - shrinkage) * plain + shrinkage * variance * np.eye(dim)) * n / (n - 1)
    return Gaussian(mean, shrunk, n, shrinkage)


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
