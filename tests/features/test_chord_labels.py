from __future__ import annotations

import itertools

import mir_eval
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from features.chord_labels import (
    ChordError,
    ChordSegment,
    majmin,
    make_chord,
    merge_segments,
    parse_chord,
    segments_mask,
    segments_to_channels,
)
from features.frames import FrameGrid
from features.symbols import NotationError

# symbol, root, bass, intervals above the root (a foreign bass not among them), label
SPELLINGS = [
    ("C", 0, 0, "0 4 7", "C:maj"),
    ("Am", 9, 9, "0 3 7", "A:min"),
    ("A-", 9, 9, "0 3 7", "A:min"),
    ("Amin", 9, 9, "0 3 7", "A:min"),
    ("C:maj", 0, 0, "0 4 7", "C:maj"),
    ("C:min7/b3", 0, 3, "0 3 7 10", "C:min7/b3"),
    ("Db", 1, 1, "0 4 7", "Db:maj"),
    ("C#", 1, 1, "0 4 7", "Db:maj"),
    ("D#", 3, 3, "0 4 7", "Eb:maj"),
    ("Cb", 11, 11, "0 4 7", "B:maj"),
    ("C#m", 1, 1, "0 3 7", "C#:min"),
    ("Am/C", 9, 0, "0 3 7", "A:min/b3"),
    ("C/D", 0, 2, "0 4 7", "C:maj/2"),
    ("Am7/G", 9, 7, "0 3 7 10", "A:min7/b7"),
    ("Cmaj7", 0, 0, "0 4 7 11", "C:maj7"),
    ("CM7", 0, 0, "0 4 7 11", "C:maj7"),
    ("C△7", 0, 0, "0 4 7 11", "C:maj7"),
    ("CΔ", 0, 0, "0 4 7 11", "C:maj7"),
    ("C7M", 0, 0, "0 4 7 11", "C:maj7"),
    ("Cmaj9", 0, 0, "0 2 4 7 11", "C:maj9"),
    ("C7", 0, 0, "0 4 7 10", "C:7"),
    ("Bb7", 10, 10, "0 4 7 10", "Bb:7"),
    ("B♭7", 10, 10, "0 4 7 10", "Bb:7"),
    ("F♯m7", 6, 6, "0 3 7 10", "F#:min7"),
    ("F#-7", 6, 6, "0 3 7 10", "F#:min7"),
    ("Csus", 0, 0, "0 5 7", "C:sus4"),
    ("Csus4", 0, 0, "0 5 7", "C:sus4"),
    ("C7sus4", 0, 0, "0 5 7 10", "C:sus4(b7)"),
    ("Csus2", 0, 0, "0 2 7", "C:sus2"),
    ("Cadd9", 0, 0, "0 2 4 7", "C:maj(9)"),
    ("Cmadd9", 0, 0, "0 2 3 7", "C:min(9)"),
    ("C6", 0, 0, "0 4 7 9", "C:maj6"),
    ("Cm6", 0, 0, "0 3 7 9", "C:min6"),
    ("C7/9", 0, 0, "0 2 4 7 10", "C:9"),
    ("C7/13", 0, 0, "0 4 7 9 10", "C:7(13)"),
    ("C7/b9", 0, 0, "0 1 4 7 10", "C:7(b9)"),
    ("C7/9/E", 0, 4, "0 2 4 7 10", "C:9/3"),
    ("C7/5-", 0, 0, "0 4 6 10", "C:7(*5,b5)"),
    ("C/9", 0, 0, "0 2 4 7", "C:maj(9)"),
    ("C/6", 0, 0, "0 4 7 9", "C:maj6"),
    ("C/3", 0, 4, "0 4 7", "C:maj/3"),
    ("C/b7", 0, 10, "0 4 7 10", "C:maj/b7"),
    ("C13b9", 0, 0, "0 1 4 7 9 10", "C:7(b9,13)"),
    ("C13#9", 0, 0, "0 3 4 7 9 10", "C:7(#9,13)"),
    ("C11b9", 0, 0, "0 1 4 5 7 10", "C:7(b9,11)"),
    ("C5-", 0, 0, "0 4 6", "C:maj(*5,b5)"),
    ("C5+", 0, 0, "0 4 8", "C:aug"),
    ("C9-", 0, 0, "0 1 4 7 10", "C:7(b9)"),
    ("C9+", 0, 0, "0 3 4 7 10", "C:7(#9)"),
    ("C7(9-)", 0, 0, "0 1 4 7 10", "C:7(b9)"),
    ("Cm7(5-)", 0, 0, "0 3 6 10", "C:hdim7"),
    ("C7/11+", 0, 0, "0 4 6 7 10", "C:7(#11)"),
    ("C7M", 0, 0, "0 4 7 11", "C:maj7"),
    ("Cm+7", 0, 0, "0 3 7 11", "C:minmaj7"),
    ("Cm7+", 0, 0, "0 3 7 11", "C:minmaj7"),
    ("Cm(#7)", 0, 0, "0 3 7 11", "C:minmaj7"),
    ("C+7", 0, 0, "0 4 8 10", "C:aug(b7)"),
    ("C^7", 0, 0, "0 4 7 11", "C:maj7"),
    ("C-7", 0, 0, "0 3 7 10", "C:min7"),
    ("C-^7", 0, 0, "0 3 7 11", "C:minmaj7"),
    ("Ch7", 0, 0, "0 3 6 10", "C:hdim7"),
    ("Co7", 0, 0, "0 3 6 9", "C:dim7"),
    ("C diminished", 0, 0, "0 3 6", "C:dim"),
    ("C augmented", 0, 0, "0 4 8", "C:aug"),
    ("C suspended fourth", 0, 0, "0 5 7", "C:sus4"),
    ("C half-diminished seventh", 0, 0, "0 3 6 10", "C:hdim7"),
    ("C dominant seventh", 0, 0, "0 4 7 10", "C:7"),
    ("C added ninth", 0, 0, "0 2 4 7", "C:maj(9)"),
    ("B flat minor", 10, 10, "0 3 7", "Bb:min"),
    ("F sharp major 7th", 6, 6, "0 4 7 11", "F#:maj7"),
    ("C6/9", 0, 0, "0 2 4 7 9", "C:maj6(9)"),
    ("C69", 0, 0, "0 2 4 7 9", "C:maj6(9)"),
    ("C9", 0, 0, "0 2 4 7 10", "C:9"),
    ("C11", 0, 0, "0 2 4 5 7 10", "C:11"),
    ("C13", 0, 0, "0 2 4 7 9 10", "C:13"),
    ("Cm7b5", 0, 0, "0 3 6 10", "C:hdim7"),
    ("Cm7-5", 0, 0, "0 3 6 10", "C:hdim7"),
    ("Cø", 0, 0, "0 3 6 10", "C:hdim7"),
    ("Cø7", 0, 0, "0 3 6 10", "C:hdim7"),
    ("C°", 0, 0, "0 3 6", "C:dim"),
    ("Cdim", 0, 0, "0 3 6", "C:dim"),
    ("Cdim7", 0, 0, "0 3 6 9", "C:dim7"),
    ("Co7", 0, 0, "0 3 6 9", "C:dim7"),
    ("C+", 0, 0, "0 4 8", "C:aug"),
    ("Caug", 0, 0, "0 4 8", "C:aug"),
    ("C+7", 0, 0, "0 4 8 10", "C:aug(b7)"),
    ("C7+", 0, 0, "0 4 8 10", "C:aug(b7)"),
    ("C7#9", 0, 0, "0 3 4 7 10", "C:7(#9)"),
    ("C7+9", 0, 0, "0 3 4 7 10", "C:7(#9)"),
    ("C7b9", 0, 0, "0 1 4 7 10", "C:7(b9)"),
    ("A-9", 9, 9, "0 2 3 7 10", "A:min9"),
    ("A7-9", 9, 9, "0 1 4 7 10", "A:7(b9)"),
    ("C7(b9,#11)", 0, 0, "0 1 4 6 7 10", "C:7(b9,#11)"),
    ("C(b5)", 0, 0, "0 4 6", "C:maj(*5,b5)"),
    ("Cm(maj7)", 0, 0, "0 3 7 11", "C:minmaj7"),
    ("CmM7", 0, 0, "0 3 7 11", "C:minmaj7"),
    ("C5", 0, 0, "0 7", "C:5"),
    ("C7no5", 0, 0, "0 4 10", "C:7(*5)"),
    ("C:(1,5)", 0, 0, "0 7", "C:5"),
    ("C:maj7(*5)/3", 0, 4, "0 4 11", "C:maj7(*5)/3"),
    ("C:maj/E", 0, 4, "0 4 7", "C:maj/3"),
    ("D7 add b9", 2, 2, "0 1 4 7 10", "D:7(b9)"),
]
NOT_CHORDS = [
    "",
    " ",
    "foo",
    "J",
    "Cfoo",
    "C/",
    "C/D/E",
    "C:",
    "Cm(7",
    "C)",
    "CmajM7",
    "Cmm",
    "C/14",
    "7",
    "%",
    "C" * 99,
]

