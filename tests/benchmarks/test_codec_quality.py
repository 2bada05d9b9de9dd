"""Figures of the codec on signals whose answer is known."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from benchmarks.codec_quality import (
    FULL_SCALE_SINE,
    CodecQuality,
    average,
    compare,
    frequency_error_hz,
    log_magnitude_error_db,
    log_magnitude_error_dbfs,
    main,
    measure,
    wobble,
)
from features.audio import Audio, resample

RATE = 32_000
TIMES_S = np.arange(4 * RATE) / RATE
RNG = np.random.default_rng(0)


def tones(scale: float = 1.0) -> np.ndarray:
    """A steady chord with a click every half second."""
    chord = sum(np.sin(2 * np.pi * hz * scale * TIMES_S) for hz in (262.0, 330.0, 392.0)) / 6
    click = 0.4 * RNG.standard_normal(len(TIMES_S)) * np.exp(-(TIMES_S % 0.5) * 200)
    return np.asarray(chord + click, dtype=np.float32)


def test_identity_is_perfect() -> None:
    sound = tones()
    quality = compare(sound, sound, RATE)
    assert quality.log_magnitude_error_db == quality.log_magnitude_error_dbfs == 0.0
    assert quality.chroma_correlation == pytest.approx(1.0)
    assert quality.onset_f1 == quality.onset_f1_fine == 1.0
    assert quality.wobble_error_db == 0.0 and quality.wobble_ratio == pytest.approx(1.0)
    assert quality.frequency_error_hz == pytest.approx(0.0, abs=1e-3)
    assert quality.decode_real_time_factor is None


def test_log_magnitude_error_is_a_gain_in_db_and_sees_the_floor() -> None:
    noise = 0.1 * np.random.default_rng(0).standard_normal(RATE).astype(np.float32)
    assert log_magnitude_error_db(noise, noise) == 0.0
    assert log_magnitude_error_db(noise, 0.5 * noise) == pytest.approx(6.02, abs=0.01)
    sound = tones()
    # A pure tone fills few bins: almost everything else lies on the floor of -80 dB in both.
    silence = np.zeros_like(sound)
    silence[0] = 1e-3
    assert 5 < log_magnitude_error_db(sound, silence) <= 80


def test_the_full_scale_floor_is_80_db_below_a_full_sine() -> None:
    noise = RNG.standard_normal(RATE).astype(np.float32)
    # Levels of white noise: about -40 dB full scale here, all above the floor; then half of them below it.
    assert log_magnitude_error_dbfs(0.1 * noise, 0.05 * noise) == pytest.approx(6.02, abs=0.05)
    assert log_magnitude_error_dbfs(1e-6 * noise, 0.5e-6 * noise) == 0.0
    # Relative to the loudest bin the same quiet sound is wrong by as much as a loud one.
    assert log_magnitude_error_db(1e-6 * noise, 0.5e-6 * noise) == pytest.approx(6.02, abs=0.05)
    tone = np.sin(2 * np.pi * 1000 * TIMES_S).astype(np.float32)  # the middle of bin 64
    bins = np.abs(np.fft.rfft(tone[:2048] * np.hanning(2049)[:-1]))
    assert bins.max() == pytest.approx(FULL_SCALE_SINE, rel=1e-3)


def test_another_chord_shows_in_the_chroma() -> None:
    sound = tones()
    wrong = compare(sound, tones(2 ** (3 / 12)), RATE).chroma_correlation
    assert wrong is not None and wrong < 0.7


@pytest.mark.parametrize("depth_db", [1.0, 3.0])
def test_wobble_measures_a_known_modulation(depth_db: float) -> None:
    tone = 0.3 * np.sin(2 * np.pi * 440 * TIMES_S)
    shaken = tone * 10 ** (depth_db * np.sin(2 * np.pi * 8 * TIMES_S) / 20)
    error_db, ratio = wobble(tone.astype(np.float32), shaken.astype(np.float32), RATE)
    assert error_db == pytest.approx(depth_db / np.sqrt(2), rel=0.25)
    assert ratio is not None and ratio > 10
    slow = tone * 10 ** (depth_db * np.sin(2 * np.pi * 0.5 * TIMES_S) / 20)
    slow_error_db, _ = wobble(tone.astype(np.float32), slow.astype(np.float32), RATE)
    assert slow_error_db is not None and error_db is not None and slow_error_db < 0.25 * error_db


def test_wobble_is_not_applicable_without_sustained_sound() -> None:
    clicks = np.zeros(4 * RATE, dtype=np.float32)
    clicks[:: RATE // 10] = 1.0
    burst = clicks * RNG.standard_normal(len(clicks)).astype(np.float32)
    assert wobble(burst, burst, RATE) == (None, None)


@pytest.mark.parametrize("shift_hz", [1.0, 4.0])
def test_frequency_error_measures_a_known_shift(shift_hz: float) -> None:
    tone = 0.3 * np.sin(2 * np.pi * 1000.0 * TIMES_S)
    moved = 0.3 * np.sin(2 * np.pi * (1000.0 + shift_hz) * TIMES_S)
    error_hz = frequency_error_hz(tone.astype(np.float32), moved.astype(np.float32), RATE)
    assert error_hz == pytest.approx(shift_hz, rel=0.15)


def test_bad_pairs_are_refused() -> None:
    with pytest.raises(ValueError, match="one shape"):
        compare(tones(), tones()[:-1], RATE)
    with pytest.raises(ValueError, match="audible"):
        compare(np.zeros(RATE, np.float32), np.zeros(RATE, np.float32), RATE)


def test_average_leaves_out_what_does_not_apply() -> None:
    first = CodecQuality(2.0, 1.5, 1.0, None, None, None, None, 3.0, None, None, 0.125)
    second = CodecQuality(4.0, 2.5, 0.5, 0.5, None, None, None, 5.0, 2.0, 0.25, 0.375)
    means = average([first, second])
    assert {name: found.value for name, found in means.items()} == asdict(
        CodecQuality(3.0, 2.0, 0.75, 0.5, None, None, None, 4.0, 2.0, 0.25, 0.25)
    )
    assert means["onset_f1"].n == 1 and means["chroma_correlation"].n == 2


def test_the_codec_can_be_judged_at_another_rate() -> None:
    """A codec that leaves out all above 5 kHz is perfect where nothing above counts."""

    class Narrow:
        sample_rate, frame_rate, latent_dim, channels = RATE, 25.0, 1, 1

        def encode(self, audio: torch.Tensor) -> torch.Tensor:
            return torch.from_numpy(resample(resample(audio.numpy(), RATE, 10_000), 10_000, RATE))

        def decode(self, latents: torch.Tensor, generated: bool = False) -> torch.Tensor:
            return latents

    sound = Audio((0.1 * RNG.standard_normal((1, 2 * RATE))).astype(np.float32), RATE)
    whole, low = measure(Narrow(), sound), measure(Narrow(), sound, 8000)
    assert whole.log_magnitude_error_db is not None and low.log_magnitude_error_db is not None
    assert whole.log_magnitude_error_db > 10 > 2 > low.log_magnitude_error_db


def test_the_command_writes_a_table_and_a_plot_of_each_file(tmp_path: Path) -> None:
    sound = tmp_path / "tone.wav"
    soundfile.write(sound, 0.3 * np.sin(2 * np.pi * 440 * np.arange(2 * RATE) / RATE), RATE)
    table = tmp_path / "table.md"
    assert main(["--files", str(sound), "--plots", str(tmp_path / "plots"), "--out", str(table)]) == 0
    assert "| tone " in table.read_text() and "| mean [95 %]" in table.read_text()
    assert (tmp_path / "plots" / "tone.png").stat().st_size > 10_000
