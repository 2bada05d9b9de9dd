from __future__ import annotations

import json
from pathlib import Path

import pytest

from features.references import ChordChart, open_reference
from features.symbols import NotationError
from flowmusic.api.request import Request, RequestError

PAIRS = [("C", 0.0), ("Am", 2.5)]


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
