from __future__ import annotations

import logging
import math
import tempfile
from pathlib import Path

import numpy as np
import pretty_midi
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from features.chord_labels import parse_chord
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


@pytest.mark.parametrize("name", ["song.lab", "song.txt"])
@pytest.mark.parametrize(
    "text",
    [
        "0.000000\t2.500000\tC\n2.500000\t5.000000\tAm\n",
        "0.0\t2.5\tC\n\\\t100.0\t200.0\n2.5\t5.0\tAm\n",
        "0,2.5,C\n2.5,5,Am\n",
        "start;end;chord\n0;2.5;C\n2.5;5;Am\n",
        "0 25000000 C\n25000000 50000000 Am\n",
        "0 2500 C\n2500 5000 Am\n",
        "0 0 C\n2.5 2.5 Am\n5 5 N\n",
        "start_ms,end_ms,chord\n0,2500,C\n2500,5000,Am\n",
        "start,duration,chord\n0,2.5,C\n2.5,2.5,Am\n",
        "chord,start,end\nC,0,2.5\nAm,2.5,5\n",
        "Anfang;Ende;Akkord\n0,0;2,5;C\n2,5;5,0;Am\n",
        "0:00\t0:02.5\tC\n0:02.5\t0:05\tAm\n",
        "-0.01 2.5 C # hi\n2.47 5 Am\n",
        ",start,end,chord\n0,0,2.5,C\n1,2.5,5,Am\n",
    ],
)
def test_label_tables(tmp_path: Path, name: str, text: str) -> None:
    """Audacity's labels, spans of frequency and points too, HTK's 100 ns, milliseconds."""
    segments = read_chords(saved(tmp_path, name, text))
    assert [(round(s.start_s, 1), round(s.end_s, 1), s.label) for s in segments[:2]] == [
        (0, 2.5, "C:maj"),
        (2.5, 5, "A:min"),
    ]


def test_bare_degrees_in_a_lab_are_basses(tmp_path: Path) -> None:
    """As in Harte's syntax; in a chart the same text is an added tone."""
    assert [s.label for s in read_lab(saved(tmp_path, "song.lab", "0 1 C/2\n1 2 C/b7\n"))] == [
        "C:maj/2",
        "C:maj/b7",
    ]


@given(
    st.lists(
        st.tuples(st.integers(1, 20_000), st.sampled_from(["C", "A:min7/b3", "F#:hdim7", "N"])), min_size=1
    )
)
def test_a_lab_that_was_written_is_read_back(parts: list[tuple[int, str]]) -> None:
    edges = np.cumsum([0, *(length for length, _ in parts)]) / 1000
    lines = [
        f"{a:.3f}\t{b:.3f}\t{name}" for a, b, (_, name) in zip(edges[:-1], edges[1:], parts, strict=True)
    ]
    with tempfile.TemporaryDirectory() as folder:
        segments = read_lab(saved(Path(folder), "song.lab", "\n".join(lines)))
    for start, end, (_, name) in zip(edges[:-1], edges[1:], parts, strict=True):
        middle = (start + end) / 2
        assert [s.label for s in segments if s.start_s <= middle < s.end_s] == [parse_chord(name).label]


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
        ("start,end,chord\n", "no chords"),
        ("0 2 C 1\n2 4 F 2\n", "line 1.*4 columns and no header"),
        ("1 C\n2 Am\n3 F\n", "line 1.*numbers of bars"),
        ("start_beat,end_beat,chord\n0,4,C\n", "line 1.*'start_beat' is no known unit of time"),
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
    assert read_f0_table(saved(tmp_path, "tune.csv", "0,220\n0.5,230\n")).confidence is None


