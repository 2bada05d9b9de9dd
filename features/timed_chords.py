"""Chords with their times -> chord segments: `C:maj@0 A:min@2.5`, `[('C', 0.0), ('Am', 2.5)]`, labels."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass

from features.chart_bars import chord_label
from features.chord_labels import ChordSegment, merge_segments
from features.symbols import NotationError
from features.text_files import shortened

MAX_DURATION_S = 36_000.0
_OVERLAP_TOLERANCE_S = 0.05
_MAX_LIST_CHARACTERS = 1_000_000
_TIMED = re.compile(r"(?P<label>.+)@(?P<time>[^@]*)")


@dataclass(frozen=True)
class TimedChord:
    """A chord symbol, from its start to its end, or to the next one; `where` is its place in messages."""

    where: str
    label: str
    start_s: float
    end_s: float | None = None


def is_chord_list(text: str) -> bool:
    """Whether a text is a Python or JSON list of tuples: `[('C', 0.0), ...`."""
    return re.match(r"\s*[\[(]\s*[\[(]", text) is not None and "|" not in text


def names_in_list(text: str) -> str:
    """The chords of a JSON or Python list of names, `["C", "Am"]`, as a chart; other text as it is."""
    if re.fullmatch(r"\s*\[\s*(['\"])[^'\"\[\]]*\1(?:\s*,\s*(['\"])[^'\"\[\]]*\2)*\s*\]\s*", text):
        return " ".join(str(name) for name in ast.literal_eval(text.strip()))
    return text


def chord_list_text(pairs: Sequence[Sequence[object]]) -> str:
    """The text that `read_chord_list` reads of Python tuples; numbers may be NumPy's."""
    return json.dumps([list(pair) for pair in pairs], ensure_ascii=False, default=float)


def read_chord_list(text: str) -> list[TimedChord]:
    """Read `[('C', 0.0), ('Am', 2.5)]` (as JASCO takes chords), `[(0.0, 2.5, 'C'), ...]`, also as JSON.

    Raises:
        NotationError: says which item and why.
    """
    expected = "expected a list such as [('C', 0.0), ('Am', 2.5)]"
    if len(text) > _MAX_LIST_CHARACTERS:
        raise NotationError(f"the list of chords has {len(text)} characters; expected at most 1,000,000")
    try:
        items = ast.literal_eval(text.strip().translate(str.maketrans("‘’“”", "''\"\"")))
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError) as error:
        line = getattr(error, "lineno", None)
        place = "" if line is None else f" (line {line})"
        raise NotationError(f"the list of chords cannot be read{place}; {expected}") from error
    if isinstance(items, tuple) and len(items) in (2, 3) and not isinstance(items[0], (tuple, list)):
        items = [items]
    return chords_of_pairs(items, expected)


def chords_of_pairs(items: Sequence[object], expected: str) -> list[TimedChord]:
    """Read Python tuples of a chord and its start, or of its start, its end and the chord."""
    chords = []
    for i, item in enumerate(items, start=1):
        where = f"chord {i} ({shortened(repr(item), 40)})"
        if not isinstance(item, (tuple, list)) or len(item) not in (2, 3):
            raise NotationError(f"{where}: {expected}")
        texts = [field for field in item if isinstance(field, str)]
        times = [field for field in item if isinstance(field, (int, float)) and not isinstance(field, bool)]
        if len(texts) != 1 or len(times) != len(item) - 1:
            raise NotationError(f"{where}: {expected}")
        chords.append(TimedChord(where, texts[0], *(_checked_time(float(time), where) for time in times)))
    return chords


def read_timed_tokens(text: str) -> list[TimedChord]:
    """Read `C:maj@0 A:min@2.5`. NotationError says which chord and why."""
    chords: list[TimedChord] = []
    for raw in text.replace("|", " ").split():
        token = raw.rstrip(",;")
        where = f"chord {len(chords) + 1} ({shortened(token, 40)})"
        match = _TIMED.fullmatch(token)
        if match is None:
            raise NotationError(
                f"{where}: expected chord@seconds, such as 'A:min@2.5', for every chord of a timed chart"
            )
        if re.fullmatch(r"[0-9]{1,6}(\.[0-9]{0,9})?|\.[0-9]{1,9}", match["time"]) is None:
            raise NotationError(f"{where}: {match['time']!r} is not a time in seconds, such as 2.5")
        chords.append(TimedChord(where, match["label"], float(match["time"])))
    return chords


def timed_segments(
    chords: Sequence[TimedChord], last_s: float, duration_s: float | None = None
) -> tuple[ChordSegment, ...]:
    """Segments of chords in order. Equal neighbours are joined.

    Where they have ends, gaps stay, and overlaps by up to 50 ms go to the earlier one. Where they have none,
    the last one lasts to `duration_s`, or `last_s` where that is not given.

    Raises:
        NotationError: names the chord and why.
    """
    if not chords:
        raise NotationError("there are no chords; expected at least one")
    without_end = [chord for chord in chords if chord.end_s is None]
    if without_end and len(without_end) < len(chords):
        raise NotationError(
            f"{without_end[0].where}: it has no end, and others have; expected 'start end chord'"
        )
    if without_end:
        return _of_starts(chords, last_s, duration_s)
    segments: list[ChordSegment] = []
    for chord in chords:
        start_s, end_s = chord.start_s, chord.end_s or 0.0
        start_s = 0.0 if -_OVERLAP_TOLERANCE_S <= start_s < 0 else start_s
        if not 0 <= start_s <= end_s:
            raise NotationError(f"{chord.where}: expected 0 <= start <= end, got {start_s:g} and {end_s:g}")
        previous_s = segments[-1].end_s if segments else 0.0
        if start_s < previous_s - _OVERLAP_TOLERANCE_S:
            raise NotationError(
                f"{chord.where}: starts at {start_s:g} s, before the end of the chord above it"
                f" ({previous_s:g} s)"
            )
        label = chord_label(chord.label, chord.where)
        start_s = max(start_s, previous_s)
        if start_s < end_s:  # a chord of no length says nothing
            segments.append(ChordSegment(start_s, end_s, label))
    if not segments:
        raise NotationError(f"{chords[0].where}: no chord has a length; expected 'start end chord'")
    return merge_segments(segments)


def _of_starts(
    chords: Sequence[TimedChord], last_s: float, duration_s: float | None
) -> tuple[ChordSegment, ...]:
    labels = [chord_label(chord.label, chord.where) for chord in chords]
    starts = [_checked_time(chord.start_s, chord.where) for chord in chords]
    for chord, before_s in zip(chords[1:], starts, strict=False):
        if chord.start_s <= before_s:
            raise NotationError(
                f"{chord.where}: its time must be later than the {before_s:g} s of the chord before it"
            )
    end_s = starts[-1] + last_s if duration_s is None else duration_s
    if starts[0] >= end_s:
        raise NotationError(f"the first chord starts at {starts[0]:g} s, after the end at {end_s:g} s")
    kept = (
        ChordSegment(start, min(end, end_s), label)
        for start, end, label in zip(starts, [*starts[1:], end_s], labels, strict=True)
        if start < end_s
    )
    return merge_segments(tuple(kept))


def _checked_time(time_s: float, where: str) -> float:
    if not 0 <= time_s <= MAX_DURATION_S:
        raise NotationError(
            f"{where}: {time_s:g} is not a time in seconds, from 0 to {MAX_DURATION_S:g}, such as 2.5"
        )
    return time_s
