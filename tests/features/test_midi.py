from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pretty_midi
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from features.midi import read_midi, skyline
from features.symbols import NotationError, Note

Part = tuple[str, int, bool, list[tuple[float, float, int]]]
SCALE = [(i * 0.5, i * 0.5 + 0.5, 72 + i) for i in range(8)]
LOW_CHORDS = [(i * 1.0, i * 1.0 + 1.0, pitch) for i in range(4) for pitch in (48, 52, 55)]
HIGH_CHORDS = [(i * 1.0, i * 1.0 + 1.0, pitch) for i in range(4) for pitch in (76, 79, 84)]
BEATS = [(i * 0.5, i * 0.5 + 0.1, 36 if i % 2 == 0 else 38) for i in range(8)]


def write(path: Path, *parts: Part) -> Path:
    midi = pretty_midi.PrettyMIDI()
    for name, program, is_drum, notes in parts:
        instrument = pretty_midi.Instrument(program, is_drum, name)
        instrument.notes = [pretty_midi.Note(90, pitch, start, end) for start, end, pitch in notes]
        midi.instruments.append(instrument)
    midi.write(str(path))
    return path


def test_notes_and_hits_come_back(tmp_path: Path) -> None:
    score = read_midi(write(tmp_path / "song.mid", ("Tune", 73, False, SCALE), ("Kit", 0, True, BEATS)))
    melody, hits = score.melody(), score.drum_hits()
    assert [(note.midi, note.velocity) for note in melody] == [(pitch, 90) for _, _, pitch in SCALE]
    assert [note.start_s for note in melody] == pytest.approx([start for start, _, _ in SCALE], abs=2e-3)
    assert [note.end_s for note in melody] == pytest.approx([end for _, end, _ in SCALE], abs=2e-3)
    assert [hit.midi for hit in hits] == [key for _, _, key in BEATS]
    assert [hit.time_s for hit in hits] == pytest.approx([start for start, _, _ in BEATS], abs=2e-3)
    assert score.duration_s == pytest.approx(4.0, abs=2e-3)


@pytest.mark.parametrize("name", ["Melody", "LEAD synth", "lead vocals", "Voice", "Vox"])
def test_a_named_melody_is_taken(tmp_path: Path, name: str) -> None:
    low = [(start, end, pitch - 24) for start, end, pitch in SCALE]
    path = write(tmp_path / "song.mid", ("Strings", 48, False, SCALE), (name, 0, False, low))
    assert read_midi(path).melody_track().name == name


def test_without_names_the_monophonic_high_part_is_taken(tmp_path: Path) -> None:
    bass = [(start, end, pitch - 40) for start, end, pitch in SCALE]
    path = write(
        tmp_path / "song.mid",
        ("", 33, False, bass),
        ("", 0, False, LOW_CHORDS),
        ("", 48, False, HIGH_CHORDS),
        ("", 73, False, SCALE),
        ("", 0, True, BEATS),
    )
    assert read_midi(path).melody_track().program == 73


def test_a_bass_is_the_melody_only_when_alone(tmp_path: Path) -> None:
    bass = [(start, end, pitch - 40) for start, end, pitch in SCALE]
    assert len(read_midi(write(tmp_path / "bass.mid", ("Bass", 33, False, bass))).melody()) == 8


def test_a_track_is_chosen_by_name_or_number(tmp_path: Path) -> None:
    path = write(
        tmp_path / "song.mid",
        ("Flute", 73, False, SCALE),
        ("Piano", 0, False, LOW_CHORDS),
        ("Kit", 0, True, BEATS),
    )
    score = read_midi(path)
    assert {note.midi for note in score.melody("piano")} == {55}
    assert score.melody(1) == score.melody("Piano") != score.melody("flu")
    for wrong in ("Oboe", "", 7, "Kit"):
        with pytest.raises(NotationError, match=r"song\.mid"):
            score.melody(wrong)


