from __future__ import annotations

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.chord_chart import parse_chord_chart
from features.chord_labels import ChordSegment
from features.symbols import NotationError


def chart(text: str, **options: float | bool | None) -> list[tuple[float, float, str]]:
    segments = parse_chord_chart(text, **options)  # type: ignore[arg-type]
    return [(round(s.start_s, 6), round(s.end_s, 6), s.label) for s in segments]


def labels(text: str) -> list[str]:
    return [label for _, _, label in chart(text)]


def test_chords_share_their_bar() -> None:
    assert chart("Am | F C | G7 Csus4") == [
        (0, 2, "A:min"),
        (2, 3, "F:maj"),
        (3, 4, "C:maj"),
        (4, 5, "G:7"),
        (5, 6, "C:sus4"),
    ]


def test_bare_chords_take_a_bar_each() -> None:
    assert chart("Am F\nC G") == [(0, 2, "A:min"), (2, 4, "F:maj"), (4, 6, "C:maj"), (6, 8, "G:maj")]


@pytest.mark.parametrize(
    "text", ["| Am | F |", "|Am|F|", "Am | F", "|| Am | F ||", "| Am\n| F", "Am |\nF |", "[Verse]\nAm | F"]
)
def test_bar_lines_at_the_edges_make_no_bars(text: str) -> None:
    assert chart(text) == [(0, 2, "A:min"), (2, 4, "F:maj")]


def test_slots_hold_the_chord() -> None:
    assert chart("Am . . F | . C / /") == [(0, 1.5, "A:min"), (1.5, 2.5, "F:maj"), (2.5, 4, "C:maj")]


def test_percent_repeats_the_bar() -> None:
    assert chart("Am F | % | C") == chart("Am F | Am F | C")


def test_repeat_marks() -> None:
    assert chart("|: Am | F :| C") == chart("Am | F | Am | F | C")
    assert chart("|: Am | F :| x3\nC") == chart("Am | F | Am | F | Am | F | C")
    assert chart("|: Am :|: F :|") == chart("Am | Am | F | F")
    assert chart("Am :| C :|") == chart("Am | Am | C | C")
    assert chart("|: Am |\nF :| (x2) | G") == chart("Am | F | Am | F | G")


@pytest.mark.parametrize(
    ("text", "played"),
    [
        ("|: C | G | [1.] F :| [2.] Am ||", "C G F C G Am"),
        ("|: C | G |[1] F :|[2] Am | Dm || E", "C G F C G Am Dm E"),
        ("|: C | G [1.] F :| [2.] Am ||", "C G F C G Am"),
        ("|:C|1. F:|2. Am|E", "C F C Am E"),
        ("|: C | [1,2] F :| [3.] G | E", "C F C F C G E"),
        ("|: C | [1-3.] F :| [4.] G", "C F C F C F C G"),
        ("|: C | [1st time] F :| [2nd time] G :| [3rd time] A", "C F C G C A"),
        ("|: C | [1.] F :| [2.] G :| E", "C F C G E"),
        ("|: C | [1.] F :| E", "C F C E"),
        ("|: C | [1.] F :|: E :|", "C F C E E"),
    ],
)
def test_endings_follow_their_pass(text: str, played: str) -> None:
    assert chart(text) == chart(" | ".join(played.split()))


@pytest.mark.parametrize(
    ("text", "played"),
    [
        ("C | G [x2]", "C | G | C | G"),
        ("C | G (2x)\nF |", "C | G | C | G | F"),
        ("C G x3", "C | G | C | G | C | G"),
        ("[Chorus x2]\nAm | F\n[Verse]\nC", "Am | F | Am | F | C"),
        ("Chorus (x2):\nAm | F\nVerse:\nC |", "Am | F | Am | F | C"),
    ],
)
def test_counts_play_a_line_or_a_section_again(text: str, played: str) -> None:
    assert chart(text) == chart(played)


