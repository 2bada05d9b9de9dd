"""Tables in text files: rows of fields, whatever separates and quotes them, and names of columns."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from features.symbols import NotationError

_WORD = re.compile(r"[^\W\d_]+[0-9]*|[0-9]+(?:\.[0-9]+)?")
_DECIMAL_COMMA = re.compile(r"\s*-?[0-9]+,[0-9]+\s*")
_CLOCK = re.compile(r"(?:([0-9]{1,2}):)?([0-9]{1,3}):([0-9]{1,2}(?:\.[0-9]+)?)")
_RATE = re.compile(r"(?:frame[\s_]?rate|fps|frames per second)\D{0,9}([0-9]+(?:\.[0-9]+)?)", re.IGNORECASE)

TIME_UNITS = {
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds", "sekunden"), 1.0),
    **dict.fromkeys(("ms", "msec", "millisecond", "milliseconds"), 1e-3),
    **dict.fromkeys(("us", "microsecond", "microseconds"), 1e-6),
    **dict.fromkeys(("min", "minute", "minutes"), 60.0),
}
COUNTED = {"frame", "frames", "sample", "samples"}
_COUNT_WORDS = {"index", "number", "no", "at", "hz", "khz", "fps", "per", "second", "s", "rate"}


@dataclass(frozen=True)
class Row:
    """The fields of a line, which counts from 1."""

    line: int
    fields: list[str]


@dataclass(frozen=True)
class Table:
    """The rows of a table, and its header where it has one; `frame_rate` is what a comment says of it."""

    header: Row | None
    rows: list[Row]
    frame_rate: float | None


def read_table(text: str, is_header: Callable[[list[str]], bool], max_rows: int = 1_000_000) -> Table:
    """Read a table: separated by what most lines have, of tabs, semicolons, commas and spaces.

    Beside other separators, and between quotes, a comma may be a decimal sign. Lines that begin with # or %
    are comments, but for a header (`is_header` of its fields). Empty fields at the ends of all rows are no
    columns; where all rows have a field more than the header, the first is the name of the row.

    Raises:
        NotationError: more rows than `max_rows`.
    """
    lines = [(i, line) for i, line in enumerate(text.splitlines(), start=1) if line.strip()]
    separator = _separator([line for _, line in lines if not line.lstrip().startswith(("#", "%", "\\"))])
    header: Row | None = None
    rows: list[Row] = []
    frame_rate: float | None = None
    for i, line in lines:
        if line.lstrip().startswith(("#", "%")):
            if rate := _RATE.search(line):
                frame_rate = float(rate[1])
            fields = _fields(line.lstrip().lstrip("#% "), separator)
            if header is None and not rows and is_header(fields):
                header = Row(i, fields)
            continue
        fields = _fields(line, separator)
        if line.lower().startswith("sep=") or not any(fields):
            continue
        if header is None and not rows and time_value(fields[0]) is None and re.search(r"[^\W\d]", line):
            header = Row(i, fields)
        elif len(rows) < max_rows:
            rows.append(Row(i, fields))
        else:
            raise NotationError(f"line {i}: expected a table of at most {max_rows} rows")
    return Table(header, _aligned(header, rows), frame_rate)


def _separator(lines: Sequence[str]) -> str | None:
    """None: white space."""
    counted = lines[:200]
    for mark in ("\t", ";", ","):
        having = [line for line in counted if mark in line]
        if mark == "," and all(
            re.search(r"[0-9],[0-9]", line) and re.search(r"\d\s+-?\d", line) for line in having
        ):
            continue  # decimal signs, between spaces
        if len(having) > len(counted) / 2:
            return mark
    return None


def _fields(line: str, separator: str | None) -> list[str]:
    try:
        fields = next(csv.reader([line], delimiter=separator)) if separator else line.split()
    except (csv.Error, StopIteration):
        fields = line.split(separator)
    fields = [field.strip().strip("\"'") for field in fields]
    return [field.replace(",", ".") if _DECIMAL_COMMA.fullmatch(field) else field for field in fields]


def _aligned(header: Row | None, rows: list[Row]) -> list[Row]:
    width = max((_last_given(row.fields) for row in rows), default=0)
    rows = [Row(row.line, row.fields[:width]) for row in rows]
    named = header is not None and rows and all(len(row.fields) == len(header.fields) + 1 for row in rows)
    return [Row(row.line, row.fields[1:]) for row in rows] if named else rows


def _last_given(fields: Sequence[str]) -> int:
    return max((i for i, field in enumerate(fields, start=1) if field), default=0)


def words(name: str) -> list[str]:
    """The words and numbers of a column's name: 'Time_s' -> time, s."""
    return _WORD.findall(name.lower().replace("_", " "))


def seconds_of(name: str, time_words: set[str], frame_rate: float | None, where: str) -> float:
    """Seconds of one unit of a column of times, by its name.

    Raises:
        NotationError: a unit that is not known, or frames without their rate.
    """
    found = words(name)
    if found[0] in COUNTED or (len(found) > 1 and found[1] in COUNTED):
        rates = [float(word) for word in found if number(word) is not None]
        known = _COUNT_WORDS | COUNTED | time_words
        unknown = [word for word in found if number(word) is None and word not in known]
        rate = rates[0] * (1000.0 if "khz" in found else 1.0) if rates else frame_rate
        if unknown or len(rates) > 1 or not rate:
            counted = next(word for word in found if word in COUNTED).removesuffix("s") + "s"
            raise NotationError(f"{where} counts {counted}; expected their rate, such as 'frame (100 Hz)'")
        return 1.0 / rate
    units = [word for word in found if word not in time_words and word != "in"]
    if len(units) > 1 or not set(units) <= set(TIME_UNITS):
        raise NotationError(f"{where} is no known unit of time; expected time_s, time_ms or frame (100 Hz)")
    return TIME_UNITS[units[0]] if units else 1.0


def number(text: str) -> float | None:
    """A finite number, or None."""
    try:
        value = float(text) if text.isascii() and "_" not in text else math.nan
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def time_value(text: str) -> float | None:
    """A number, or a time as 1:02.5; None for other text."""
    if clock := _CLOCK.fullmatch(text):
        return int(clock[1] or 0) * 3600 + int(clock[2]) * 60 + float(clock[3])
    return number(text)
