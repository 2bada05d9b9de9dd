"""The Fréchet distance against closed forms, an independent shrinkage and a brute-force root."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg

from flowmusic.evaluation.embeddings import EmbeddedClip
from flowmusic.evaluation.fidelity import (
    Gaussian,
    distance_of,
    fit_gaussian,
    frechet_distance,
    measure,
    to_markdown,
)


def gaussian(mean: np.ndarray, covariance: np.ndarray) -> Gaussian:
    return Gaussian(mean, covariance)


def test_distance_of_diagonal_gaussians_is_the_closed_form() -> None:
    means = np.array([1.0, -2.0, 0.5]), np.array([0.0, 1.0, 0.5])
    deviations = np.array([1.0, 2.0, 0.0]), np.array([3.0, 0.5, 0.0])
    expected = ((means[0] - means[1]) ** 2).sum() + ((deviations[0] - deviations[1]) ** 2).sum()
    first, second = (gaussian(m, np.diag(d**2)) for m, d in zip(means, deviations, strict=True))
    assert frechet_distance(first, second) == pytest.approx(expected, rel=1e-9)
    assert frechet_distance(second, first) == pytest.approx(expected, rel=1e-9)
    assert frechet_distance(first, first) == pytest.approx(0.0, abs=1e-9)


def test_distance_agrees_with_the_matrix_root() -> None:
    rng = np.random.default_rng(0)
    covariances = [a @ a.T for a in rng.standard_normal((2, 6, 6))]
    root = scipy.linalg.sqrtm(covariances[0] @ covariances[1]).real
    expected = np.trace(covariances[0] + covariances[1] - 2 * root)
    first, second = (gaussian(np.zeros(6), c) for c in covariances)
    assert frechet_distance(first, second) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("n", [6, 40, 4000])
def test_shrinkage_is_ledoit_and_wolf_by_their_formula(n: int) -> None:
    samples = np.random.default_rng(n).standard_normal((n, 20)) * np.linspace(0.5, 3, 20) + 7
    centred = samples - samples.mean(axis=0)
    plain = centred.T @ centred / n
    variance = np.trace(plain) / 20
    distance = ((plain - variance * np.eye(20)) ** 2).sum()
    error = (((centred**2).sum(axis=1) ** 2).mean() - (plain**2).sum()) / n
    shrinkage = min(1.0, error / distance)
    shrunk = ((1 - shrinkage) * plain + shrinkage * variance * np.eye(20)) * n / (n - 1)
    fitted = fit_gaussian(samples)
    assert fitted.covariance == pytest.approx(shrunk, abs=1e-9)
    assert np.linalg.eigvalsh(fitted.covariance).min() > 0


def test_a_shift_grows_the_distance_and_halves_of_one_set_are_close() -> None:
    rng = np.random.default_rng(1)
    samples = rng.standard_normal((600, 30))
    near = distance_of(samples[:300], samples[300:])
    assert near < 1.0
    assert distance_of(samples[:300], samples[300:] + 1.0) == pytest.approx(near + 30, rel=0.1)
    assert distance_of(samples[:300], 2 * samples[300:]) > 10 * near


def test_too_few_samples_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 4 samples in each set, got 3"):
        fit_gaussian(np.zeros((3, 5)))
    with pytest.raises(ValueError, match=r"shape \(N, D\)"):
        fit_gaussian(np.zeros(5))
    with pytest.raises(ValueError, match="finite"):
        fit_gaussian(np.full((8, 2), np.nan))
    with pytest.raises(ValueError, match="one dimension"):
        frechet_distance(gaussian(np.zeros(2), np.eye(2)), gaussian(np.zeros(3), np.eye(3)))


def clips(shift: float, seed: int, n: int = 12) -> list[EmbeddedClip]:
    rng = np.random.default_rng(seed)
    return [EmbeddedClip(f"c{i}", rng.standard_normal((4, 8)) + shift) for i in range(n)]


def test_fidelity_compares_across_halves() -> None:
    references = clips(0.0, 0)
    own = measure("references", references, references)
    assert own.whole is None and own.across.n == 12 and own.n_patches == 48
    halves = distance_of(*(np.concatenate([c.patches for c in references[h::2]]) for h in (0, 1)))
    assert own.across.value == pytest.approx(halves)
    assert own.across.low is not None and own.across.high is not None
    assert own.across.low < halves < own.across.high
    # Copies of the references: at no distance as a whole, but as far as the halves are from each other.
    copies = measure("copies", list(references), references)
    assert copies.whole == pytest.approx(0.0, abs=1e-6) and copies.across.value == pytest.approx(halves)
    far = measure("far", clips(2.0, 1), references)
    assert far.across.value is not None and far.across.value > 5 * halves
    assert far.whole is not None and far.whole > 20
    assert "Fréchet, across halves" in to_markdown([own, far])
    with pytest.raises(ValueError, match="one clip for each of 12 references, got 11"):
        measure("few", references[1:], references)
    with pytest.raises(ValueError, match="at least 4 references"):
        measure("few", references[:2], references[:2])