@pytest.mark.parametrize(
    ("text", "played"),
    [
        ("Am | F [C] | G", "Am | F C | G"),
        ("[Em] [C] [G] [D/F#]", "Em | C | G | D/F#"),
        ("[Em]\n[C]", "Em | C"),
        ("[Em]Hello [C]darkness, [G]A dog", "Em | C | G"),
        ("[Verse]\n[C]one [G]two", "C | G"),
        ("[A]\nAm | F\n[B]\nC | G", "Am | F | C | G"),
        ("[A] Am | F", "Am | F"),
        ("[N.C.] | C", "N | C"),
        ("C [*softly] | G", "C | G"),
        (
            "{title: x}\n{soc}\n[C]a [G]b\n{eoc}\n{start_of_tab}\ne|--0--|\n{end_of_tab}\n[F]x\n{chorus}",
            "C|G|F|C|G",
        ),
        ("C diminished | A minor seventh F | B flat major", "Cdim | Am7 F | Bb"),
    ],
)
def test_brackets_hold_chords_or_names(text: str, played: str) -> None:
    assert chart(text) == chart(played)


@pytest.mark.parametrize(
    ("text", "played"),
    [
        ("A\n| C | Am |\nB\n| F | G |", "C | Am | F | G"),
        ("[A] C Am\n[B] F G", "C | Am | F | G"),
        ("[G]la [C]la (x2)", "G | C | G | C"),
        ("{t: x}\n[C]one [G]two\nplain words\n[F]x", "C | G | F"),
        ("{start_of_grid}\n| C | G |\n{end_of_grid}\n[F]la [C]lo", "C | G | F | C"),
        ("Capo: 2nd fret\nTuning: EADGBE\nKey of C\nFeel: swing\nTempo: 120 bpm\nC | G", "C | G"),
        ("(D-7 G7) | C", "Dm7 G7 | C"),
        ("[| C | ./. | G |]", "C | C | G"),
        ("C /// | G", "C / / / | G"),
        ("C - - F | G", "C / / F | G"),
        ("(C | Am) x2", "C | Am | C | Am"),
        ("|: C |1 G :|2 Am |", "C | G | C | Am"),
        ("C G x 2", "C | G | C | G"),
        ("Am - F → C, G; D", "Am | F | C | G | D"),
        ('"C" | (N.C.) | n.c.', "C | N | N"),
        ("[Chorus] x2\nC | G", "C | G | C | G"),
        ("\u00a0Am |\u200b F", "Am | F"),
        ('["C", "Am"]', "C | Am"),
    ],
)
def test_other_notations(text: str, played: str) -> None:
    assert chart(text) == chart(played)


def test_a_time_signature_may_come_first() -> None:
    assert chart("Time: 3/4\nC | G") == [(0, 1.5, "C:maj"), (1.5, 3, "G:maj")]
    assert chart("Tempo 60\nC |") == [(0, 4, "C:maj")]


def test_chordpro_times_its_bars() -> None:
    assert chart("{tempo: 60}\n{time: 3/4}\n[C]one [G]two") == [(0, 3, "C:maj"), (3, 6, "G:maj")]


@pytest.mark.parametrize(
    "text",
    [
        "[('C', 0.0), ('Am', 2.5)]",
        "[(0.0, 'C'), (2.5, 'Am')]",
        '[["C", 0], ["Am", 2.5]]',
        "(('C', 0.0), ('Am', 2.5))",
        "[(‘C’, 0.0),\n (‘Am’, 2.5)]",
        "[(0, 2.5, 'C'), (2.5, 4.5, 'Am')]",
        "0.0\t2.5\tC\n2.5\t4.5\tAm",
        "0.0 C\n2.5 Am",
    ],
)
def test_lists_and_tables_of_chords(text: str) -> None:
    assert chart(text) == [(0, 2.5, "C:maj"), (2.5, 4.5, "A:min")]


def test_headers_time_the_bars_after_them() -> None:
    assert chart("bpm: 60\nmetre: 3/4\nAm | F") == [(0, 3, "A:min"), (3, 6, "F:maj")]
    assert chart("metre: 6/8\nAm | F") == [(0, 1.5, "A:min"), (1.5, 3, "F:maj")]
    assert chart("Title: a song\nAm\nbpm: 60\nF |") == [(0, 2, "A:min"), (2, 6, "F:maj")]


def test_comments_and_sections_are_passed_over() -> None:
    text = "# a song\n[Verse 1] Am | F#m # sharp stays\n\n[Chorus]\n  # quiet\nC#"
    assert labels(text) == ["A:min", "F#:min", "Db:maj"]


