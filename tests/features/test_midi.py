from __future__ import annotations

import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import mido
import pretty_midi
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from features.midi import read_midi, skyline
from features.references import open_reference
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
        ("empty.mid", r"is empty \(0 bytes\)"),
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


def on(key: int, time: int = 0, channel: int = 0, velocity: int = 90) -> mido.Message:
    return mido.Message("note_on", channel=channel, note=key, velocity=velocity, time=time)


def off(key: int, time: int, channel: int = 0) -> mido.Message:
    return mido.Message("note_off", channel=channel, note=key, time=time)


def line(keys: list[int], channel: int = 0) -> list[mido.Message]:
    """Quarter notes of half a second each, one after the other."""
    return [message for key in keys for message in (on(key, 0, channel), off(key, 480, channel))]


def program(number: int, channel: int = 0) -> mido.Message:
    return mido.Message("program_change", channel=channel, program=number)


def control(number: int, value: int, time: int = 0, channel: int = 0) -> mido.Message:
    return mido.Message("control_change", channel=channel, control=number, value=value, time=time)


def name(text: str) -> mido.MetaMessage:
    return mido.MetaMessage("track_name", name=text)


def saved(path: Path, *chunks: list[mido.Message], kind: int = 1) -> Path:
    file = mido.MidiFile(type=kind, ticks_per_beat=480)
    file.tracks += [mido.MidiTrack(chunk) for chunk in chunks]
    file.save(str(path))
    return path


def melody_of(path: Path) -> list[tuple[int, float, float]]:
    return [(note.midi, round(note.start_s, 3), round(note.end_s, 3)) for note in read_midi(path).melody()]


KEYS = [60, 62, 64, 65, 67, 69, 71, 72, 74, 76]


@pytest.mark.parametrize("kind", [0, 1])
def test_a_melody_over_several_channels_is_one(tmp_path: Path, kind: int) -> None:
    """One channel a note, as MPE controllers and guitars with a channel a string write it."""
    chunk = [message for i, key in enumerate(KEYS) for message in line([key], i if i < 9 else 10)]
    path = saved(tmp_path / "mpe.mid", chunk, kind=kind)
    assert melody_of(path) == [(key, i * 0.5, i * 0.5 + 0.5) for i, key in enumerate(KEYS)]


@pytest.mark.parametrize("kind", [0, 1])
def test_a_program_change_does_not_end_a_melody(tmp_path: Path, kind: int) -> None:
    path = saved(
        tmp_path / "song.mid", [program(73), *line(KEYS[:5]), program(40), *line(KEYS[5:])], kind=kind
    )
    assert [key for key, _, _ in melody_of(path)] == KEYS


def test_channels_of_a_file_of_one_track_are_instruments(tmp_path: Path) -> None:
    chunk = [name("A song"), program(33, 1), program(73, 2), on(36, 0, 9), on(40, 0, 1), on(76, 0, 2)]
    chunk += [off(36, 480, 9), off(40, 0, 1), off(76, 0, 2)]
    score = read_midi(saved(tmp_path / "song.mid", chunk, kind=0))
    assert [(track.program, track.is_drum) for track in score.tracks] == [(0, True), (33, False), (73, False)]
    assert [note.midi for note in score.melody()] == [76] and [hit.midi for hit in score.drum_hits()] == [36]


def test_strokes_of_no_length_are_heard(tmp_path: Path) -> None:
    """As many hats are written; also without any note-off."""
    chunk = [on(42, 0, 9), off(42, 0, 9), on(42, 240, 9), on(42, 0, 9, 0), on(38, 240, 9)]
    hits = read_midi(saved(tmp_path / "beat.mid", chunk)).drum_hits()
    assert [(hit.midi, round(hit.time_s, 3)) for hit in hits] == [(42, 0.0), (42, 0.25), (38, 0.5)]


def test_notes_of_one_key_end_in_the_order_of_their_starts(tmp_path: Path) -> None:
    chunk = [on(60), on(60, 240), off(60, 240), off(60, 480)]
    notes = read_midi(saved(tmp_path / "a.mid", chunk)).tracks[0].notes
    assert [(n.start_s, n.end_s) for n in notes] == [(0, 0.5), (0.25, 1.0)]
    retriggered = [on(60), on(60, 240), off(60, 240), on(62, 0), off(62, 480)]
    notes = read_midi(saved(tmp_path / "b.mid", retriggered)).tracks[0].notes
    assert [(n.midi, n.start_s, n.end_s) for n in notes] == [(60, 0, 0.5), (60, 0.25, 0.5), (62, 0.5, 1.0)]


def test_notes_without_an_end_are_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = saved(tmp_path / "a.mid", [on(60), on(62, 480), off(62, 480), on(64), off(64, 0)])
    assert melody_of(path)[0] == (60, 0.0, 0.5)
    assert "1 of 3 notes have no note-off" in caplog.text and "1 of 3 notes have no length" in caplog.text


