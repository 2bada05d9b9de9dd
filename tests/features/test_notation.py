from __future__ import annotations

import logging
import math
from pathlib import Path

import numpy as np
import pretty_midi
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from features.frames import FrameGrid
from features.notation import (
    DrumHit,
    F0Track,
    NotationError,
    Note,
    f0_to_salience,
    names_a_file,
    notes_to_salience,
    parse_chord_chart,
    read_chords,
    read_drums,
    read_f0_table,
    read_lab,
    read_melody,
)

GRID = FrameGrid.from_duration(4.0)
in_a_folder = settings(
    deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def saved(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_notes_sound_in_their_bins() -> None:
    salience = notes_to_salience([Note(0.0, 1.0, 60), Note(1.0, 1.51, 67)], GRID)
    assert salience.shape == (200, 53) and salience.dtype == torch.float32
    assert salience[:50, 60 - 43].tolist() == [1.0] * 50
    assert salience[50:75, 67 - 43].tolist() == [1.0] * 25
    assert salience[75, 67 - 43] == pytest.approx(0.5, abs=1e-4)
    assert float(salience.sum()) == pytest.approx(75.5, abs=1e-3)


@given(st.lists(st.tuples(st.floats(0, 3.5), st.floats(0.01, 0.4), st.integers(43, 95)), max_size=12))
def test_salience_keeps_the_notes_time(notes: list[tuple[float, float, int]]) -> None:
    apart = {midi: Note(start, start + length, midi) for start, length, midi in notes}
    salience = notes_to_salience(list(apart.values()), GRID)
    for midi, note in apart.items():
        assert float(salience[:, midi - 43].sum()) / GRID.frame_rate == pytest.approx(
            note.end_s - note.start_s, abs=1e-3
        )
    blurred = notes_to_salience(list(apart.values()), GRID, blur_s=0.05)
    assert torch.allclose(blurred.mean(0), salience.mean(0), atol=1e-5)


def test_notes_out_of_range_are_counted(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert not notes_to_salience([Note(0, 1, 30), Note(0, 1, 100)], GRID).any()
    assert "2 of 2 notes" in caplog.text


def test_f0_excites_its_semitone() -> None:
    times = np.arange(0, 4, 0.01)
    f0 = np.where(times < 2, 440.0, 0.0)
    salience = f0_to_salience(times, f0, GRID)
    assert salience.shape == (200, 53)
    assert salience[:99].argmax(1).tolist() == [69 - 43] * 99
    assert torch.allclose(salience[:99, 69 - 43], torch.ones(99))
    assert float(salience[:99, 70 - 43].max()) < 0.07
    assert not salience[101:].any()


def test_f0_between_semitones_excites_both() -> None:
    times = np.arange(0, 4, 0.01)
    salience = f0_to_salience(times, np.full_like(times, 440 * 2 ** (0.5 / 12)), GRID)
    assert torch.allclose(salience[10, 69 - 43], salience[10, 70 - 43]) and salience[10, 69 - 43] > 0.9


def test_f0_gaps_nan_and_confidence() -> None:
    times = np.concatenate([np.arange(0, 1, 0.01), np.arange(2, 3, 0.01)])
    f0 = np.full_like(times, 220.0)
    f0[:10] = np.nan
    salience = f0_to_salience(times, f0, GRID, confidence=np.full_like(times, 0.25))
    assert not salience[:4].any() and not salience[51:99].any() and not salience[151:].any()
    assert float(salience.max()) == pytest.approx(0.25)


@given(
    st.lists(st.floats(50, 2000) | st.just(0.0) | st.just(math.nan), min_size=1, max_size=50),
    st.floats(0.003, 0.2),
)
def test_f0_salience_stays_within_bounds(f0: list[float], hop_s: float) -> None:
    salience = f0_to_salience(np.arange(len(f0)) * hop_s, np.array(f0), GRID)
    assert salience.isfinite().all() and float(salience.min()) >= 0 and float(salience.max()) <= 1.0


def test_f0_rejects_nonsense() -> None:
    for times, f0 in (([0.0, 0.0], [1.0, 1.0]), ([0.0], [1.0, 2.0]), ([], [])):
        with pytest.raises(NotationError):
            f0_to_salience(np.array(times), np.array(f0), GRID)


def test_lab_files(tmp_path: Path) -> None:
    path = saved(
        tmp_path,
        "song.lab",
        "# from an annotator\n0.0\t1.5\tC:maj\n1.5 2.0 Am/C\r\n\n2.0 3.0 A:min/b3\n3.0 4 N\n",
    )
    assert [(s.start_s, s.end_s, s.label) for s in read_lab(path)] == [
        (0, 1.5, "C:maj"),
        (1.5, 3, "A:min/b3"),
        (3, 4, "N"),
    ]
    assert read_chords(path) == read_lab(path) == read_chords(str(path))


def test_lab_overlaps_by_rounding_are_resolved(tmp_path: Path) -> None:
    segments = read_lab(saved(tmp_path, "song.lab", "0 1.003 C\n1.0 2 F\n2 2 G\n"))
    assert [(s.start_s, s.end_s) for s in segments] == [(0, 1.003), (1.003, 2)]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("0 1 C\n1 2 Hm\n", "line 2.*write B"),
        ("0 1 C\n\n1 C\n", "line 3.*start end chord"),
        ("zero 1 C\n", "line 1"),
        ("0 1 C\n0.5 2 F\n", "line 2.*before the end"),
        ("1 0 C\n", "line 1.*start <= end"),
        ("-1 0 C\n", "line 1"),
        ("0 inf C\n", "line 1"),
        ("0 nan C\n", "line 1"),
        ("", "empty"),
        ("# nothing\n", "no chords"),
    ],
)
def test_lab_errors_name_file_and_line(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(NotationError, match=rf"(?s)song\.lab.*{says}"):
        read_lab(saved(tmp_path, "song.lab", text))


def test_f0_tables(tmp_path: Path) -> None:
    for text in (
        "time,frequency,confidence\n0.00,220,0.5\n0.01,0,0\n0.02,nan,1\n",
        "0.00;220;0.5\n0.01;-220;0\n0.02;;1\n",
        "# a comment\n0.00\t220\t0.5\n0.01\t0\t0\n0.02\tNaN\t1\n",
        "0.00 220 0.5\r\n0.01 0 0\r\n0.02 0 1",
    ):
        track = read_f0_table(saved(tmp_path, "tune.csv", text))
        assert track.times_s.tolist() == [0.0, 0.01, 0.02] and track.f0_hz.tolist() == [220.0, 0.0, 0.0]
        assert track.confidence is not None and track.confidence.tolist() == [0.5, 0.0, 1.0]
    assert read_f0_table(saved(tmp_path, "tune.csv", "0,220\n1,230\n")).confidence is None


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("time,f0\n0,220\n1,high\n", "line 3.*'high'"),
        ("0,220\n0,220\n", "line 2.*not after"),
        ("0\n", "line 1.*time,f0"),
        ("-1,220\n", "line 1.*>= 0"),
        ("0,inf\n", "line 1.*Hz"),
        ("0,99999\n", "line 1.*Hz"),
        ("0,220,7\n", "line 1.*confidence"),
        ("0,220\ntime,f0\n", "line 2"),
        ("0,0\n1,nan\n", "no voiced"),
        ("time,f0\n", "no pitches"),
        ("", "empty"),
    ],
)
def test_f0_errors_name_file_and_line(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(NotationError, match=rf"(?s)tune\.csv.*{says}"):
        read_f0_table(saved(tmp_path, "tune.csv", text))


def test_missing_folder_and_binary_files(tmp_path: Path) -> None:
    (tmp_path / "noise.lab").write_bytes(bytes(range(128, 256)))
    for path, says in (
        (tmp_path / "no.lab", "does not exist"),
        (tmp_path, "is a folder"),
        (tmp_path / "noise.lab", "UTF-8"),
    ):
        for read in (read_lab, read_f0_table):
            with pytest.raises(NotationError, match=says) as caught:
                read(path)
            assert str(path) in str(caught.value)


def test_chords_are_dispatched_by_what_the_source_is(tmp_path: Path) -> None:
    chart = "bpm: 60\nAm | F"
    assert read_chords(saved(tmp_path, "song.txt", chart)) == read_chords(chart) == parse_chord_chart(chart)
    assert read_chords("Am/C F", duration_s=10.0)[-1].end_s == 10.0
    with pytest.raises(NotationError, match=r"song\.txt: bar 1"):
        read_chords(saved(tmp_path, "song.txt", "Hm | F"))
    with pytest.raises(NotationError, match=r"missing\.lab does not exist"):
        read_chords("missing.lab")
    with pytest.raises(NotationError, match=r"song\.pdf: expected chords as"):
        read_chords("song.pdf")


def test_file_names_and_charts_are_told_apart() -> None:
    assert all(map(names_a_file, ("song.lab", "./song", "/a/b", "a\\b", "my song.txt")))
    assert not any(map(names_a_file, ("Am", "Am/C", "N.C.", "C . F .", "C@0.5 F@1", "Am | F", "C6/9")))


def test_melody_and_drums_are_dispatched_by_file_type(tmp_path: Path) -> None:
    midi = pretty_midi.PrettyMIDI()
    for is_drum, pitch in ((False, 60), (True, 38)):
        midi.instruments.append(pretty_midi.Instrument(0, is_drum))
        midi.instruments[-1].notes.append(pretty_midi.Note(100, pitch, 0.5, 1.0))
    path = tmp_path / "song.mid"
    midi.write(str(path))
    melody = read_melody(path)
    assert isinstance(melody, tuple) and [note.midi for note in melody] == [60]
    assert read_melody(path, track=0) == melody
    assert [hit.midi for hit in read_drums(path)] == [38]
    assert isinstance(read_melody(saved(tmp_path, "tune.csv", "0,220\n0.5,220\n")), F0Track)
    for read in (read_melody, read_drums):
        with pytest.raises(NotationError, match=r"song\.lab: expected"):
            read("song.lab")


@in_a_folder
@given(st.text(max_size=60) | st.text(alphabet="0123456789.,;\t\n -naehCAm:#", max_size=60))
def test_any_table_is_read_or_refused_by_name(tmp_path: Path, text: str) -> None:
    path = tmp_path / "any.csv"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    for read in (read_lab, read_f0_table):
        try:
            read(path)
        except NotationError as error:
            assert "any.csv" in str(error)


@pytest.mark.parametrize("note", [(-1.0, 1.0, 60), (1.0, 1.0, 60), (0.0, math.inf, 60), (0.0, 1.0, 128)])
def test_impossible_notes_are_refused(note: tuple[float, float, int]) -> None:
    with pytest.raises(NotationError):
        Note(*note)
    with pytest.raises(NotationError):
        DrumHit(math.nan, 36)