def test_duration_loops_or_cuts() -> None:
    assert chart("Am F C G", duration_s=10.0) == [*chart("Am F C G"), (8, 10, "A:min")]
    assert chart("Am F C G", duration_s=10.0, loop=False) == chart("Am F C G")
    assert chart("Am F C G", duration_s=3.0) == [(0, 2, "A:min"), (2, 3, "F:maj")]


def test_timed_chords() -> None:
    assert chart("C:maj@0 A:min@2.5 N@10") == [(0, 2.5, "C:maj"), (2.5, 10, "A:min"), (10, 12, "N")]
    assert chart("C@0 G7(b9,#11)@1, Am@2", duration_s=1.5) == [(0, 1, "C:maj"), (1, 1.5, "G:7(b9,#11)")]
    assert chart("C@1 F@2", duration_s=9.0) == [(1, 2, "C:maj"), (2, 9, "F:maj")]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("Am | F | Hm E", r"bar 3 \(Hm E\).*'Hm'.*write B"),
        ("Am F Xyz", r"bar 3 .*'Xyz'"),
        ("Am | | F", "bar 2.*empty"),
        ("% | Am", "bar 1.*none"),
        (". Am", "bar 1.*none before"),
        ("Am | F % | C", "bar 2.*alone"),
        ("Am :| x0", "bar 1.*at least once"),
        (":| Am", "no bar to repeat"),
        ("|: Am | F", "bar 2.*inside a repeat"),
        ("|: Am |: F :|", "bar 2.*inside another"),
        ("", "empty"),
        ("# nothing", "empty"),
        ("bpm: 90", "empty"),
        ("| |", "empty"),
        ("bpm: fast\nAm", "bpm: fast"),
        ("bpm: 9000\nAm", "10 to 400"),
        ("metre: 3/5\nAm", "metre such as"),
        ("metre: 0/4\nAm", "metre such as"),
        ("C@0 Am", r"chord 2 \(Am\).*chord@seconds"),
        ("C@2 Am@1", "chord 2.*later"),
        ("C@0 Am@x", "chord 2.*'x'"),
        ("C@0 Hm@1", "chord 2.*write B"),
        ("C@-1", "chord 1.*'-1'"),
        ("|: Am :| x999\n" * 20, "longer than"),
        ("[am]la [G]ho", "line 1.*'.am.' is no chord"),
        ("{transpose: 2}\n[C]la", "line 1.*expected the chords transposed"),
        ("C | G\n\nF | Hm", "line 3, bar 4.*write B"),
        ("[(1, 1, 'C')]", "chord 1.*no chord has a length"),
        ("C | G\nAm | F [G/] | C", "line 2.*no chord, no ending"),
        ("[Cmx7] | C", "line 1.*'.Cmx7.' is no chord"),
        ("|: C | [2.] F :|", "bar 2: ending .2.. where ending .1.. is next"),
        ("|: C | [1.] F :| [3.] G", "ending .3.. where ending .2.. is next"),
        ("C G [1.] F", "bar 3: an ending"),
        ("C | G [2x] | F", "bar 2.*at the end of a line"),
        ("C | G | D.C. al Fine", "bar 3.*jumps are not played"),
        ("{chorus}", "line 1.*none before it"),
        ("[('C', 0.0), ('Am'", "list of chords cannot be read"),
        ("[('C', 0.0), ('Xm', 2.5)]", "chord 2.*'Xm' is not a chord"),
        ("[('C', 0.0), ('Am', '2.5')]", r"chord 2.*expected a list such as"),
        ("[('C', 0.0), ('Am', -1)]", "chord 2.*-1 is not a time"),
        ("[('C', 2.0), ('Am', 1)]", "chord 2.*later than"),
        ("[(C, 0.0)]", "list of chords cannot be read"),
        ("[" * 9000, "list of chords cannot be read"),
        ("0 9000.5 C", "line 1: C would last 9000.5 s"),
    ],
)
def test_errors_say_where_and_why(text: str, says: str) -> None:
    with pytest.raises(NotationError, match=says):
        parse_chord_chart(text)