intervals = st.frozensets(st.integers(1, 11), max_size=6).map(lambda tones: tones | {0})
chords = st.builds(make_chord, st.integers(0, 11), intervals, st.none() | st.integers(0, 11))


@pytest.mark.parametrize(("text", "root", "bass", "tones", "label"), SPELLINGS)
def test_usual_spellings(text: str, root: int, bass: int, tones: str, label: str) -> None:
    chord = parse_chord(text)
    assert (chord.root, chord.bass, chord.label) == (root, bass, label)
    assert chord.pitch_classes == {(root + int(tone)) % 12 for tone in tones.split()} | {bass}


@pytest.mark.parametrize("text", [spelling[0] for spelling in SPELLINGS])
def test_a_label_reads_back_as_the_same_chord(text: str) -> None:
    chord = parse_chord(text)
    assert parse_chord(chord.label) == chord


@given(chords)
def test_every_chord_survives_its_label(chord) -> None:  # type: ignore[no-untyped-def]
    assert parse_chord(chord.label) == chord


def test_spellings_of_one_chord_are_equal() -> None:
    for same in (("Db", "C#", "D♭", "C♯:maj"), ("Cm7b5", "Cø7", "C:hdim7"), ("BbΔ", "A#maj7", "Bb:maj7")):
        assert len({parse_chord(text) for text in same}) == 1


