"""Physics of band-pass and blur."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from features.filters import band_pass, gaussian_blur

RATE = 16000


def level_db(f0_hz: float, low_hz: float, high_hz: float) -> float:
    tone = torch.sin(2 * math.pi * f0_hz * torch.arange(RATE) / RATE)
    inner = slice(2000, -2000)  # away from the ends, where a tone that starts is no tone
    passed = band_pass(tone, low_hz, high_hz, RATE)[inner]
    return float(10 * torch.log10(passed.square().mean() / tone[inner].square().mean()))


@pytest.mark.parametrize("f0_hz", [220.0, 440.0, 900.0])
def test_a_tone_in_the_band_passes_unchanged(f0_hz: float) -> None:
    assert abs(level_db(f0_hz, 200.0, 1000.0)) < 0.1


@pytest.mark.parametrize("f0_hz", [60.0, 150.0, 1300.0, 5000.0])
def test_a_tone_outside_the_band_dies(f0_hz: float) -> None:
    assert level_db(f0_hz, 200.0, 1000.0) < -50.0


def test_neighbouring_bands_add_up_in_the_middle() -> None:
    noise = torch.randn(RATE, generator=torch.Generator().manual_seed(0))
    whole = band_pass(noise, 0.0, 7000.0, RATE)
    assert float((whole - noise).square().mean()) < 0.2


def test_edges_must_be_in_order() -> None:
    with pytest.raises(ValueError, match="low_hz"):
        band_pass(torch.zeros(10), 500.0, 400.0, RATE)


@given(st.integers(2, 80), st.floats(0.005, 0.5), st.integers(0, 10**6))
def test_blur_keeps_the_mean_and_the_range(n_frames: int, blur_s: float, seed: int) -> None:
    x = torch.rand(n_frames, 3, generator=torch.Generator().manual_seed(seed))
    blurred = gaussian_blur(x, blur_s, 50.0)
    torch.testing.assert_close(blurred.mean(dim=0), x.mean(dim=0), atol=1e-5, rtol=1e-4)
    assert float(blurred.min()) >= float(x.min()) - 1e-5
    assert float(blurred.max()) <= float(x.max()) + 1e-5


def test_blur_spreads_a_stroke_by_its_standard_deviation() -> None:
    x = torch.zeros(201, 1)
    x[100] = 1.0
    blurred = gaussian_blur(x, 0.1, 50.0)[:, 0]
    times = (torch.arange(201) - 100) / 50.0
    assert float((blurred * times.square()).sum().sqrt()) == pytest.approx(0.1, rel=0.02)


def test_no_blur_is_no_change_and_a_negative_one_is_refused() -> None:
    x = torch.rand(5, 2)
    assert torch.equal(gaussian_blur(x, 0.0, 50.0), x)
    with pytest.raises(ValueError, match="blur_s"):
        gaussian_blur(x, -0.1, 50.0)
