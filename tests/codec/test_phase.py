"""Sound from magnitudes: exact where phases are known, close where they are found."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from flowmusic.codec.griffin_lim import griffin_lim
from flowmusic.codec.phase import Stft, partial_phases, reconstruct

RATE = 32000


@pytest.fixture(scope="module")
def stft() -> Stft:
    return Stft(4096, 640)


def gliding_chord() -> Tensor:
    """Three partials, one gliding, with a soft start: (1, S)."""
    times = torch.arange(2 * RATE) / RATE
    glide = 2 * math.pi * torch.cumsum(440.0 * 2 ** (times / 12), 0) / RATE
    tones = (
        torch.sin(glide)
        + torch.sin(2 * math.pi * 220.0 * times)
        + 0.5 * torch.sin(2 * math.pi * 1760.0 * times)
    )
    return (0.2 * tones * (1 - torch.exp(-times * 20)))[None]


def test_spectrum_and_synthesis_are_inverse(stft: Stft) -> None:
    audio = torch.randn(2, 640 * 40)
    back = stft.synthesise(stft.spectrum(audio, 40), audio.shape[1])
    torch.testing.assert_close(back, audio, atol=1e-4, rtol=1e-4)


def test_a_full_scale_sine_has_magnitude_one(stft: Stft) -> None:
    tone = torch.sin(2 * math.pi * 1000.0 * torch.arange(RATE) / RATE)[None]
    assert float(stft.magnitude(tone, 50)[0, 25].max()) == pytest.approx(1.0, abs=0.02)


@pytest.mark.parametrize("iterations", [0, 4])
def test_partials_come_back_at_their_magnitudes(stft: Stft, iterations: int) -> None:
    audio = gliding_chord()
    magnitude = stft.magnitude(audio, 100)
    again = stft.magnitude(reconstruct(magnitude, stft, audio.shape[1], iterations), 100)
    loud = magnitude > 0.02
    error_db = (20 * torch.log10(again[loud] / magnitude[loud])).abs().mean()
    assert float(error_db) < (1.0 if iterations else 2.5)


def test_phase_vocoder_start_beats_random_phases(stft: Stft) -> None:
    audio = gliding_chord()
    magnitude = stft.magnitude(audio, 100)
    phase = torch.rand(magnitude.shape) * 2 * math.pi
    padded = torch.nn.functional.pad(torch.polar(magnitude, phase).transpose(1, 2), (1, 1))
    random = stft.magnitude(stft.synthesise(padded, audio.shape[1]), 100)
    found = stft.magnitude(reconstruct(magnitude, stft, audio.shape[1], 0), 100)
    assert float((found - magnitude).abs().mean()) < 0.25 * float((random - magnitude).abs().mean())


def test_a_steady_partial_advances_by_its_own_frequency(stft: Stft) -> None:
    f0_hz = 523.25
    tone = torch.sin(2 * math.pi * f0_hz * torch.arange(RATE) / RATE)[None]
    phases = partial_phases(stft.magnitude(tone, 50), stft.hop, stft.window)[0]
    peak = round(f0_hz * 4096 / RATE)
    advance = torch.remainder(phases[21:40, peak] - phases[20:39, peak], 2 * math.pi)
    expected = (2 * math.pi * f0_hz * 640 / RATE) % (2 * math.pi)
    assert float((advance - expected).abs().max()) < 0.15


def test_silence_stays_silent(stft: Stft) -> None:
    assert float(reconstruct(torch.zeros(1, 20, stft.n_bins), stft, 12800).abs().max()) == 0.0


def test_low_bins_alone_give_the_same_sound_at_a_lower_sample_rate(stft: Stft) -> None:
    magnitude = stft.magnitude(gliding_chord(), 100)
    magnitude[..., 240:] = 0.0  # 1875 Hz
    full, low = (reconstruct(values, stft, 64_000, 8) for values in (magnitude, magnitude[..., :240]))
    assert float((full - low).norm() / full.norm()) < 0.02


@pytest.mark.parametrize(("window", "hop"), [(512, 128), (2048, 320), (96, 40)])
def test_griffin_lim_is_that_of_the_stft(window: int, hop: int) -> None:
    """Against torch's own transforms, iteration by iteration."""
    stft, n_frames = Stft(window, hop), 30
    audio = torch.randn(2, n_frames * hop, generator=torch.Generator().manual_seed(0))
    target = stft.spectrum(audio, n_frames).abs()  # (B, F, T + 2)
    spectrum = torch.polar(target, torch.rand(target.shape, generator=torch.Generator().manual_seed(1)) * 6)
    found = griffin_lim(spectrum.transpose(1, 2).clone(), target.transpose(1, 2), window, hop, 3, 0.9)
    previous = torch.zeros_like(spectrum)
    for _ in range(3):
        sound = stft.synthesise(spectrum, n_frames * hop)
        consistent = stft.spectrum(sound, n_frames)
        spectrum = target * torch.sgn(consistent + 0.9 * (consistent - previous))
        previous = consistent
    torch.testing.assert_close(found.transpose(1, 2), spectrum, atol=1e-3, rtol=1e-3)
