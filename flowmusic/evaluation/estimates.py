"""Figures with their number of clips and a 95 % interval (bootstrap over clips, `scipy.stats.bootstrap`)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

RESAMPLES = 2000
CONFIDENCE = 0.95
SMALLEST_GAP = 0.02
"""A ceiling closer than this to the floor leaves no gap to speak of."""


@dataclass(frozen=True)
class Estimate:
    """A figure over `n` clips, and the ends of its 95 % interval; None where there are too few clips."""

    n: int
    value: float | None = None
    low: float | None = None
    high: float | None = None

    def __str__(self) -> str:
        if self.value is None:
            return "–"
        interval = "" if self.low is None else f" [{self.low:.3f}, {self.high:.3f}]"
        return f"{self.value:.3f}{interval}"


def estimate(statistic: Callable[..., Any], *samples: np.ndarray, paired: bool = True) -> Estimate:
    """A statistic of samples (N,), taken along `axis`, with the percentile interval of 2000 resamples (seed
    0).

    `paired` samples are resampled together (they belong to the same clips), others each by itself. `n` is the
    length of the first.
    """
    from scipy.stats import bootstrap

    n = len(samples[0])
    if min(len(sample) for sample in samples) == 0:
        return Estimate(n)
    value = float(statistic(*samples, axis=-1))
    if min(len(sample) for sample in samples) < 2:
        return Estimate(n, value)
    found = bootstrap(
        samples, statistic, n_resamples=RESAMPLES, confidence_level=CONFIDENCE, method="percentile",
        paired=paired and len(samples) > 1, vectorized=True, rng=np.random.default_rng(0),
    ).confidence_interval  # fmt: skip
    return Estimate(n, value, float(found.low), float(found.high))


def mean(values: Iterable[float | None]) -> Estimate:
    """The mean of the values that there are (not None)."""
    return estimate(np.mean, np.array([value for value in values if value is not None], dtype=np.float64))


def gap_closed(score: np.ndarray, floor: np.ndarray, ceiling: np.ndarray) -> Estimate:
    """(score - floor) / (ceiling - floor) of the means of (N,) clips; no value where floor and ceiling
    meet.
    """
    if len(score) == 0 or ceiling.mean() - floor.mean() <= SMALLEST_GAP:
        return Estimate(len(score))

    def share(score: np.ndarray, floor: np.ndarray, ceiling: np.ndarray, axis: int = -1) -> np.ndarray:
        gap = ceiling.mean(axis) - floor.mean(axis)
        return np.asarray((score.mean(axis) - floor.mean(axis)) / np.maximum(gap, 1e-6))

    return estimate(share, score, floor, ceiling)


def area_under_curve(positive: np.ndarray, negative: np.ndarray) -> Estimate:
    """The probability that one of `positive` (N,) exceeds one of `negative` (M,), ties counting half: ROC
    AUC.
    """
    from scipy.stats import rankdata

    def area(positive: np.ndarray, negative: np.ndarray, axis: int = -1) -> np.ndarray:
        n, m = positive.shape[axis], negative.shape[axis]
        ranks = rankdata(np.concatenate([positive, negative], axis=-1), axis=-1)[..., :n]
        return np.asarray((ranks.sum(axis=-1) - n * (n + 1) / 2) / (n * m))

    return estimate(area, positive, negative, paired=False)


def jackknife(statistic: Callable[[np.ndarray], float], n: int) -> Estimate:
    """A statistic of the clips 0 to n - 1 by their indices, whose interval leaves out one clip at a time.

    For what a bootstrap would bias, because it repeats clips (the Fréchet distance): value ± 1.96 times
    sqrt((n - 1) / n * sum((value without clip i - their mean)^2)).
    """
    everything = np.arange(n)
    value = float(statistic(everything))
    without = np.array([statistic(np.delete(everything, i)) for i in range(n)])
    error = float(np.sqrt((n - 1) / n * ((without - without.mean()) ** 2).sum()))
    return Estimate(n, value, value - 1.96 * error, value + 1.96 * error)