@pytest.mark.parametrize("bpm", [0.0, -90.0, 9000.0, float("nan")])
def test_impossible_tempi_are_refused(bpm: float) -> None:
    with pytest.raises(NotationError, match="bpm"):
        parse_chord_chart("Am", bpm=bpm)


@pytest.mark.parametrize("beats", [0.0, -4.0, 999.0, float("nan")])
def test_impossible_bars_are_refused(beats: float) -> None:
    with pytest.raises(NotationError, match="beats_per_bar"):
        parse_chord_chart("Am", beats_per_bar=beats)


@pytest.mark.parametrize("duration_s", [0.0, -1.0, float("nan"), float("inf")])
def test_impossible_durations_are_refused(duration_s: float) -> None:
    with pytest.raises(NotationError, match="duration_s"):
        parse_chord_chart("Am", duration_s=duration_s)


symbols = st.sampled_from(["Am", "F", "C/E", "G7", "Bbmaj7", "N.C.", "D:min7"])
bars = st.lists(st.lists(symbols, min_size=1, max_size=5), min_size=1, max_size=12)


def assert_gapless(segments: tuple[ChordSegment, ...], duration_s: float) -> None:
    assert segments[0].start_s == 0
    assert all(a.end_s == pytest.approx(b.start_s) for a, b in itertools.pairwise(segments))
    assert sum(s.end_s - s.start_s for s in segments) == pytest.approx(duration_s)


@given(bars, st.floats(30, 300), st.integers(1, 12))
def test_bars_last_what_the_metre_says(written: list[list[str]], bpm: float, beats: int) -> None:
    segments = parse_chord_chart("|" + "|".join(" ".join(bar) for bar in written) + "|", bpm, beats)
    assert_gapless(segments, len(written) * beats * 60 / bpm)


@given(bars, st.floats(0.5, 60.0))
def test_looped_charts_fill_the_duration(written: list[list[str]], duration_s: float) -> None:
    text = " | ".join(" ".join(bar) for bar in written)
    assert_gapless(parse_chord_chart(text + " |", duration_s=duration_s), duration_s)


@given(bars, st.integers(1, 5))
def test_repeats_multiply_the_bars(written: list[list[str]], times: int) -> None:
    text = " | ".join(" ".join(bar) for bar in written)
    once, repeated = parse_chord_chart(f"{text} |"), parse_chord_chart(f"|: {text} :| x{times}")
    assert_gapless(repeated, once[-1].end_s * times)


@given(bars, st.lists(st.lists(symbols, min_size=1, max_size=3), min_size=1, max_size=4))
def test_what_is_written_with_endings_is_played_so(body: list[list[str]], endings: list[list[str]]) -> None:
    """The writer is this test: a body, and a bar or several for each ending."""
    written = [" ".join(bar) for bar in body]
    marks = "".join(f"|[{i}.] {' | '.join(bars)} :" for i, bars in enumerate(endings, start=1))
    played = [bar for bars in endings for bar in [*written, *bars]]
    assert parse_chord_chart(f"|: {' | '.join(written)} {marks[:-1]}|") == parse_chord_chart(
        " | ".join(played) + " |"
    )


times = st.lists(st.integers(1, 90_000), min_size=1, max_size=20, unique=True).map(sorted)


@given(times, st.lists(symbols, min_size=20, max_size=20))
def test_lists_and_timed_charts_are_read_back(starts: list[int], names: list[str]) -> None:
    pairs = [(name, start / 1000) for start, name in zip(starts, names, strict=False)]
    timed = parse_chord_chart(" ".join(f"{name}@{start}" for name, start in pairs), duration_s=100.0)
    assert [segment.start_s for segment in timed][:1] == [pairs[0][1]] and timed[-1].end_s == 100.0
    for text in (repr(pairs), json.dumps(pairs), "\n".join(f"{start}\t{name}" for name, start in pairs)):
        assert parse_chord_chart(text, duration_s=100.0) == timed


@given(st.text() | st.text(alphabet="ABCDEFGH#bm7 |:/.%x3@0\n[]()-", max_size=40))
def test_any_text_is_a_chart_or_a_notation_error(text: str) -> None:
    try:
        segments = parse_chord_chart(text)
    except NotationError as error:
        assert str(error)
        return
    assert segments and all(a.end_s <= b.start_s + 1e-6 for a, b in itertools.pairwise(segments))
