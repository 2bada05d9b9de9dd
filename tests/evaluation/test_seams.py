"""Where parts of a clip meet: steps and clicks are found, and where there is nothing the answer is chance."""

from __future__ import annotations

import numpy as np
import pytest

from features.audio import Audio
from flowmusic.evaluation.long_clips import seams_of
from flowmusic.evaluation.seams import (
    Stratum,
    at_joins,
    away_from_joins,
    block_borders,
    seam_row,
    spectral_change,
    together,
    window_borders,
)

RATE, FRAME_RATE = 8000, 25.0


def chatter(duration_s: float, seed: int) -> np.ndarray:
    """Noise whose level and colour change every 0.1 to 0.6 s, (S,)."""
    rng = np.random.default_rng(seed)
    n_samples, parts = round(duration_s * RATE), [np.zeros(0)]
    while sum(part.size for part in parts) < n_samples:
        noise = rng.standard_normal(round(rng.uniform(0.1, 0.6) * RATE))
        parts.append(10 ** rng.uniform(-3, -2) * np.convolve(noise, rng.standard_normal(8), "same"))
    return np.concatenate(parts)[:n_samples].astype(np.float32)


def auc_of(samples: np.ndarray, borders: list[int]) -> tuple[float, float, float]:
    change = spectral_change(Audio(samples[None], RATE), FRAME_RATE)
    row = seam_row("borders", [away_from_joins(change, borders, [], borders, FRAME_RATE)])
    assert row.n == len(borders) and row.auc is not None and row.low is not None and row.high is not None
    return row.auc, row.low, row.high


def test_clicks_and_steps_are_found_and_their_absence_is_chance() -> None:
    samples, borders = chatter(164.0, 1), list(range(100, 4001, 100))
    auc, low, high = auc_of(samples, borders)
    assert abs(auc - 0.5) < 0.1 and low < 0.5 < high and 0.1 < high - low < 0.3
    clicks, elsewhere, steps = samples.copy(), samples.copy(), samples.copy()
    for count, border in enumerate(borders):
        at = border * RATE // 25
        clicks[at : at + 8] += 1.0
        elsewhere[at + 2 * RATE : at + 2 * RATE + 8] += 1.0
        steps[at : at + 4 * RATE] *= 30.0 if count % 2 else 1.0
    assert auc_of(clicks, borders)[1] > 0.9
    assert auc_of(steps, borders)[1] > 0.8
    assert abs(auc_of(elsewhere, borders)[0] - 0.5) < 0.1


def test_the_change_is_the_step_in_db_where_both_sides_are_sound() -> None:
    rate = 11_000 + 25  # 441 samples a frame: no quarter of that is whole
    noise = 0.02 * np.random.default_rng(0).standard_normal(2 * rate).astype(np.float32)
    noise[rate:] *= 10.0
    change = spectral_change(Audio(noise[None], rate), FRAME_RATE)
    assert change.shape == (51,)
    assert np.isnan(change[[0, 1, 2, 48, 49, 50]]).all() and np.isfinite(change[3:48]).all()
    assert change[25] == pytest.approx(20.0, abs=1.5)
    assert change[3:22].max() < 4.0 and change[29:48].max() < 4.0
    assert np.isnan(spectral_change(Audio(noise[None, :2000], rate), FRAME_RATE)).all()
    silent = spectral_change(Audio(np.zeros((1, rate), np.float32), rate), FRAME_RATE)
    assert (silent[3:-3] == 0).all()


def test_borders_are_where_windows_and_blocks_meet() -> None:
    assert (
        window_borders(4500, FRAME_RATE) == list(range(100, 4401, 100))
        and window_borders(750, FRAME_RATE) == []
    )
    assert block_borders(4500, FRAME_RATE) == list(range(500, 4001, 500))
    assert block_borders(500, FRAME_RATE) == [] and block_borders(501, FRAME_RATE) == [250]
    assert together([197, 200, 300, 312, 325], FRAME_RATE) == ([198, 306, 325], 6)
    assert together(window_borders(4500, FRAME_RATE), FRAME_RATE) == (window_borders(4500, FRAME_RATE), 0)
    middles, spread = together(window_borders(4250, FRAME_RATE), FRAME_RATE)
    assert len(window_borders(4250, FRAME_RATE)) == 82 and len(middles) == 42 and 1 <= spread <= 2


def test_joins_are_left_out_and_compared_with_joins() -> None:
    change = np.arange(1001, dtype=np.float64)
    change[:3] = np.nan
    near_joins = away_from_joins(change, [100, 250, 500], [255, 900], [100, 250, 500], FRAME_RATE, reach=1)
    assert near_joins.borders.tolist() == [101.0, 501.0]  # the largest of the border and its neighbours
    left = set(near_joins.others - 1)
    assert min(left) == 3 and {86, 114, 486, 514} <= left
    assert not left & {*range(87, 114), *range(487, 514), *range(242, 269), *range(887, 914)}
    met = at_joins(change, [250, 500], [250, 400, 510, 900], [250, 500, 880], FRAME_RATE, reach=0)
    assert met.borders.tolist() == [250.0, 500.0] and met.others.tolist() == [400.0, 900.0]


def test_the_share_exceeded_is_counted_within_each_sound() -> None:
    first = Stratum(np.array([1.0, 3.0]), np.array([0.0, 1.0, 2.0, 4.0]))
    second = Stratum(np.array([100.0]), np.array([200.0, 300.0]))
    row = seam_row("both", [first, second, Stratum(np.array([7.0]), np.zeros(0))])
    assert (row.n, row.n_others) == (3, 6)
    assert row.auc == pytest.approx((1.5 / 4 + 3 / 4 + 0) / 3)
    assert row.at_borders == pytest.approx(104 / 3) and row.elsewhere == pytest.approx(507 / 6)
    assert row.low is None and seam_row("none", []).auc is None
    many = [Stratum(np.arange(8.0), np.arange(9.0))]
    assert seam_row("many", many) == seam_row("many", many) and seam_row("many", many).low is not None


def test_blocks_are_found_within_half_a_second_and_away_from_joins_or_at_them() -> None:
    samples = 0.1 * chatter(180.0, 3)
    clicks = samples.copy()
    for border in block_borders(17 * 250, FRAME_RATE):
        clicks[border * RATE // 25 + 3000 :][:8] += 1.0  # 0.375 s later
    for n_pieces, sound in ((18, samples), (17, samples), (17, clicks)):
        clip = Audio(sound[None, : n_pieces * 10 * RATE], RATE)
        windows, blocks, at_joins = seams_of([clip], 10.0, FRAME_RATE, "clip")
        assert windows.n >= 34 and windows.auc is not None and abs(windows.auc - 0.5) < 0.2
        assert (blocks.n, at_joins.n) == ((0, 8) if n_pieces == 18 else (8, 0))
        assert at_joins.n_others == (9 if n_pieces == 18 else 0)
        if n_pieces == 17:
            assert blocks.auc is not None and (blocks.auc > 0.95 if sound is clicks else blocks.auc < 0.8)
