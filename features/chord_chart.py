"""Chord charts, as they are typed: `Am | F C | G7 Csus4` or `C:maj@0 A:min@2.5` -> chord segments."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from features.chart_bars import Bar, played_bars
from features.chart_text import chart_lines, checked_metre
from features.chord_labels import ChordSegment, merge_segments
from features.label_table import is_label_table, read_label_table
from features.symbols import NotationError
from features.timed_chords import (
    MAX_DURATION_S,
    TimedChord,
    is_chord_list,
    names_in_list,
    read_chord_list,
    read_timed_tokens,
    timed_segments,
)


@dataclass(frozen=True)
class Chart:
    """Chords that were read: in bars, which may be played again, or with their own times.

    `last_s` is how long the last chord lasts that has a start alone, where nothing else says so.
    """

    bars: tuple[Bar, ...] = ()
    timed: tuple[TimedChord, ...] = ()
    last_s: float = 2.0

    def segments(self, duration_s: float | None = None, loop: bool = True) -> tuple[ChordSegment, ...]:
        """Segments in order of time, equal neighbours joined; see `parse_chord_chart`, also for errors."""
        if duration_s is not None and not 0 < duration_s <= MAX_DURATION_S:
            raise NotationError(
                f"duration_s must be above 0 and at most {MAX_DURATION_S:g} s, got {duration_s}"
            )
        if self.timed:
            return timed_segments(self.timed, self.last_s, duration_s)
        segments = tuple(_played(self.bars))
        if duration_s is None:
            return merge_segments(segments)
        return merge_segments(tuple(_fitted(segments, duration_s, loop)))


def read_chart(
    text: str, bpm: float = 120.0, beats_per_bar: float = 4, name: str = "the label table"
) -> Chart:
    """Read a chord chart, a list or a table of chords; the arguments and errors are `parse_chord_chart`'s.

    name: what warnings call it.
    """
    metre = checked_metre(bpm, beats_per_bar)
    if is_chord_list(text):
        return Chart(timed=tuple(read_chord_list(text)), last_s=metre.bar_s)
    if is_label_table(text):
        return Chart(timed=tuple(read_label_table(text, name)), last_s=metre.bar_s)
    text = names_in_list(text)
    lines = chart_lines(text, metre)
    if any("@" in line.text for line in lines):
        tokens = read_timed_tokens(" ".join(line.text for line in lines))
        return Chart(timed=tuple(tokens), last_s=lines[-1].metre.bar_s)
    return Chart(bars=tuple(played_bars(lines)))


def parse_chord_chart(
    text: str,
    bpm: float = 120.0,
    beats_per_bar: float = 4,
    duration_s: float | None = None,
    loop: bool = True,
) -> tuple[ChordSegment, ...]:
    """Read a chord chart.

    Bars: `Am | F C | G7 . . Csus4`; the chords of a bar share it equally, `.` or `/` holds the
    chord for a further slot, `%` repeats the bar before, `|: ... :|` plays twice (`:| x3`: three
    times), `|: C |[1.] F :|[2.] G |` has endings, `x2` at the end of a line plays that again, a new line
    ends a bar. With no bar line anywhere each chord fills a bar. Lines `bpm: 90` and `metre: 3/4` hold from
    there on; `[Verse]`, `# comment` and title lines are passed over, `[Chorus x2]` is played twice.
    ChordPro: `[Am]words [F]words`, each chord a bar.
    Timed, in seconds: `C:maj@0 A:min@2.5 N@10`, or `[('C', 0.0), ('Am', 2.5)]`; the last chord lasts to
    `duration_s`, or a bar. Lines of `start end chord` are a label table.

    Args:
        bpm: quarter notes a minute, 10 to 400.
        beats_per_bar: quarter notes a bar (6/8 has 3).
        duration_s: cut there; a chart with bars that is shorter starts again if `loop`.

    Returns:
        Segments in order of time, equal neighbours joined, labels in Harte's syntax.

    Raises:
        NotationError: says which line, bar (counted from 1, as written) or chord, and why.
    """
    return read_chart(text, bpm, beats_per_bar).segments(duration_s, loop)


def _played(bars: Sequence[Bar]) -> Iterator[ChordSegment]:
    start_s = 0.0
    for bar in bars:
        slot_s = bar.duration_s / len(bar.labels)
        for i, label in enumerate(bar.labels):
            yield ChordSegment(start_s + i * slot_s, start_s + (i + 1) * slot_s, label)
        start_s += bar.duration_s


def _fitted(segments: tuple[ChordSegment, ...], duration_s: float, loop: bool) -> Iterator[ChordSegment]:
    """The chart from its start, again and again if `loop`, cut at `duration_s`."""
    length_s = segments[-1].end_s
    rounds = math.ceil(duration_s / length_s - 1e-9) if loop else 1
    for offset_s in (i * length_s for i in range(max(rounds, 1))):
        for segment in segments:
            start_s, end_s = segment.start_s + offset_s, min(segment.end_s + offset_s, duration_s)
            if end_s - start_s > 1e-9:
                yield ChordSegment(start_s, end_s, segment.label)
