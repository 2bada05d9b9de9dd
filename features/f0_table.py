"""Pitch tables (CREPE's, Praat's, pYIN's, Sonic Visualiser's, a data frame's) -> `F0Track`."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from features.symbols import NotationError, read_symbols
from features.timed_chords import number

logger = logging.getLogger(__name__)

_MAX_F0_HZ = 24_000.0
_LONGEST_HOP_S = 1.0
_MAX_ROWS = 1_000_000
_UNVOICED = ("", "nan", "na", "n/a", "none", "null", "-", "--", "--undefined--", "undefined", "unvoiced")
_TRUTH = {"true": 1.0, "false": 0.0}
_NOTE_NAME = re.compile(r"([A-Ga-g])([#b♯♭]?)(-?[0-9])")
_SEMITONES = {"c": 0, "d": 2, "e": 4, "f": 5, "g": 7, "a": 9, "b": 11}
_WORD = re.compile(r"[a-z]+[0-9]*|[0-9]+(?:\.[0-9]+)?", re.IGNORECASE)
_RATE_COMMENT = re.compile(
    r"(?:frame[\s_]?rate|fps|frames per second)\D{0,9}([0-9]+(?:\.[0-9]+)?)", re.IGNORECASE
)

_TIME_WORDS = {"time", "times", "t", "timestamp", "timestamps"}
_TIME_UNITS = {
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds"), 1.0),
    **dict.fromkeys(("ms", "msec", "millisecond", "milliseconds"), 1e-3),
    **dict.fromkeys(("us", "microsecond", "microseconds"), 1e-6),
    **dict.fromkeys(("min", "minute", "minutes"), 60.0),
}
_COUNTS = {"frame", "frames", "sample", "samples"}
_COUNT_WORDS = {"index", "number", "no", "at", "hz", "khz", "fps", "per", "second", "s", "rate"}
_PITCH_WORDS = {"f0", "f", "frequency", "frequencies", "freq", "pitch", "fundamental"}
_PITCH_UNITS = {"hz", "hertz", "khz", "midi", "note", "notes", "cents", "cent"}
_PITCH_MORE = {"number", "re", "ref", "rel", "relative", "to", "value", "estimate", "c", "of", "above"}
_CONFIDENCE_WORDS = (
    "confidence",
    "conf",
    "probability",
    "prob",
    "periodicity",
    "voicing",
    "salience",
    "voiced",
)


@dataclass(frozen=True)
class F0Track:
    """A pitch track: seconds (N,), Hz (N,) with 0 where unvoiced, confidence (N,) in [0, 1] or None."""

    times_s: np.ndarray
    f0_hz: np.ndarray
    confidence: np.ndarray | None = None


@dataclass(frozen=True)
class _Row:
    line: int
    fields: list[str]


@dataclass(frozen=True)
class _Columns:
    """Where time, pitch and confidence stand in a row, and their units."""

    time: int
    pitch: int
    confidence: int | None
    seconds: float = 1.0
    to_hz: Callable[[float], float] = float
    pitch_is_bare: bool = False  # "pitch", without a unit


def read_f0_table(path: str | Path) -> F0Track:
    """Read a pitch table: columns time, pitch and, if there, confidence (0 to 1).

    Commas, semicolons, tabs or spaces separate; beside semicolons, tabs and spaces a comma may be a decimal
    sign. A header names the columns and their units (`time,midi`, `time_ms,f0_hz,voiced_prob`,
    `frame (100 Hz),cents`); columns of other names are passed over. Without one, they are seconds, Hz and
    confidence. Lines that begin with # are comments, or the header. A pitch of 0, below 0, empty, NaN or
    `--undefined--` means unvoiced.

    Raises:
        NotationError: names the file, and the line or the column that cannot be read.
    """
    header, rows, frame_rate = _split(path, read_symbols(path, "lines of 'time,f0'"))
    if not rows:
        raise NotationError(f"{path} holds no pitches; expected lines of 'time,f0'")
    columns = _unnamed_columns(path, rows) if header is None else _named_columns(path, header, frame_rate)
    values: list[tuple[float, float, float]] = []
    for row in rows:
        values.append(_read_row(row, columns, f"{path}, line {row.line}", values[-1][0] if values else None))
    times_s, f0_hz, confidence = np.array(values, dtype=np.float64).T
    _check_track(path, times_s, f0_hz, columns)
    return F0Track(times_s, f0_hz, None if columns.confidence is None else confidence)


def _split(path: str | Path, text: str) -> tuple[_Row | None, list[_Row], float | None]:
    """The header, the rows without a delimiter at their ends, and the frame rate that a comment states."""
    header: _Row | None = None
    rows: list[_Row] = []
    frame_rate: float | None = None
    for i, line in enumerate(text.splitlines(), start=1):
        comment = line.lstrip().startswith("#")
        row = _Row(i, [field.strip().strip("\"'") for field in _fields(line.lstrip().lstrip("#"))])
        if comment:
            if rate := _RATE_COMMENT.search(line):
                frame_rate = float(rate[1])
            elif (
                header is None
                and not rows
                and {"time", "pitch"} <= {_role(_words(name)) for name in row.fields}
            ):
                header = row
        elif not any(row.fields):
            continue
        elif header is None and not rows and number(row.fields[0]) is None and re.search("[A-Za-z]", line):
            header = row
        else:
            rows.append(row)
            if len(rows) > _MAX_ROWS:
                raise NotationError(f"{path} has more than {_MAX_ROWS} lines, too many for a pitch track")
    width = max((_last_given(row.fields) for row in rows), default=0)
    return header, [_Row(row.line, row.fields[:width]) for row in rows], frame_rate


def _fields(line: str) -> list[str]:
    spaced = re.search(r"[0-9],[0-9]", line) and re.search(r"[0-9]\s+[0-9-]", line)
    for separator in (";", "\t"):
        if separator in line:
            return [_with_point(field) for field in line.split(separator)]
    if "," in line and not spaced:
        return line.split(",")
    return [_with_point(field) for field in line.split()] or [""]


def _with_point(field: str) -> str:
    return re.sub(r"^(\s*-?[0-9]+),([0-9]+\s*)$", r"\1.\2", field)


def _last_given(fields: Sequence[str]) -> int:
    return max((i for i, field in enumerate(fields, start=1) if field), default=0)


def _unnamed_columns(path: str | Path, rows: Sequence[_Row]) -> _Columns:
    width = max(len(row.fields) for row in rows)
    if width > 3:
        raise NotationError(
            f"{path}, line {rows[0].line}: {width} columns and no header; expected 'time,f0' or "
            "'time,f0,confidence', or a first line that names the columns"
        )
    return _Columns(0, 1, 2 if width == 3 else None)


def _named_columns(path: str | Path, header: _Row, frame_rate: float | None) -> _Columns:
    where = f"{path}, line {header.line}"
    words = [_words(name) for name in header.fields]
    roles = [_role(item) for item in words]
    if "time" not in roles or "pitch" not in roles:
        missing = "time" if "time" not in roles else "pitch"
        raise NotationError(
            f"{where}: no column of the header {_short(','.join(header.fields))} is known as the {missing}; "
            "expected names such as time, time_ms or frame (100 Hz), and f0_hz, midi or cents"
        )
    time = roles.index("time")
    in_hz = [
        i for i, role in enumerate(roles) if role == "pitch" and not {"midi", "note", "cents"} & {*words[i]}
    ]
    pitch = in_hz[0] if in_hz else roles.index("pitch")
    confidences = [
        i
        for word in _CONFIDENCE_WORDS
        for i, role in enumerate(roles)
        if role == "confidence" and word in words[i]
    ]
    return _Columns(
        time,
        pitch,
        confidences[0] if confidences else None,
        _seconds_of(words[time], frame_rate, f"{where}: {_short(header.fields[time])}"),
        _hz_of(words[pitch], f"{where}: {_short(header.fields[pitch])}"),
        pitch_is_bare=words[pitch] == ["pitch"],
    )


def _words(name: str) -> list[str]:
    return _WORD.findall(name.lower().replace("_", " "))


def _role(words: Sequence[str]) -> str:
    """What a column of a name of these words is: time, pitch, confidence or other."""
    if any(word in _CONFIDENCE_WORDS for word in words):
        return "confidence"
    if words and words[0] in {*_TIME_WORDS, *_TIME_UNITS, *_COUNTS}:
        return "time"
    return "pitch" if any(word in _PITCH_WORDS | _PITCH_UNITS for word in words) else "other"


def _seconds_of(words: Sequence[str], frame_rate: float | None, where: str) -> float:
    """Seconds of one unit of a column of times."""
    if words[0] in _COUNTS:
        rates = [float(word) for word in words if number(word) is not None]
        unknown = [word for word in words[1:] if number(word) is None and word not in _COUNT_WORDS]
        rate = rates[0] * (1000.0 if "khz" in words else 1.0) if rates else frame_rate
        if unknown or len(rates) > 1 or not rate:
            counted = words[0].removesuffix("s") + "s"
            raise NotationError(f"{where} counts {counted}; expected their rate, such as 'frame (100 Hz)'")
        return 1.0 / rate
    units = [word for word in words[0 if words[0] in _TIME_UNITS else 1 :] if word != "in"]
    if len(units) > 1 or not set(units) <= set(_TIME_UNITS):
        raise NotationError(f"{where} is no known unit of time; expected time_s, time_ms or frame (100 Hz)")
    return _TIME_UNITS[units[0]] if units else 1.0


def _hz_of(words: Sequence[str], where: str) -> Callable[[float], float]:
    """Hz of a number in a column of pitches."""
    numbers = [float(word) for word in words if number(word) is not None]
    known = _PITCH_WORDS | _PITCH_UNITS | _PITCH_MORE
    unknown = [word for word in words if number(word) is None and word not in known]
    if not unknown and {"cents", "cent"} & {*words} and len(numbers) <= 1:
        if numbers and numbers[0] > 0:
            return lambda value: numbers[0] * 2 ** (value / 1200)  # 0 is the reference itself, not unvoiced
        logger.warning("%s is read as hundredths of MIDI semitones (6900 = 440 Hz)", where)
        return lambda value: 440.0 * 2 ** ((value - 6900) / 1200) if value > 0 else 0.0
    if unknown or numbers:
        raise NotationError(f"{where} is no known unit of pitch; expected f0_hz, midi, or cents re 10 Hz")
    if {"midi", "note", "notes"} & {*words}:
        return lambda value: 440.0 * 2 ** ((value - 69) / 12) if value > 0 else 0.0
    return (lambda value: 1000.0 * value) if "khz" in words else float


def _read_row(
    row: _Row, columns: _Columns, where: str, previous_s: float | None
) -> tuple[float, float, float]:
    fields = row.fields
    if len(fields) < 2:
        shown = _short(",".join(fields))
        raise NotationError(f"{where}: expected 'time,f0' such as '0.01,220.5', got {shown}")
    time = fields[columns.time] if len(fields) > columns.time else ""
    pitch = fields[columns.pitch] if len(fields) > columns.pitch else ""
    time_s = number(time)
    if time_s is None or time_s < 0:
        raise NotationError(f"{where}: expected a time in seconds >= 0, got {_short(time)}")
    time_s *= columns.seconds
    if previous_s is not None and time_s <= previous_s:
        raise NotationError(
            f"{where}: its time {time_s:g} s is not after the {previous_s:g} s of the line above it"
        )
    confidence = 1.0
    if columns.confidence is not None and columns.confidence < len(fields):
        given = fields[columns.confidence]
        read = 0.0 if given.lower() in _UNVOICED else _TRUTH.get(given.lower(), number(given))
        if read is None or not 0 <= read <= 1:
            raise NotationError(f"{where}: expected a confidence from 0 to 1, got {_short(given)}")
        confidence = read
    return time_s, _read_pitch(pitch, columns, where), confidence


def _read_pitch(text: str, columns: _Columns, where: str) -> float:
    """Hz, 0 for unvoiced."""
    if text.lower() in _UNVOICED:
        return 0.0
    value = number(text)
    if value is None and columns.to_hz is not float and (name := _NOTE_NAME.fullmatch(text)) is not None:
        shift = {"#": 1, "♯": 1, "b": -1, "♭": -1}.get(name[2], 0)
        value = 12.0 * (int(name[3]) + 1) + _SEMITONES[name[1].lower()] + shift
    try:
        f0_hz = None if value is None else columns.to_hz(value)
    except OverflowError:  # of an exponential
        f0_hz = None
    if f0_hz is None or f0_hz > _MAX_F0_HZ:
        raise NotationError(
            f"{where}: expected a pitch of at most {_MAX_F0_HZ:g} Hz (0 for unvoiced), got {_short(text)}"
        )
    return max(f0_hz, 0.0)


def _check_track(path: str | Path, times_s: np.ndarray, f0_hz: np.ndarray, columns: _Columns) -> None:
    voiced = f0_hz[f0_hz > 0]
    if not voiced.size:
        raise NotationError(f"{path} holds no voiced pitch; expected a frequency above 0 Hz somewhere")
    if times_s.size < 2:
        raise NotationError(f"{path} holds one pitch; expected a line for each of two times at least")
    hop_s = float(np.median(np.diff(times_s)))
    if hop_s > _LONGEST_HOP_S:
        raise NotationError(
            f"{path}: its lines are {hop_s:g} s apart; expected a pitch track in seconds, or a header that "
            "names the unit, such as 'time_ms,f0_hz'"
        )
    if columns.pitch_is_bare and voiced.max() <= 127:
        raise NotationError(
            f"{path}: its pitches are all below 128, Hz or MIDI numbers; expected a header that says which: "
            "'time,f0_hz' or 'time,midi'"
        )


def _short(text: str) -> str:
    return repr(text if len(text) <= 60 else f"{text[:59]}…")