def test_dash_is_a_flat_only_when_asked() -> None:
    assert parse_chord("B-7") == parse_chord("Bm7")
    assert parse_chord("B-7", flat_dash=True) == parse_chord("Bb7")
    assert parse_chord("E-m", flat_dash=True) == parse_chord("Ebm")
    assert parse_chord("A-/E-", flat_dash=True) == parse_chord("Ab/Eb")


@pytest.mark.parametrize("text", ["N", "N.C.", "NC", "n.c."])
def test_no_chord(text: str) -> None:
    chord = parse_chord(text)
    assert chord.label == "N" and chord.root is None and not chord.pitch_classes
    assert chord.channels().tolist() == [0.0] * 36 + [1.0]


def test_unknown_chord_is_no_channel_at_all() -> None:
    assert parse_chord("X").label == "X"
    assert not parse_chord("X").channels().any()


@pytest.mark.parametrize("text", NOT_CHORDS)
def test_what_is_no_chord_is_refused_and_quoted(text: str) -> None:
    with pytest.raises(ChordError, match="is not a chord") as caught:
        parse_chord(text)
    assert repr(text)[:20] in str(caught.value)


def test_hints() -> None:
    for text in ("H", "Hm7", "C/H"):
        with pytest.raises(ChordError, match="write B"):
            parse_chord(text)
    with pytest.raises(ChordError, match="'Am'"):
        parse_chord("am")


@given(st.text(max_size=20) | st.text(alphabet="ABCDEFGHNXb#♭m7ajsudig°ø△+-/()59134 :*,", max_size=12))
def test_any_text_is_a_chord_or_a_chord_error(text: str) -> None:
    try:
        chord = parse_chord(text)
    except ChordError:
        return
    assert parse_chord(chord.label) == chord
    mir_eval.chord.validate_chord_label(chord.label)
    assert chord.channels().shape == (37,)