def test_drums_alone_are_no_melody(tmp_path: Path) -> None:
    path = write(tmp_path / "beat.mid", ("Kit", 0, True, BEATS))
    with pytest.raises(NotationError, match=r"beat\.mid has no melody.*drums, 8 notes"):
        read_midi(path).melody()


def test_a_melody_alone_has_no_drums(tmp_path: Path) -> None:
    path = write(tmp_path / "tune.mid", ("Tune", 73, False, SCALE))
    with pytest.raises(NotationError, match=r"tune\.mid has no drums.*'Tune'"):
        read_midi(path).drum_hits()


def test_files_that_are_no_midi(tmp_path: Path) -> None:
    (tmp_path / "text.mid").write_text("Am | F")
    (tmp_path / "empty.mid").write_bytes(b"")
    (tmp_path / "head.mid").write_bytes(b"MThd")
    (tmp_path / "zeros.mid").write_bytes(b"MThd" + bytes(40))
    write(tmp_path / "silent.mid", ("Tune", 0, False, []))
    for name, says in [
        ("text.mid", "is not a MIDI file"),
        ("empty.mid", "is not a MIDI file"),
        ("head.mid", "cannot be read"),
        ("zeros.mid", "cannot be read|no notes"),
        ("silent.mid", "no notes"),
        ("missing.mid", "does not exist"),
        ("", "is a folder"),
    ]:
        with pytest.raises(NotationError, match=says) as caught:
            read_midi(tmp_path / name)
        assert str(tmp_path / name) in str(caught.value)


def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    whole = write(tmp_path / "song.mid", ("Tune", 73, False, SCALE)).read_bytes()
    (tmp_path / "cut.mid").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(NotationError, match=r"cut\.mid cannot be read"):
        read_midi(tmp_path / "cut.mid")


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(4, 200), st.integers(0, 255)), min_size=1, max_size=6))
@example([(31, 89)])  # a key signature of an unknown mode
def test_damaged_files_are_read_or_refused(tmp_path: Path, damage: list[tuple[int, int]]) -> None:
    path = tmp_path / "song.mid"
    if not path.exists():
        write(path, ("Tune", 73, False, SCALE), ("Kit", 0, True, BEATS))
    data = bytearray(path.read_bytes())
    for position, value in damage:
        data[position % len(data) if position % len(data) >= 4 else 4] = value
    (tmp_path / "damaged.mid").write_bytes(data)
    try:
        score = read_midi(tmp_path / "damaged.mid")
        score.melody()
        score.drum_hits()
    except NotationError as error:
        assert "damaged.mid" in str(error)


def test_skyline_takes_the_top_and_resumes_below() -> None:
    low, high = Note(0.0, 3.0, 60), Note(1.0, 2.0, 72)
    assert [(n.start_s, n.end_s, n.midi) for n in skyline((low, high))] == [
        (0, 1, 60),
        (1, 2, 72),
        (2, 3, 60),
    ]


def test_skyline_trims_legato() -> None:
    line = (Note(0.0, 1.05, 72), Note(1.0, 2.05, 71), Note(2.0, 3.0, 69))
    assert [(n.start_s, n.end_s, n.midi) for n in skyline(line)] == [(0, 1, 72), (1, 2, 71), (2, 3, 69)]


notes = st.builds(
    lambda start, length, midi: Note(start, start + length, midi),
    st.floats(0, 10),
    st.floats(0.05, 3),
    st.integers(40, 90),
)


@given(st.lists(notes, max_size=20).map(tuple))
def test_skyline_is_one_line_of_the_given_pitches(given_notes: tuple[Note, ...]) -> None:
    line = skyline(given_notes)
    assert bool(line) == bool(given_notes)
    assert all(a.end_s <= b.start_s for a, b in pairwise(line))
    assert {note.midi for note in line} <= {note.midi for note in given_notes}
    assert skyline(line) == line
