"""What the codec hears: tones in the right band, strokes in the right frame."""

from __future__ import annotations

import math

import pytest
import torch

from flowmusic.codec.analysis import DEFAULT_RESOLUTIONS, BandAnalysis, Resolution

RATE, HOP = 32000, 1280


@pytest.fixture(scope="module")
def analysis() -> BandAnalysis:
    return BandAnalysis(RATE, HOP, DEFAULT_RESOLUTIONS)


@pytest.mark.parametrize("f0_hz", [65.4, 220.0, 440.0, 1318.5, 5000.0])
def test_a_tone_is_loudest_in_its_own_band(analysis: BandAnalysis, f0_hz: float) -> None:
    tone = 0.5 * torch.sin(2 * math.pi * f0_hz * torch.arange(2 * RATE) / RATE)
    for index, resolution in enumerate(DEFAULT_RESOLUTIONS):
        if not resolution.low_hz * 1.1 < f0_hz < resolution.high_hz * 0.9:
            continue
        levels = analysis.levels(tone[None], index)[0]
        loudest = resolution.centres_hz[levels[levels.shape[0] // 2].argmax()]
        bin_hz = RATE / resolution.window
        width_hz = f0_hz * (2 ** (1 / resolution.bands_per_octave) - 1)
        assert abs(float(loudest) - f0_hz) <= max(width_hz, bin_hz)


def test_neighbouring_semitones_are_told_apart_at_110_hz(analysis: BandAnalysis) -> None:
    times = torch.arange(2 * RATE) / RATE
    low, high = (analysis(torch.sin(2 * math.pi * f * times)[None] * 0.5)[0, 25] for f in (110.0, 116.54))
    assert float((low - high).abs().max()) > 0.5  # at least 10 dB somewhere


@pytest.mark.parametrize("click_s", [0.41, 1.0, 1.63])
def test_a_click_is_heard_in_its_own_frame(analysis: BandAnalysis, click_s: float) -> None:
    audio = torch.zeros(1, 2 * RATE)
    audio[0, round(click_s * RATE)] = 1.0
    levels = analysis.levels(audio, len(DEFAULT_RESOLUTIONS) - 1)[0].sum(dim=1)
    assert abs((int(levels.argmax()) + 0.5) / 100 - click_s) <= 0.01


@pytest.mark.parametrize("n_samples", [1, 1279, 1280, 1281, 32001])
def test_frame_counts_at_odd_lengths(analysis: BandAnalysis, n_samples: int) -> None:
    assert analysis(torch.randn(2, n_samples)).shape == (2, math.ceil(n_samples / HOP), analysis.n_features)


def test_subframes_must_divide_the_hop() -> None:
    with pytest.raises(ValueError, match="3 subframes do not divide"):
        BandAnalysis(RATE, HOP, (Resolution(512, 60.0, 16000.0, 1.0, subframes=3),))
