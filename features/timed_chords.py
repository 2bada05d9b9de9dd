"""Chords with their times -> chord segments: `C:maj@0 A:min@2.5`, `[('C', 0.0), ('Am', 2.5)]`, labels."""

from __future__ import annotations

import ast
import logging
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from features.chart_bars import chord_label, shown
from features.chord_labels import ChordSegment, merge_segments
from features.symbols import NotationError

logger = logging.getLogger(__name__)

MAX_DURATION_S = 36_000.0
_OVERLAP_TOLERANCE_S = 0.01
_LONGEST_CHORD_S = 900.0
_MAX_LIST_CHARACTERS = 1_000_000
_TIMED = re.compile(r"(?P<label>.+)@(?P<time>[^@]*)")
_TABLE_FIELD = re.compile(r"[\t,;]|\s+")
_BARE_DEGREE = re.compile(r"([A-G][b#]*)(/[b#]*[0-9]{1,2})")
_TABLE_HEADER = re.compile(r"\W*(?:start|onset|begin|time|t0|from)\w*\W", re.IGNORECASE)


@dataclass(frozen=True)
class TimedChord:
    """A chord symbol, from its start to its end, or to the next one; `where` is its place in messages."""

    where: str
    label: str
    start_s: float
    end_s: float | None = None


def is_chord_list(text: str) -> bool:
    """Whether a text is a Python or JSON list of tuples: `[('C', 0.0), ...`."""
    return re.match(r"\s*[\[(]\s*[\[(]", text) is not None


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
        where = f"chord {i} ({shown(repr(item))})"
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
        where = f"chord {len(chords) + 1} ({shown(token)})"
        match = _TIMED.fullmatch(token)
        if match is None:
            raise NotationError(
                f"{where}: expected chord@seconds, such as 'A:min@2.5', for every chord of a timed chart"
            )
        if re.fullmatch(r"[0-9]{1,6}(\.[0-9]{0,9})?|\.[0-9]{1,9}", match["time"]) is None:
            raise NotationError(f"{where}: {match['time']!r} is not a time in seconds, such as 2.5")
        chords.append(TimedChord(where, match["label"], float(match["time"])))
    return chords


def is_label_table(text: str) -> bool:
    """Whether the first line of a text that is no comment begins with a time, or names columns of times."""
    for line in text.splitlines():
        if line.strip() and not line.lstrip().startswith(("#", "\\")):
            return number(_fields(line)[0]) is not None or _TABLE_HEADER.match(line) is not None
    return False


def read_label_table(text: str, name: str = "the label table") -> list[TimedChord]:
    """Read lines of `start end chord` (`.lab`, Audacity's labels) or `start chord`, as tables separate them.

    Lines that begin with # are comments; those with a backslash are frequency ranges of Audacity's. Times are
    seconds; whole numbers that would make chords last for minutes are milliseconds, or the 100 ns of HTK, and
    a warning that `name`s the table says so.

    Raises:
        NotationError: says which line and why.
    """
    chords: list[TimedChord] = []
    for i, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith(("#", "\\")):
            continue
        if not chords and _TABLE_HEADER.match(line) is not None and number(_fields(line)[0]) is None:
            continue
        where = f"line {i}"
        fields = _fields(line)
        start_s, end_s = (number(field) for field in (fields + ["", ""])[:2])
        labels = fields[1:] if end_s is None else fields[2:]
        if (
            start_s is None
            or not labels
            or (end_s is None and len(labels) > 1 and number(labels[1]) is not None)
        ):
            raise NotationError(
                f"{where}: expected 'start end chord', such as '0.0 2.5 A:min', got {shown(repr(line))}"
            )
        label = " ".join(labels).strip("\"' ")
        if bare := _BARE_DEGREE.fullmatch(label):
            label = f"{bare[1]}:maj{bare[2]}"  # Harte's syntax, where a major triad needs no name
        chords.append(TimedChord(where, label, start_s, end_s))
    if chords and all(chord.end_s == chord.start_s for chord in chords):
        chords = [replace(chord, end_s=None) for chord in chords]  # Audacity's labels of points
    return _in_seconds(chords, name)


def _fields(line: str) -> list[str]:
    """At most three fields: the chord may hold commas where they do not separate."""
    separator = next((mark for mark in ("\t", ";") if mark in line), None)
    if separator is None:
        separator = "," if re.match(r"\s*[^\s,]+\s*,", line) else None
    fields = line.split(separator, 2) if separator else line.split(None, 2)
    if len(fields) == 3 and number(fields[1].strip()) is None:
        fields = line.split(separator, 1) if separator else line.split(None, 1)
    return [field.strip().strip("\"'") for field in fields]


@lru_cache(maxsize=256)
def _warn_once(words: str) -> None:
    logger.warning("%s", words)  # a chart is read again whenever it is played


def _in_seconds(chords: list[TimedChord], name: str) -> list[TimedChord]:
    """Times as seconds. Chords of minutes are no music: whole numbers are milliseconds or 100 ns then."""
    ends = [chord.start_s if chord.end_s is None else chord.end_s for chord in chords]
    following = [chord.start_s for chord in chords[1:]] + ends[-1:]
    lengths = [
        (end if chord.end_s is not None else after) - chord.start_s
        for chord, end, after in zip(chords, ends, following, strict=True)
    ]
    given = [length for length in lengths if length > 0]
    median = float(np.median(given)) if given else 0.0
    whole = all(time.is_integer() for chord in chords for time in (chord.start_s, chord.end_s or 0.0))
    usual = 400.0 if len(given) > 1 else _LONGEST_CHORD_S
    scale, unit = 1.0, "seconds"
    if whole and 1e6 <= median <= 6e8:
        scale, unit = 1e-7, "units of 100 ns"
    elif whole and usual <= median <= 60_000:
        scale, unit = 1e-3, "milliseconds"
    if scale != 1.0:
        _warn_once(f"{name}: its times are read as {unit}: a chord lasts {median * scale:g} s")
    for chord, length in zip(chords, lengths, strict=True):
        if length * scale > _LONGEST_CHORD_S and chord.label not in ("N", "X"):
            raise NotationError(
                f"{chord.where}: {chord.label} would last {length * scale:g} s; expected times in seconds"
            )
    return [
        replace(
            chord,
            start_s=chord.start_s * scale,
            end_s=None if chord.end_s is None else chord.end_s * scale,
        )
        for chord in chords
    ]


def timed_segments(
    chords: Sequence[TimedChord], last_s: float, duration_s: float | None = None
) -> tuple[ChordSegment, ...]:
    """Segments of chords in order. Equal neighbours are joined.

    Where they have ends, gaps stay, and overlaps by up to 10 ms go to the later one. Where they have none,
    the last one lasts to `duration_s`, or `last_s` where that is not given.

    Raises:
        NotationError: names the chord and why.
    """
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


def number(text: str) -> float | None:
    """A finite number, or None."""
    try:
        value = float(text) if text.isascii() and "_" not in text else math.nan
    except ValueError:
        return None
    return value if math.isfinite(value) else None
