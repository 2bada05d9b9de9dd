"""What a separator leaves: on a tone and clicks whose share in the rest is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from flowmusic.evaluation.drum_residue import left_db, main

RATE = 32_000


def tone_and_clicks(seconds: float = 4.0) -> tuple[np.ndarray, np.ndarray]:
    """A steady chord, and short bursts of noise twice a second; (S,) each."""
    times_s = np.arange(round(seconds * RATE)) / RATE
    tone = sum(0.1 * np.sin(2 * np.pi * hz * times_s) for hz in (220.0, 277.2, 329.6))
    decay = np.exp(-np.mod(times_s, 0.5) * 120.0)
    clicks = 0.5 * decay * np.random.default_rng(0).standard_normal(len(times_s))
    return np.asarray(tone, dtype=np.float32), clicks.astype(np.float32)


@pytest.mark.parametrize("gain_db", [-6.0, -20.0])
def test_residue_is_the_gain_of_the_drums_left(gain_db: float) -> None:
    tone, clicks = tone_and_clicks()
    percussive_db, harmonic_db = left_db(tone + clicks, tone + clicks * 10 ** (gain_db / 20))
    assert percussive_db == pytest.approx(gain_db, abs=2.0)
    assert harmonic_db == pytest.approx(0.0, abs=1.0)


def test_taking_the_music_away_is_seen() -> None:
    tone, clicks = tone_and_clicks()
    percussive_db, harmonic_db = left_db(tone + clicks, 0.1 * (tone + clicks))
    assert percussive_db == pytest.approx(-20.0, abs=0.1)
    assert harmonic_db == pytest.approx(-20.0, abs=0.1)


@pytest.mark.parametrize(("mix", "rest"), [(np.zeros(100), np.zeros(100)), (np.ones(100), np.ones(99))])
def test_what_cannot_be_compared_is_refused(mix: np.ndarray, rest: np.ndarray) -> None:
    with pytest.raises(ValueError, match="expected"):
        left_db(mix, rest)


def test_the_shipped_separator_takes_drums_out_of_a_recording(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tone, clicks = tone_and_clicks()
    soundfile.write(tmp_path / "song.wav", tone + clicks, RATE)
    assert main(["--files", str(tmp_path / "song.wav")]) == 0
    row = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("| song "))
    percussive_db, harmonic_db = (float(cell) for cell in row.split("|")[2:4])
    assert percussive_db < -3.0 < harmonic_db


def test_files_that_do_not_exist_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--files", str(tmp_path / "none.wav")])
    assert "none.wav" in capsys.readouterr().err
