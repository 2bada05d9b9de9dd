"""Recordings and symbols that are opened as references."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from features.audio import Audio, AudioError, write_audio
from features.extract import Extractors
from features.recordings import open_recording
from features.references import ChordChart, open_reference
from features.symbols import NotationError
from flowmusic.api.request import Request, RequestError

RATE = 16_000
PAIRS = [("C", 0.0), ("Am", 2.5)]


def tune() -> np.ndarray:
    """2 s of A4, with overtones."""
    times = np.arange(2 * RATE) / RATE
    overtones = np.array([1, 2, 3])[:, None]
    return (0.4 / overtones * np.sin(2 * np.pi * 440 * overtones * times)).sum(0).astype(np.float32)


@pytest.mark.parametrize("suffix", [".wav", ".ogg"])
def test_a_melody_is_found_in_channels_that_cancel_out(
    tmp_path: Path, suffix: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = write_audio(tmp_path / f"x{suffix}", np.stack([tune(), -tune()]), RATE)
    reference = open_reference("melody", path)
    assert f"{path}: its channels cancel out" in caplog.text
    controls = Extractors(separator="none").extract([reference], 2.0)
    assert controls.melody is not None and controls.melody[20:80].argmax(dim=1).unique().numel() == 1
    assert float(controls.melody[20:80].amax(dim=1).min()) > 0.3
    _, kept = open_recording(path, "the context")  # sound that is kept stays as it is
    assert np.corrcoef(kept.samples)[0, 1] < -0.99


def test_ordinary_recordings_stay_as_they_are(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    audio = Audio(np.stack([tune(), 0.5 * np.roll(tune(), 7)]), RATE)
    reference = open_reference("drums", audio)
    assert reference.content is audio and not caplog.records


@pytest.mark.parametrize("rate", [RATE, np.int64(RATE), float(RATE)])
def test_arrays_are_references_in_any_order(rate: int) -> None:
    stereo = np.stack([tune(), tune()], axis=1)  # (S, C)
    for source in (
        (tune(), rate),
        (rate, tune()),
        (stereo, rate),
        (rate, (stereo * 20_000).astype(np.int16)),
    ):
        assert open_reference("melody", source).duration_s == 2.0  # type: ignore[arg-type]
    with pytest.raises(AudioError, match="the melody reference: expected an array of samples and its sample"):
        open_reference("melody", (tune(), tune()))  # type: ignore[arg-type]


def test_whole_numbers_as_floats_are_told() -> None:
    with pytest.raises(AudioError, match=r"the drums reference has samples of up to .* scale it down"):
        open_reference("drums", (32_767 * tune(), RATE))


def test_chords_are_given_as_jasco_takes_them(tmp_path: Path) -> None:
    """As Python, as text, as JSON of a request, and in a file."""
    file = tmp_path / "chords.txt"
    file.write_text(repr(PAIRS), encoding="utf-8")
    expected = open_reference("chords", "C@0 Am@2.5").chord_segments(8.0)
    request = Request.read(json.loads(json.dumps({"chords": PAIRS})))
    for source in (PAIRS, [list(pair) for pair in PAIRS], repr(PAIRS), file, request.chords):
        reference = open_reference("chords", source)  # type: ignore[arg-type]
        assert isinstance(reference.content, ChordChart)
        assert reference.chord_segments(8.0) == expected
    assert Request.read(request.plain()) == request


def test_a_long_chart_is_no_file_name() -> None:
    chart = " ".join(["Am F C G"] * 70)
    assert len(chart) > 256 and open_reference("chords", chart).duration_s == 2.0 * 280
    with pytest.raises(NotationError, match=r"the chord chart 'Am F.*bar 281 \(Q\): 'Q' is not a chord"):
        open_reference("chords", f"{chart} Q")
    with pytest.raises(RequestError, match="bar 281"):
        Request.read({"chords": f"{chart} Q"})
    with pytest.raises(NotationError, match="does not exist; expected a recording"):
        open_reference("chords", "/" + "a" * 300 + ".lab")


def test_a_pitch_track_lasts_as_long_as_its_samples_hold(tmp_path: Path) -> None:
    table = tmp_path / "tune.csv"
    table.write_text("0.0,440\n0.1,440\n0.2,440\n", encoding="utf-8")
    assert open_reference("melody", table).duration_s == pytest.approx(0.3)