A4_TABLES = {
    "comma behind": "0.20,440.0,\n0.21,440.0,\n",
    "semicolon behind": "0.20;440;\n0.21;440;\n",
    "tab behind": "0.20\t440\t\n0.21\t440\t\n",
    "midi": "time,midi\n0.20,69.0\n0.21,69\n",
    "note names": "time;note\n0.20;A4\n0.21;A4\n",
    "cents": "time,cents\n0.20,6900\n0.21,6900\n",
    "cents of a reference": "time,cents re 55 Hz\n0.20,3600\n0.21,3600\n",
    "milliseconds": "time_ms,f0\n200,440\n210,440\n",
    "units in brackets": "Time (ms);Pitch (Hz)\n200;440\n210;440\n",
    "kilohertz": "seconds,frequency [kHz]\n0.20,0.44\n0.21,0.44\n",
    "frames": "frame (100 Hz),f0\n20,440\n21,440\n",
    "frames of a comment": "# frame_rate: 100\nframe,f0\n20,440\n21,440\n",
    "data frame": ",time,frequency\n0,0.20,440\n1,0.21,440\n",
    "other order": "f0_hz,voiced,time\n440,True,0.20\n440,True,0.21\n",
    "two pitches": "time,midi,frequency\n0.20,69,440\n0.21,69,440\n",
    "decimal commas": "0,20;440,0\n0,21;440,0\n",
    "decimal commas and spaces": "0,20 440,0\n0,21 440,0\n",
    "header in a comment": "# time f0_hz\n0.20 440\n0.21 440\n",
    "tab-separated data frame": "\ttime\tf0\n0\t0.20\t440\n1\t0.21\t440\n",
    "R": '"time" "f0"\n"1" 0.20 440\n"2" 0.21 440\n',
    "Sonic Visualiser": "TIME,VALUE,LABEL\n0.20,440,\n0.21,440,\n",
    "German": "Zeit;Frequenz\n0,20;440\n0,21;440\n",
    "quoted decimal commas": '"0,20","440,0"\n"0,21","440,0"\n',
    "frames beside times": "frame,time,f0\n20,0.20,440\n21,0.21,440\n",
    "statistics": "time,f0_min,f0_max,f0,unvoiced_prob\n0.20,1,2,440,0\n0.21,1,2,440,1\n",
    "sep=": "sep=;\ntime;f0\n0.20;440\n0.21;440\n",
    "quotes": '"time","f0"\n"0.20","440"\n"0.21","440"\n',
}


@pytest.mark.parametrize("kind", A4_TABLES)
def test_tables_of_a_pitch_of_440_hz(tmp_path: Path, kind: str) -> None:
    track = read_f0_table(saved(tmp_path, "tune.csv", A4_TABLES[kind]))
    assert track.times_s.tolist() == pytest.approx([0.2, 0.21])
    assert track.f0_hz.tolist() == pytest.approx([440.0, 440.0])
    assert track.confidence is None or track.confidence.tolist() == [1.0, 1.0]


def test_programs_have_words_for_what_is_unvoiced(tmp_path: Path) -> None:
    text = "Time_s   F0_Hz\n0.01   --undefined--\n0.02   220.5\n0.03   NA\n0.04   -220\n"
    assert read_f0_table(saved(tmp_path, "tune.csv", text)).f0_hz.tolist() == [0, 220.5, 0, 0]
    text = "time,f0,voiced_flag,voiced_prob\n0,220,True,.9\n.01,,False,.2\n"
    track = read_f0_table(saved(tmp_path, "tune.csv", text))
    assert track.f0_hz.tolist() == [220, 0] and track.confidence is not None
    assert track.confidence.tolist() == [0.9, 0.2]


def test_pitches_out_of_range_are_counted(caplog: pytest.LogCaptureFixture) -> None:
    times, bass = np.arange(50) / 50, np.full(50, 80.0)
    bass[10:] = 220.0
    salience = f0_to_salience(times, bass, GRID)
    assert "10 of 50 pitches lie outside MIDI 43..95" in caplog.text and salience[:8].sum() < 1e-6
    caplog.clear()
    f0_to_salience(times, np.full(50, 98.0), GRID)
    assert not caplog.records


