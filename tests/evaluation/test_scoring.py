"""Scores from events: what is right, what is wrong, what is left out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from features.cache import FeatureCache
from features.chord_labels import ChordSegment, pack_segments, unpack_segments
from features.events import extract_events
from features.extract import Extractors
from features.extracted import Extracted
from features.frames import FrameGrid
from features.references import open_reference
from features.symbols import DrumHit, Note
from flowmusic.evaluation.scoring import Choice, holes, parse_weights, score_events

CHORDS = (ChordSegment(0, 2, "C:maj"), ChordSegment(2, 4, "A:min"))
TIMES_S = FrameGrid(50, 200).times_s()
ASKED = Extracted(4.0, CHORDS, np.arange(0.25, 4, 0.5), TIMES_S, np.full(200, 440.0), np.ones(200))
WHOLE = [(0.0, 4.0)]


def test_the_same_events_score_one_and_others_less() -> None:
    assert score_events(ASKED, ASKED, WHOLE) == {"drums": 1.0, "melody": 1.0, "chords": 1.0}
    other = replace(
        ASKED,
        onsets_s=np.arange(0.5, 4, 0.5),
        f0_hz=np.full(200, 466.2),
        chords=(ChordSegment(0, 4, "C:maj"),),
    )
    scores = score_events(ASKED, other, WHOLE)
    assert scores == {"drums": 0.0, "melody": 0.0, "chords": pytest.approx(0.5)}


def test_a_control_counts_where_it_is_followed() -> None:
    other = replace(ASKED, onsets_s=np.arange(0.25, 2, 0.5), chords=(ChordSegment(0, 4, "C:maj"),))
    followed = {"drums": (0.0, 2.0), "chords": (2.0, 9.0)}
    assert score_events(ASKED, other, WHOLE, followed) == {"drums": 1.0, "melody": 1.0, "chords": 0.0}


def test_only_the_holes_count() -> None:
    wrong_at_first = replace(
        ASKED,
        onsets_s=np.arange(2.25, 4, 0.5),
        f0_hz=np.where(np.arange(200) < 100, 300.0, 440.0),
        chords=(ChordSegment(0, 2, "F:maj"), ChordSegment(2, 4, "A:min")),
    )
    assert holes([[0.0, 2.0]], 4.0) == [(2.0, 4.0)] and holes([], 4.0) == WHOLE
    assert holes([[1.0, 2.0]], 4.0) == [(0.0, 1.0), (2.0, 4.0)]
    assert score_events(ASKED, wrong_at_first, [(2.0, 4.0)]) == {"drums": 1.0, "melody": 1.0, "chords": 1.0}
    first = score_events(ASKED, wrong_at_first, [(0.0, 2.0)])
    assert first == {"drums": 0.0, "melody": 0.0, "chords": 0.0}


def test_nothing_to_follow_is_no_score() -> None:
    silent = Extracted(4.0, (ChordSegment(0, 4, "N"),), given=("drums", "chords"))
    assert score_events(silent, ASKED, WHOLE) == {"drums": None, "chords": None}


def test_a_pitch_table_counts_where_it_is_voiced_and_sure(tmp_path: Path) -> None:
    """Rows for 1 s of A and, after a gap, 1 s of E that nobody is sure of."""
    table = tmp_path / "tune.csv"
    rows = [f"{1 + k / 100:.2f},440,1" for k in range(100)] + [
        f"{3 + k / 100:.2f},330,.1" for k in range(100)
    ]
    table.write_text("time,f0,confidence\n" + "\n".join(rows) + "\n")
    reference = open_reference("melody", table)
    extractors = Extractors(cache=FeatureCache(tmp_path))
    asked = extract_events(extractors, [reference], 4.0)
    assert asked.given == ("melody",)
    assert (asked.f0_hz[60:90] == 440).all() and (asked.confidence[60:90] == 1).all()
    assert (asked.confidence[:48] == 0).all() and (asked.confidence[110:145] == 0).all()  # no rows, no pitch
    assert asked.confidence[160:190] == pytest.approx(0.1)
    salience = extractors.extract([reference], 4.0).melody
    assert salience is not None
    assert float(salience[60:90].max()) == pytest.approx(1, abs=0.01)
    assert (
        float(salience[160:190].max()) == pytest.approx(0.1, abs=0.01)
        and float(salience[110:140].max()) < 0.01
    )


def test_symbols_are_events_exactly() -> None:
    references = [
        open_reference("drums", [DrumHit(0.5, 36), DrumHit(0.51, 42), DrumHit(1.0, 38)]),
        open_reference("melody", [Note(0.0, 0.5, 69)]),
        open_reference("chords", "C | G", bpm=240),
    ]
    events = extract_events(Extractors("none"), references, 2.0)
    assert events.given == ("drums", "melody", "chords")
    assert events.onsets_s.tolist() == [0.5, 1.0]
    assert events.f0_hz[:25].tolist() == [440.0] * 25 and events.confidence.sum() == 25
    assert [segment.label for segment in events.chords] == ["C:maj", "G:maj"]


def test_a_recording_is_extracted_once_for_controls_and_events(music_file: Path, tmp_path: Path) -> None:
    extractors = Extractors("none", cache=FeatureCache(tmp_path))
    reference = open_reference("melody", music_file)
    extractors.extract([reference], 2.0)
    entries = sorted(tmp_path.rglob("*.safetensors"))
    events = extract_events(extractors, [reference], 2.0)
    assert sorted(tmp_path.rglob("*.safetensors")) == entries
    assert abs(np.log2(events.f0_hz[25] / 523.25)) < 0.05


def test_segments_survive_packing() -> None:
    assert unpack_segments(pack_segments(CHORDS)) == CHORDS


def test_weights() -> None:
    choice = Choice(2, parse_weights("chords=3,drums=1"))
    assert choice.overall({"chords": 1.0, "drums": 0.0}) == 0.75
    assert choice.overall({"chords": None, "drums": 0.5}) == 0.5 and Choice().overall({}) == 0.0
    for text in ("chords", "tempo=1", "chords=-1", "chords=x"):
        with pytest.raises(ValueError, match="weights"):
            parse_weights(text)
    with pytest.raises(ValueError, match="candidates must be 1 to"):
        Choice(0)
