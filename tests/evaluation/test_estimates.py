"""Figures and their intervals on samples whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from flowmusic.evaluation.estimates import Estimate, area_under_curve, gap_closed, jackknife, mean

RNG = np.random.default_rng(0)


def test_the_interval_of_a_mean_is_about_two_standard_errors_wide() -> None:
    values = RNG.standard_normal(400)
    found = mean(values)
    error = values.std() / 20
    assert found.n == 400 and found.value == pytest.approx(values.mean())
    assert found.low == pytest.approx(values.mean() - 1.96 * error, abs=0.3 * error)
    assert found.high == pytest.approx(values.mean() + 1.96 * error, abs=0.3 * error)
    assert mean([None, 2.0]) == Estimate(1, 2.0) and mean([None]) == Estimate(0)
    assert str(mean([1.0, 1.0])) == "1.000 [1.000, 1.000]" and str(Estimate(0)) == "–"


def test_the_gap_closed_pairs_score_floor_and_ceiling() -> None:
    floor = RNG.random(50)
    ceiling = floor + 0.5  # differs from clip to clip, but always by as much: the gap closed is certain
    found = gap_closed(floor + 0.25, floor, ceiling)
    assert (found.value, found.low, found.high) == pytest.approx((0.5, 0.5, 0.5))
    assert gap_closed(floor, floor, floor + 0.01) == Estimate(50)


def test_auc_by_hand() -> None:
    assert area_under_curve(np.array([0.9, 0.4]), np.array([0.1, 0.4])).value == 3.5 / 4
    apart = area_under_curve(RNG.random(20) + 1, RNG.random(30))
    assert (apart.n, apart.value, apart.low, apart.high) == pytest.approx((20, 1.0, 1.0, 1.0))
    chance = area_under_curve(RNG.random(60), RNG.random(60))
    assert chance.low is not None and chance.high is not None and chance.low < 0.5 < chance.high
    assert area_under_curve(np.zeros(0), np.zeros(3)) == Estimate(0)


def test_the_jackknife_of_a_mean_is_its_standard_error() -> None:
    values = RNG.standard_normal(40)
    found = jackknife(lambda chosen: float(values[chosen].mean()), 40)
    error = values.std(ddof=1) / np.sqrt(40)
    assert found.low == pytest.approx(values.mean() - 1.96 * error)
    assert found.high == pytest.approx(values.mean() + 1.96 * error)