def test_a_pedal_holds_a_note_up_to_the_next(tmp_path: Path) -> None:
    chunk = [
        control(64, 127),
        on(72),
        off(72, 120),
        on(60, 360),
        off(60, 120),
        control(64, 0, 240),
        on(62, 480),
    ]
    path = saved(tmp_path / "a.mid", [*chunk, off(62, 240)])
    assert melody_of(path) == [(72, 0.0, 0.5), (60, 0.5, 0.875), (62, 1.375, 1.625)]


def test_bends_move_a_note_by_semitones(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    bend = [on(60), mido.Message("pitchwheel", pitch=8191, time=480), off(60, 480)]
    back = [mido.Message("pitchwheel", pitch=0), *line([64])]
    assert melody_of(saved(tmp_path / "a.mid", bend + back)) == [(60, 0, 0.5), (62, 0.5, 1.0), (64, 1.0, 1.5)]
    assert "1 of 2 notes are bent" in caplog.text
    octave = [control(101, 0), control(100, 0), control(6, 12), *bend]
    assert melody_of(saved(tmp_path / "b.mid", octave)) == [(60, 0, 0.5), (72, 0.5, 1.0)]
    vibrato = [mido.Message("pitchwheel", pitch=p, time=48) for p in (900, -900) * 5]
    assert melody_of(saved(tmp_path / "c.mid", [on(60), *vibrato, off(60, 0)])) == [(60, 0, 0.5)]


def test_a_tempo_on_any_track_holds(tmp_path: Path) -> None:
    slow = mido.MetaMessage("set_tempo", tempo=1_000_000)
    path = saved(tmp_path / "a.mid", line([60, 62]), [mido.MetaMessage("text", text="x"), slow])
    assert melody_of(path) == [(60, 0, 1.0), (62, 1.0, 2.0)]
    later = mido.MetaMessage("set_tempo", tempo=250_000, time=480)
    assert melody_of(saved(tmp_path / "b.mid", line([60, 62]), [slow, later])) == [
        (60, 0, 1.0),
        (62, 1.0, 1.25),
    ]


@pytest.mark.parametrize(("frames", "per_s"), [(25, 25.0), (30, 30.0), (29, 30_000 / 1001)])
def test_ticks_of_smpte_frames(tmp_path: Path, frames: int, per_s: float) -> None:
    data = bytearray(saved(tmp_path / "a.mid", line([60, 62])).read_bytes())
    data[12:14] = bytes([256 - frames, 40])
    (tmp_path / "b.mid").write_bytes(data)
    assert read_midi(tmp_path / "b.mid").duration_s == pytest.approx(960 / 40 / per_s)


def test_what_is_none_of_its_business_ends_no_file(tmp_path: Path) -> None:
    """A nonsense key signature, an unknown chunk, a wrong length, a RIFF wrapper, no end of the track."""
    whole = saved(
        tmp_path / "a.mid", [mido.MetaMessage("key_signature", key="C"), *line([60, 62])]
    ).read_bytes()
    track = whole.index(b"MTrk")
    key = whole.index(b"\xff\x59\x02")
    expected = [(60, 0, 0.5), (62, 0.5, 1.0)]
    for content in (
        whole[: key + 3] + b"\x63\x09" + whole[key + 5 :],
        whole[:track] + b"XFIH\0\0\0\x03abc" + whole[track:],
        whole[: track + 4] + (9999).to_bytes(4, "big") + whole[track + 8 :],
        whole[: track + 4] + (9).to_bytes(4, "big") + whole[track + 8 :],
        b"RIFF" + len(whole).to_bytes(4, "little") + b"RMIDdata" + len(whole).to_bytes(4, "little") + whole,
        whole[: track + 4] + (len(whole) - track - 12).to_bytes(4, "big") + whole[track + 8 : -4],
    ):
        (tmp_path / "b.mid").write_bytes(content)
        assert melody_of(tmp_path / "b.mid") == expected


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda data: data[:12] + b"\0\0" + data[14:], "no ticks"),
        (lambda data: data[:8] + b"\0\x07" + data[10:], "format 7"),
        (lambda data: data[:14], "no tracks"),
        (lambda data: data[:-9], "track 1, byte [0-9]+: it is cut short"),
        (lambda data: data[:22] + b"\x00\x40" + data[22:], "track 1, byte 24: an event begins with 64"),
        (lambda data: data[:22] + b"\x00\x90\xff" + data[22:], "track 1, byte 25: data of 255"),
        (lambda data: data[:22] + b"\xff\xff\xff\xff\x7f" + data[22:], "more than four bytes"),
    ],
)
def test_a_refusal_names_the_place(tmp_path: Path, change: Callable[[bytes], bytes], says: str) -> None:
    (tmp_path / "bad.mid").write_bytes(change(saved(tmp_path / "a.mid", line([60, 62])).read_bytes()))
    with pytest.raises(NotationError, match=rf"bad\.mid cannot be read as MIDI: .*{says}"):
        read_midi(tmp_path / "bad.mid")