def test_channels_hold_root_bass_and_tones() -> None:
    channels = parse_chord("Am/C").channels()
    assert channels.dtype == np.float32
    assert np.flatnonzero(channels).tolist() == [9, 12, 24, 28, 33]


def _mir_eval_majmin(label: str) -> str:
    for root, triad in itertools.product(
        ("C", "Db", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B"), ("maj", "min")
    ):
        if mir_eval.chord.majmin([f"{root}:{triad}"], [label])[0] == 1:
            return f"{root}:{triad}"
    return "X"


@pytest.mark.parametrize(
    "label", ["C:maj", "A:7", "C:maj/2", "C:maj/b7", "D:9", "G:13", "F:min(9)", "C:7(#11)", "E:min11"]
)
def test_majmin_of_known_labels_agrees_with_mir_eval(label: str) -> None:
    assert parse_chord(majmin(label)) == parse_chord(_mir_eval_majmin(label))


@given(chords)
def test_majmin_agrees_with_mir_eval(chord) -> None:  # type: ignore[no-untyped-def]
    assert parse_chord(majmin(chord)) == parse_chord(_mir_eval_majmin(chord.label))


def test_majmin_names() -> None:
    reduced = [majmin(text) for text in ("C7", "Am/C", "C#m7", "Csus4", "Cdim", "C+", "N.C.", "X", "C/D")]
    assert reduced == ["C:maj", "A:min", "C#:min", "X", "X", "X", "N", "X", "X"]


def test_segments_share_a_frame_by_time() -> None:
    grid = FrameGrid(10.0, 10)
    channels = segments_to_channels([ChordSegment(0.0, 0.25, "C:maj"), ChordSegment(0.25, 0.6, "N")], grid)
    assert channels.shape == (10, 37) and channels.dtype == torch.float32
    assert torch.equal(channels[0], torch.from_numpy(parse_chord("C").channels()))
    assert channels[2, 0] == pytest.approx(0.5) and channels[2, 36] == pytest.approx(0.5)
    assert channels[3:6, 36].tolist() == [1.0] * 3
    assert not channels[6:].any()
    mask = segments_mask([ChordSegment(0.0, 0.25, "C:maj"), ChordSegment(0.25, 0.6, "N")], grid)
    assert mask.tolist() == [True] * 6 + [False] * 4


def test_unknown_segments_are_masked_out() -> None:
    assert not segments_mask([ChordSegment(0.0, 1.0, "X")], FrameGrid(10.0, 10)).any()


@given(
    st.lists(
        st.tuples(st.floats(0.01, 3.0), st.sampled_from(["C:maj", "A:min", "N"])), min_size=1, max_size=8
    )
)
def test_channels_keep_the_time_of_each_chord(parts: list[tuple[float, str]]) -> None:
    ends = np.cumsum([length for length, _ in parts])
    segments = [
        ChordSegment(float(end - length), float(end), label)
        for end, (length, label) in zip(ends, parts, strict=True)
    ]
    grid = FrameGrid.from_duration(float(ends[-1]) + 1.0)
    channels = segments_to_channels(segments, grid)
    for channel, label in ((0, "C:maj"), (9, "A:min"), (36, "N")):
        seconds = sum(length for length, name in parts if name == label)
        assert float(channels[:, channel].sum()) / grid.frame_rate == pytest.approx(seconds, abs=1e-3)


def test_merge_joins_equal_neighbours_only() -> None:
    parts = [(0, 1, "C:maj"), (1, 2, "C:maj"), (2, 3, "F:maj"), (4, 5, "F:maj")]
    merged = merge_segments([ChordSegment(*part) for part in parts])
    assert [(s.start_s, s.end_s) for s in merged] == [(0, 2), (2, 3), (4, 5)]


@pytest.mark.parametrize(
    "times", [(1.0, 1.0), (2.0, 1.0), (-1.0, 1.0), (0.0, float("nan")), (0.0, float("inf"))]
)
def test_segments_of_no_or_endless_length_are_refused(times: tuple[float, float]) -> None:
    with pytest.raises(NotationError, match="start < end"):
        ChordSegment(*times, "C:maj")
