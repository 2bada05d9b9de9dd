"""Loudness that is asked for is reached, and no sample lies beyond the peak."""

from __future__ import annotations

import numpy as np
import pyloudnorm
import pytest

from flowmusic.api.loudness import at_loudness, integrated_loudness, limit

RATE, PEAK = 32_000, 0.95


def peaky(n: int = 6 * RATE) -> np.ndarray:
    """Quiet stereo noise with loud clicks, whose peaks alone forbid more than some -25 LUFS: (2, S)."""
    rng = np.random.default_rng(0)
    sound = 0.02 * rng.standard_normal((2, n))
    for start in range(1000, n - 400, RATE // 4):
        sound[:, start : start + 300] += 0.9 * np.exp(-np.arange(300) / 40) * rng.standard_normal(300) / 3
    return (0.9 * sound / np.abs(sound).max()).astype(np.float32)


@pytest.mark.parametrize("target", [-23.0, -16.0, -14.0, -10.0])
def test_loudness_is_reached_within_the_peak(target: float) -> None:
    sound = peaky()
    gain_alone = PEAK / np.abs(sound).max()
    assert pyloudnorm.Meter(RATE).integrated_loudness((gain_alone * sound).T) < -16.5
    louder, gain = at_loudness(sound, RATE, target, PEAK)
    assert pyloudnorm.Meter(RATE).integrated_loudness(louder.T) == pytest.approx(target, abs=0.2)
    assert np.abs(louder).max() <= PEAK and louder.dtype == np.float32
    assert integrated_loudness(louder, RATE) == pytest.approx(target, abs=0.2) and gain > 0


@pytest.mark.parametrize("target", [-14.0, -6.0, 3.0])
def test_the_gain_is_the_one_that_was_applied(target: float) -> None:
    """Also where the target cannot be reached within the peak."""
    sound = peaky()
    louder, gain = at_loudness(sound, RATE, target, PEAK)
    assert np.array_equal(louder, limit(np.float32(gain) * sound, PEAK, RATE))


def test_channels_are_limited_alike() -> None:
    """A peak on one side turns both down, so that nothing moves from its place."""
    sound = np.full((2, RATE), 0.1, dtype=np.float32)
    sound[1, RATE // 2] = 2.0
    calm = limit(sound, PEAK, RATE)
    assert calm[0, RATE // 2] < 0.06 and abs(calm[1, RATE // 2]) <= PEAK
    assert np.array_equal(calm[:, : RATE // 2 - 2000], sound[:, : RATE // 2 - 2000]), "no delay"


def test_peaks_are_limited_and_the_rest_stays() -> None:
    rng = np.random.default_rng(0)
    noise = (0.1 * rng.standard_normal((2, RATE))).astype(np.float32)
    loud = noise.copy()
    loud[1, 16_000], loud[0, 100] = -2.0, 1.5
    calm = limit(loud, PEAK, RATE)
    assert np.abs(calm).max() == pytest.approx(PEAK) and calm.dtype == np.float32
    assert abs(calm[1, 16_000]) == pytest.approx(PEAK, abs=0.01)
    far = np.ones(RATE, dtype=bool)
    far[15_300:16_700] = far[:800] = False
    assert np.array_equal(calm[:, far], noise[:, far])


def test_what_needs_no_limiting_stays_as_it_is() -> None:
    noise = (0.1 * np.random.default_rng(0).standard_normal((2, RATE))).astype(np.float32)
    assert limit(noise, PEAK, RATE) is noise
    silence = np.zeros((1, RATE), dtype=np.float32)
    same, gain = at_loudness(silence, RATE, -16.0, PEAK)
    assert same is silence and gain == 1.0 and integrated_loudness(silence, RATE) is None
