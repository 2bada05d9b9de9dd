"""The loudness curve on sounds whose level is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from features.audio import Audio
from features.dynamics import FLOOR_DB, dynamics
from features.extract import extract_controls

RATE = 32_000


def sine(gain_db: np.ndarray | float, duration_s: float = 4.0, channels: int = 1) -> Audio:
    """A tone of 997 Hz, whose K-weighted level is that of its mean square within .1 dB, plus .691."""
    times_s = np.arange(round(duration_s * RATE)) / RATE
    samples = 10 ** (np.asarray(gain_db) / 20) * np.sin(2 * np.pi * 997 * times_s)
    return Audio(np.tile(samples.astype(np.float32), (channels, 1)), RATE)


@pytest.mark.parametrize("gain_db", [-50.0, -20.0, -6.0])
@pytest.mark.parametrize("channels", [1, 2])
def test_the_level_of_a_tone_is_the_published_one(gain_db: float, channels: int) -> None:
    curve = dynamics(sine(gain_db, channels=channels))
    expected = 1 - (gain_db - 3.01 + 0.691) / FLOOR_DB
    assert curve.shape == (200, 1)
    torch.testing.assert_close(curve, torch.full((200, 1), expected), atol=0.003, rtol=0)


def test_a_crescendo_rises_and_gain_moves_it_as_a_whole() -> None:
    rise_db = np.linspace(-40, -10, 4 * RATE)
    curve = dynamics(sine(rise_db))[:, 0]
    assert bool((curve.diff() > -1e-6).all())
    slope = (curve[150] - curve[50]) / 2  # a second, away from the edges that the blur touches
    assert float(slope) == pytest.approx(-7.5 / FLOOR_DB, abs=0.003)
    softer = dynamics(sine(rise_db - 6))[:, 0]
    torch.testing.assert_close(curve - softer, torch.full((200,), -6 / FLOOR_DB), atol=1e-4, rtol=0)


def test_low_tones_count_less_than_their_power() -> None:
    times_s = np.arange(2 * RATE) / RATE
    low = Audio(0.5 * np.sin(2 * np.pi * 30 * times_s, dtype=np.float32)[None], RATE)
    assert float(dynamics(low)[50]) < float(dynamics(sine(-6.02, 2.0))[50]) - 0.1


@pytest.mark.parametrize("n_samples", [1, 640, 641, 32_000])
def test_silence_is_nothing_and_every_length_has_its_frames(n_samples: int) -> None:
    curve = dynamics(Audio(np.zeros((2, n_samples), dtype=np.float32), RATE))
    assert curve.shape == (-(-n_samples * 50 // RATE), 1)
    assert not curve.any()


def test_it_is_extracted_like_any_other_control() -> None:
    controls = extract_controls(dynamics=sine(-20.0, 1.0), duration_s=2.0)
    assert controls.given == ("dynamics",)
    assert controls.mask("dynamics").tolist() == [True] * 50 + [False] * 50
    with pytest.raises(ValueError, match=r"a\.mid cannot be a dynamics reference|does not exist"):
        extract_controls(dynamics="a.mid")