@given(
    st.lists(st.none() | st.floats(40, 2000), min_size=2, max_size=20).filter(any),
    st.sampled_from([",", ";", "\t", " "]),
    st.sampled_from(
        ["time,f0,confidence", "confidence,f0_hz,time (ms)", "index,time_ms,midi", "frame@50fps,hz", ""]
    ),
    st.booleans(),
)
def test_a_table_that_was_written_is_read_back(
    pitches: list[float | None], separator: str, header: str, ends_with_separator: bool
) -> None:
    """The writer is this test: any order of columns, any separator, any unit."""
    lines = [header.replace(",", separator)] if header and (separator != " " or "(" not in header) else []
    names = header.split(",") if lines else ["time", "f0"]
    for i, pitch in enumerate(pitches):
        values = {
            "time": f"{i / 50}",
            "time (ms)": f"{i * 20}",
            "time_ms": f"{i * 20}",
            "frame@50fps": str(i),
            "index": str(i),
            "confidence": "0.5",
            "midi": "nan" if pitch is None else repr(69 + 12 * math.log2(pitch / 440)),
        }
        row = separator.join(values.get(name, "nan" if pitch is None else repr(pitch)) for name in names)
        lines.append(row + separator * ends_with_separator)
    with tempfile.TemporaryDirectory() as folder:
        track = read_f0_table(saved(Path(folder), "tune.csv", "\n".join(lines)))
    assert track.times_s.tolist() == pytest.approx([i / 50 for i in range(len(pitches))])
    assert track.f0_hz.tolist() == pytest.approx([pitch or 0.0 for pitch in pitches])
    assert (track.confidence is None) == ("confidence" not in names)


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
        ("time,midi\n0,69\n0.1,99999\n", "line 3.*at most 24000 Hz"),
        ("0,220\n", "one pitch"),
        ("0,220\n10,220\n20,220\n", "10 s apart"),
        ("0,220\n1,220\n2,220\n", "1 s apart"),
        ("0,1.220\n0.1,1.221\n", "highest pitch is 1.221 Hz"),
        ("time,pitch\n0,69\n0.1,69\n", "Hz or MIDI"),
        ("time,bark\n0,3\n0.1,3\n", "line 1.*'time,bark' is known as the pitch"),
        ("x,y\n0,3\n0.1,3\n", "line 1.*known as the time"),
        ("frame,f0\n0,220\n1,220\n", "line 1.*rate"),
        ("time (beats),f0\n0,220\n1,220\n", "line 1.*'time .beats.' is no known unit of time"),
        ("time,pitch (mel)\n0,220\n1,220\n", "line 1.*'pitch .mel.' is no known unit of pitch"),
        ("0.1,440,0.2,1\n0.3,440,0.2,1\n", "line 1: 4 columns and no header"),
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


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_symbols_with_a_byte_order_mark_are_read(encoding: str, tmp_path: Path) -> None:
    chart, lab, table = (tmp_path / name for name in ("für.txt", "für.lab", "für.csv"))
    chart.write_bytes("[Früh]\r\nAm | F\r\n".encode(encoding))
    lab.write_bytes("0 1 A:min\r\n# für\r\n1 2 F:maj\r\n".encode(encoding))
    table.write_bytes("0,440\r\n0.01,441\r\n".encode(encoding))
    assert [segment.label for segment in read_chords(chart)] == ["A:min", "F:maj"]
    assert [segment.label for segment in read_chords(lab)] == ["A:min", "F:maj"]
    assert read_f0_table(table).f0_hz.tolist() == [440.0, 441.0]
    lab.write_bytes("0 1 A:min\n1 2 F:maj\n# für".encode("cp1252"))
    with pytest.raises(
        NotationError, match=r"für\.lab, line 3: cannot be read as UTF-8 text; .*: save as UTF-8"
    ):
        read_chords(lab)
