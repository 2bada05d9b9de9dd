"""Tables of chords with their times: `.lab` files, labels of Audacity and Sonic Visualiser, spreadsheets."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from features.symbols import NotationError
from features.tables import Row, number, read_table, seconds_of, time_value, words
from features.timed_chords import TimedChord

logger = logging.getLogger(__name__)

_LONGEST_CHORD_S = 900.0
_BARE_DEGREE = re.compile(r"([A-G][b#]*)(/[b#]*[0-9]{1,2})")
_COMMENT_BEHIND = re.compile(r"\s#\s.*$", re.MULTILINE)
_SPECTRAL = re.compile(r"^\\.*$", re.MULTILINE)
_START_WORDS = {
    "start",
    "onset",
    "begin",
    "from",
    "time",
    "t0",
    "anfang",
    "beginn",
    "zeit",
    "début",
    "inicio",
}
_END_WORDS = {"end", "offset", "stop", "to", "t1", "ende", "fin"}
_DURATION_WORDS = {"duration", "length", "dur", "dauer"}
_LABEL_WORDS = {"chord", "chords", "label", "labels", "name", "value", "symbol", "akkord", "accord", "acorde"}
_TIME_WORDS = _START_WORDS | _END_WORDS | _DURATION_WORDS
_EXPECTED = "expected 'start end chord', such as '0.0 2.5 A:min'"
_NO_CHORD = {"silence": "N", "none": "N", "no chord": "N", "nochord": "N"}


@dataclass(frozen=True)
class _Columns:
    """Where start, end or duration, and label stand in a row, and the seconds of one unit of time."""

    start: int
    end: int | None
    duration: int | None
    label: int
    seconds: float | None = None  # None: recognised by the values


def is_label_table(text: str) -> bool:
    """Whether the first line of a text that is no comment begins with a time, or names columns of a table."""
    for line in text.splitlines():
        if line.strip() and not line.lstrip().startswith(("#", "%", "\\")):
            first = re.split(r"[\s,;]+", line.strip(), maxsplit=1)[0].strip("\"'")
            if "|" in line:
                return False
            return time_value(first) is not None or _is_header(re.split(r"[\s,;]+", line.strip()))
    return False


def read_label_table(text: str, name: str = "the label table") -> list[TimedChord]:
    """Read lines of `start end chord` or `start chord`, as tables separate them, or by a header's names.

    What stands behind `#`, and Audacity's ranges of frequency, are passed over. Without a header, or a unit
    in it, times are seconds; whole numbers that would make chords last for minutes are milliseconds, or the
    100 ns of HTK, and a warning that names the table says so.

    Raises:
        NotationError: says which line and why.
    """
    table = read_table(_SPECTRAL.sub("", _COMMENT_BEHIND.sub("", text)), _is_header)
    columns = None if table.header is None else _named_columns(table.header, table.frame_rate)
    chords = [_chord(row, columns) for row in table.rows]
    if not chords:
        raise NotationError("it holds no chords; expected lines of 'start end chord'")
    if columns is None and _are_numbers_of_bars(text, chords):
        raise NotationError(
            f"{chords[0].where}: 1, 2, 3 could be numbers of bars, or seconds; expected a chart such as "
            "'C | Am', or times such as 1.0"
        )
    if all(chord.end_s == chord.start_s for chord in chords):
        chords = [replace(chord, end_s=None) for chord in chords]  # Audacity's labels of points
    scale, unit = (columns.seconds, "") if columns and columns.seconds else _unit_of(chords)
    if unit:
        logger.warning("%s: its times are read as %s", name, unit)
    return _checked([_scaled(chord, scale) for chord in chords])


def _is_header(fields: Sequence[str]) -> bool:
    roles = [_role(field) for field in fields]
    return "start" in roles and "label" in roles


def _role(name: str) -> str:
    for role, known in (
        ("start", _START_WORDS),
        ("end", _END_WORDS),
        ("duration", _DURATION_WORDS),
        ("label", _LABEL_WORDS),
    ):
        if known & {*words(name)[:2]}:
            return role
    return "other"


def _named_columns(header: Row, frame_rate: float | None) -> _Columns:
    where = f"line {header.line}"
    roles = [_role(name) for name in header.fields]
    if "start" not in roles or "label" not in roles:
        raise NotationError(
            f"{where}: the header {','.join(header.fields)!r} names no start or no chord; expected columns "
            "such as start,end,chord"
        )
    start = roles.index("start")
    seconds = seconds_of(header.fields[start], _TIME_WORDS, frame_rate, f"{where}: {header.fields[start]!r}")
    has_unit = len(set(words(header.fields[start])) - _TIME_WORDS) > 0
    return _Columns(
        start,
        roles.index("end") if "end" in roles else None,
        roles.index("duration") if "duration" in roles else None,
        roles.index("label"),
        seconds if has_unit else None,
    )


def _chord(row: Row, columns: _Columns | None) -> TimedChord:
    where, fields = f"line {row.line}", row.fields
    if columns is None:
        timed = len(fields) > 1 and time_value(fields[1]) is not None
        columns = _Columns(0, 1 if timed else None, None, 2 if timed else 1)
        rest = [field for field in fields[columns.label :] if field]
        if len(rest) > 1 and any(number(field) is not None for field in rest[1:]):
            raise NotationError(f"{where}: {len(fields)} columns and no header; {_EXPECTED}")
        label = " ".join(rest)
    else:
        label = fields[columns.label] if columns.label < len(fields) else ""
    start_s, end_s = _time(fields, columns.start), _time(fields, columns.end)
    if columns.duration is not None and columns.end is None and start_s is not None:
        duration_s = _time(fields, columns.duration)
        end_s = None if duration_s is None else start_s + duration_s
    if start_s is None or not label or (end_s is None and (columns.end or columns.duration)):
        raise NotationError(f"{where}: {_EXPECTED}, got {' '.join(fields)[:60]!r}")
    label = _NO_CHORD.get(label.lower(), label)
    if bare := _BARE_DEGREE.fullmatch(label):
        label = f"{bare[1]}:maj{bare[2]}"  # Harte's syntax, where a major triad needs no name
    return TimedChord(where, label, start_s, end_s)


def _time(fields: Sequence[str], column: int | None) -> float | None:
    return None if column is None or column >= len(fields) else time_value(fields[column])


def _are_numbers_of_bars(text: str, chords: Sequence[TimedChord]) -> bool:
    """Whether lines are numbered from 1, as in `1 C` or `1. C`."""
    counted = [chord.start_s for chord in chords] == list(range(1, len(chords) + 1))
    return len(chords) > 1 and counted and all(chord.end_s is None for chord in chords) and ".0" not in text


def _lengths(chords: Sequence[TimedChord]) -> list[float]:
    following = [chord.start_s for chord in chords[1:]] + [chord.start_s for chord in chords[-1:]]
    ends = [
        after if chord.end_s is None else chord.end_s for chord, after in zip(chords, following, strict=True)
    ]
    return [end - chord.start_s for chord, end in zip(chords, ends, strict=True)]


def _unit_of(chords: Sequence[TimedChord]) -> tuple[float, str]:
    """Seconds of a unit and its name, which is empty for seconds.

    Chords of minutes are no music: whole numbers are milliseconds or 100 ns then.
    """
    given = [length for length in _lengths(chords) if length > 0]
    median = float(np.median(given)) if given else 0.0
    whole = all(time.is_integer() for chord in chords for time in (chord.start_s, chord.end_s or 0.0))
    if whole and 1e6 <= median <= 6e8:
        return 1e-7, f"units of 100 ns: a chord lasts {median * 1e-7:g} s"
    usual = 250.0 if len(given) > 1 else _LONGEST_CHORD_S
    if whole and usual <= median <= 60_000:
        return 1e-3, f"milliseconds: a chord lasts {median * 1e-3:g} s"
    return 1.0, ""


def _scaled(chord: TimedChord, scale: float) -> TimedChord:
    end_s = None if chord.end_s is None else chord.end_s * scale
    return replace(chord, start_s=chord.start_s * scale, end_s=end_s)


def _checked(chords: list[TimedChord]) -> list[TimedChord]:
    for chord, length_s in zip(chords, _lengths(chords), strict=True):
        if length_s > _LONGEST_CHORD_S and chord.label not in ("N", "X"):
            raise NotationError(
                f"{chord.where}: {chord.label} would last {length_s:g} s; expected times in seconds"
            )
    return chords