@pytest.mark.parametrize("pad", ["Voice Oohs", "Choir Aahs", "Backing vocals", "BGV", "Vox pad", ""])
@pytest.mark.parametrize("lead", ["Lead Vocal", "Vox", "Melody", "Solo violin", "Flute"])
def test_a_pad_is_not_the_lead(tmp_path: Path, pad: str, lead: str) -> None:
    high = [(start, end, pitch + 5) for start, end, pitch in SCALE]
    path = write(tmp_path / "song.mid", (pad, 53, False, high), (lead, 73, False, SCALE))
    assert read_midi(path).melody_track().name == lead


def test_drums_of_another_channel_are_found_by_name(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = saved(tmp_path / "daw.mid", [name("Drum rack"), *line([36, 38])], [name("Keys"), *line([60])])
    assert [hit.midi for hit in read_midi(path).drum_hits()] == [36, 38]
    assert "nothing on channel 10" in caplog.text
    assert read_midi(path).melody_track().name == "Keys"
    kit = [control(0, 120), *line([36, 38])]
    assert [hit.midi for hit in read_midi(saved(tmp_path / "xg.mid", kit)).drum_hits()] == [36, 38]


@pytest.mark.parametrize("ending", [".mid", ".MIDI", ".smf", ".kar", ".rmi"])
def test_endings_of_midi_files(tmp_path: Path, ending: str) -> None:
    path = saved(tmp_path / f"song{ending}", line([60, 62]))
    assert open_reference("melody", path).duration_s == 1.0


written_notes = st.lists(
    st.tuples(
        st.sampled_from([0, 1, 2, 9]),
        st.integers(0, 127),
        st.integers(1, 127),
        st.integers(0, 200),
        st.integers(1, 200),
    ),
    min_size=1,
    max_size=20,
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(written_notes, st.sampled_from([0, 1]), st.integers(100_000, 2_000_000))
def test_what_mido_writes_is_read_back(
    tmp_path: Path, notes: list[tuple[int, int, int, int, int]], kind: int, tempo: int
) -> None:
    """mido is the writer: any channels, keys and velocities, one note after the other, with rests."""
    chunk = [mido.MetaMessage("set_tempo", tempo=tempo)]
    expected, tick = [], 0
    for channel, key, velocity, rest, length in notes:
        chunk += [on(key, rest, channel, velocity), off(key, length, channel)]
        start, tick = tick + rest, tick + rest + length
        expected.append((channel == 9, start, tick, key, velocity))
    score = read_midi(saved(tmp_path / "any.mid", chunk, kind=kind))
    per_tick = tempo / 1e6 / 480
    found = [
        (track.is_drum, round(note.start_s / per_tick), note.midi, note.velocity)
        for track in score.tracks
        for note in track.notes
    ]
    assert sorted(found) == sorted((drum, start, key, velocity) for drum, start, _, key, velocity in expected)
    ends = sorted(round(note.end_s / per_tick) for t in score.tracks if not t.is_drum for note in t.notes)
    assert ends == sorted(end for drum, _, end, _, _ in expected if not drum)


def test_channels_are_shared_by_tracks_that_sound_together(tmp_path: Path) -> None:
    """Programs, pedals and the range of bends may stand in a track of their own."""
    setup = [program(73, 0), control(101, 0), control(100, 0), control(6, 12)]
    tune = [on(60), mido.Message("pitchwheel", pitch=8191, time=480), off(60, 480)]
    path = saved(tmp_path / "a.mid", setup, tune)
    assert melody_of(path) == [(60, 0, 0.5), (72, 0.5, 1.0)] and read_midi(path).tracks[0].program == 73


def test_sequences_of_format_2_have_their_own_tempi(tmp_path: Path) -> None:
    slow, fast = (mido.MetaMessage("set_tempo", tempo=tempo) for tempo in (1_000_000, 250_000))
    score = read_midi(saved(tmp_path / "a.mid", [slow, *line([60])], [fast, *line([62])], kind=2))
    assert [track.notes[0].end_s for track in score.tracks] == [1.0, 0.25]


@pytest.mark.parametrize("length", [0, 3, 14, 60, 2**31])
def test_a_wrong_length_loses_no_track(tmp_path: Path, length: int) -> None:
    whole = saved(tmp_path / "a.mid", line([60]), line([72])).read_bytes()
    track = whole.index(b"MTrk")
    (tmp_path / "b.mid").write_bytes(whole[: track + 4] + length.to_bytes(4, "big") + whole[track + 8 :])
    assert [track.notes[0].midi for track in read_midi(tmp_path / "b.mid").tracks] == [60, 72]


def test_one_line_may_use_the_drum_channel(tmp_path: Path) -> None:
    chunk = [message for i, key in enumerate(KEYS) for message in line([key], i)]
    assert [key for key, _, _ in melody_of(saved(tmp_path / "mpe.mid", chunk))] == KEYS


def test_instruments_of_one_chunk_are_told_apart(tmp_path: Path) -> None:
    band = [program(73, 0), program(33, 1), on(72, 0, 0), on(40, 0, 1), off(72, 480, 0), off(40, 0, 1)]
    assert [t.program for t in read_midi(saved(tmp_path / "a.mid", band)).tracks] == [73, 33]
    hands = [on(72, 0, 0), on(48, 0, 1), off(72, 480, 0), off(48, 0, 1)]
    assert len(read_midi(saved(tmp_path / "b.mid", hands, kind=0)).tracks) == 2
    strings = [message for channel in range(6) for message in (on(40 + 5 * channel, 0, channel),)]
    strings += [off(40 + 5 * channel, 480 if channel == 0 else 0, channel) for channel in range(6)]
    assert len(read_midi(saved(tmp_path / "c.mid", strings, kind=0)).tracks) == 1


def test_notes_without_an_end_reach_to_the_next(tmp_path: Path) -> None:
    hung = [on(60), on(62, 480), off(62, 480), *line([64, 65])]
    assert melody_of(saved(tmp_path / "a.mid", hung))[0] == (60, 0, 0.5)
    assert melody_of(saved(tmp_path / "b.mid", [on(60)])) == [(60, 0, 0.5)]
    silenced = [on(60), control(123, 0, 480), *line([62])]
    assert melody_of(saved(tmp_path / "c.mid", silenced)) == [(60, 0, 0.5), (62, 0.5, 1.0)]


def test_parts_of_a_kit_on_any_channel(tmp_path: Path) -> None:
    kit = saved(
        tmp_path / "a.mid", [name("Kick"), on(36), off(36, 0)], [name("Hi-Hat"), on(42, 240), off(42, 0)]
    )
    assert [hit.midi for hit in read_midi(kit).drum_hits()] == [36, 42]
    keys = saved(tmp_path / "b.mid", line([36, 42, 38, 42]))
    assert [hit.midi for hit in read_midi(keys).drum_hits()] == [36, 42, 38, 42]
    for unlike in ([name("Steel Drums"), program(114), *line([72, 74])], line([60, 64, 67])):
        with pytest.raises(NotationError, match="has no drums"):
            read_midi(saved(tmp_path / "c.mid", unlike)).drum_hits()


@pytest.mark.parametrize(
    ("lead", "other"),
    [
        ("Flute", "Backing_Vocals"),
        ("Flute", "BackingVox"),
        ("Flute", "Synth Voice"),
        ("Trumpet", "Bass Solo"),
        ("Soprano", "Tenor voice"),
        ("Melody", "Counter melody"),
        ("Right Hand", "Left Hand"),
        ("Gesang", "Streicher"),
        ("M\u00e9lodie", "Piano"),
    ],
)
def test_names_of_leads(tmp_path: Path, lead: str, other: str) -> None:
    high = [(start, end, pitch + 5) for start, end, pitch in SCALE]
    path = write(tmp_path / "song.mid", (other, 0, False, high), (lead, 0, False, SCALE))
    assert read_midi(path).melody_track().name == lead


def test_a_cue_is_no_melody_and_what_looks_alike_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = write(tmp_path / "a.mid", ("Vocals", 0, False, SCALE[:1]), ("Flute", 73, False, SCALE))
    assert read_midi(path).melody_track().name == "Flute" and not caplog.records
    second = [(start, end, pitch - 3) for start, end, pitch in SCALE]
    path = write(tmp_path / "b.mid", ("Oboe", 68, False, second), ("Flute", 73, False, SCALE))
    assert read_midi(path).melody_track().name == "Flute"
    assert "'Flute'" in caplog.text and "not 0: 'Oboe'" in caplog.text


def test_midi_is_known_by_how_it_begins(tmp_path: Path) -> None:
    path = saved(tmp_path / "song.bak", line([60, 62]))
    assert open_reference("melody", path).duration_s == 1.0


def test_many_bends_and_notes_cost_little_time(tmp_path: Path) -> None:
    chunk = [on(60 + i % 20, 1) for i in range(500)]
    chunk += [mido.Message("pitchwheel", pitch=(i * 37) % 8000, time=1) for i in range(4000)]
    chunk += [off(60 + i % 20, 1) for i in range(500)]
    path = saved(tmp_path / "a.mid", chunk)
    started = time.process_time()
    read_midi(path).melody()
    assert time.process_time() - started < 5
