"""Pitch tables (CREPE's, Praat's, pYIN's, Sonic Visualiser's, a data frame's) -> `F0Track`."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from features.symbols import NotationError, read_symbols
from features.tables import COUNTED, TIME_UNITS, Row, number, read_table, seconds_of, time_value, words
from features.text_files import shortened

logger = logging.getLogger(__name__)

_LOWEST_F0_HZ, _MAX_F0_HZ = 20.0, 24_000.0
_LONGEST_HOP_S = 1.0
_UNVOICED = ("", "nan", "na", "n/a", "none", "null", "-", "--", "--undefined--", "undefined", "unvoiced")
_TRUTH = {"true": 1.0, "false": 0.0}
_NOTE_NAME = re.compile(r"([A-Ga-g])([#b♯♭]?)(-?[0-9])")
_SEMITONES = {"c": 0, "d": 2, "e": 4, "f": 5, "g": 7, "a": 9, "b": 11}

_TIME_WORDS = {"time", "times", "t", "timestamp", "timestamps", "zeit", "temps", "tiempo"}
_PITCH_WORDS = {"f0", "f", "frequency", "frequencies", "freq", "pitch", "fundamental", "value"}
_PITCH_WORDS |= {"frequenz", "fréquence", "frecuencia", "tonhöhe"}
_PITCH_UNITS = {"hz", "hertz", "khz", "midi", "note", "notes", "cents", "cent"}
_PITCH_MORE = {"number", "re", "ref", "rel", "relative", "to", "estimate", "c", "of", "above", "in"}
_STATISTICS = {"min", "max", "std", "sd", "mean", "median", "error", "low", "high"}
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
    confidence. Lines that begin with # or % are comments, or
    the header. A pitch of 0, below 0, empty, NaN or
    `--undefined--` means unvoiced.

    Raises:
        NotationError: names the file, and the line or the column that cannot be read.
    """
    try:
        table = read_table(read_symbols(path, "lines of 'time,f0'"), _is_header)
    except NotationError as error:
        raise NotationError(str(error) if str(path) in str(error) else f"{path}, {error}") from error
    if not table.rows:
        raise NotationError(f"{path} holds no pitches; expected lines of 'time,f0'")
    if table.header is None:
        columns = _unnamed_columns(path, table.rows)
    else:
        columns = _named_columns(path, table.header, table.frame_rate)
    values: list[tuple[float, float, float]] = []
    for row in table.rows:
        where = f"{path}, line {row.line}"
        values.append(_read_row(row, columns, where, values[-1][0] if values else None))
    times_s, f0_hz, confidence = np.array(values, dtype=np.float64).T
    _check_track(path, times_s, f0_hz, columns)
    return F0Track(times_s, f0_hz, None if columns.confidence is None else confidence)


def _is_header(fields: Sequence[str]) -> bool:
    return {"time", "pitch"} <= {_role(words(name)) for name in fields}


def _unnamed_columns(path: str | Path, rows: Sequence[Row]) -> _Columns:
    width = max(len(row.fields) for row in rows)
    if width > 3:
        raise NotationError(
            f"{path}, line {rows[0].line}: {width} columns and no header; expected 'time,f0' or "
            "'time,f0,confidence', or a first line that names the columns"
        )
    return _Columns(0, 1, 2 if width == 3 else None)


def _named_columns(path: str | Path, header: Row, frame_rate: float | None) -> _Columns:
    where = f"{path}, line {header.line}"
    names = [words(name) for name in header.fields]
    roles = [_role(item) for item in names]
    if "time" not in roles or "pitch" not in roles:
        missing = "time" if "time" not in roles else "pitch"
        raise NotationError(
            f"{where}: no column of the header {_quoted(','.join(header.fields))} is known as the {missing}; "
            "expected names such as time, time_ms or frame (100 Hz), and f0_hz, midi or cents"
        )
    times = [i for i, role in enumerate(roles) if role == "time"]
    time = next((i for i in times if not COUNTED & {*names[i]}), times[0])
    pitches = [i for i, role in enumerate(roles) if role == "pitch"]
    in_hz = [i for i in pitches if not {"midi", "note", "cents"} & {*names[i]}]
    pitch = (in_hz or pitches)[0]
    confidences = [
        i
        for word in _CONFIDENCE_WORDS
        for i, role in enumerate(roles)
        if role == "confidence" and word in names[i]
    ]
    return _Columns(
        time,
        pitch,
        confidences[0] if confidences else None,
        seconds_of(header.fields[time], _TIME_WORDS, frame_rate, f"{where}: {_quoted(header.fields[time])}"),
        _hz_of(names[pitch], f"{where}: {_quoted(header.fields[pitch])}"),
        pitch_is_bare=names[pitch] in (["pitch"], ["value"]),
    )


def _role(names: Sequence[str]) -> str:
    """What a column of a name of these words is: time, pitch, confidence or other."""
    if not names or {"unvoiced", *_STATISTICS} & {*names}:
        return "other"
    if any(word in _CONFIDENCE_WORDS for word in names):
        return "confidence"
    if names[0] in {*_TIME_WORDS, *TIME_UNITS} or (names[0] in COUNTED and "rate" not in names):
        return "time"
    return "pitch" if any(word in _PITCH_WORDS | _PITCH_UNITS for word in names) else "other"


def _hz_of(names: Sequence[str], where: str) -> Callable[[float], float]:
    """Hz of a number in a column of pitches."""
    numbers = [float(word) for word in names if number(word) is not None]
    known = _PITCH_WORDS | _PITCH_UNITS | _PITCH_MORE
    unknown = [word for word in names if number(word) is None and word not in known]
    if not unknown and {"cents", "cent"} & {*names} and len(numbers) <= 1:
        if numbers and numbers[0] > 0:
            return lambda value: numbers[0] * 2 ** (value / 1200)  # 0 is the reference itself, not unvoiced
        logger.warning("%s is read as hundredths of MIDI semitones (6900 = 440 Hz)", where)
        return lambda value: 440.0 * 2 ** ((value - 6900) / 1200) if value > 0 else 0.0
    if unknown or numbers:
        raise NotationError(f"{where} is no known unit of pitch; expected f0_hz, midi, or cents re 10 Hz")
    if {"midi", "note", "notes"} & {*names}:
        return lambda value: 440.0 * 2 ** ((value - 69) / 12) if value > 0 else 0.0
    return (lambda value: 1000.0 * value) if "khz" in names else float


def _read_row(
    row: Row, columns: _Columns, where: str, previous_s: float | None
) -> tuple[float, float, float]:
    fields = row.fields
    if len(fields) < 2:
        shown = _quoted(",".join(fields))
        raise NotationError(f"{where}: expected 'time,f0' such as '0.01,220.5', got {shown}")
    time = fields[columns.time] if len(fields) > columns.time else ""
    pitch = fields[columns.pitch] if len(fields) > columns.pitch else ""
    time_s = time_value(time)
    if time_s is None or time_s < 0:
        raise NotationError(f"{where}: expected a time in seconds >= 0, got {_quoted(time)}")
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
            raise NotationError(f"{where}: expected a confidence from 0 to 1, got {_quoted(given)}")
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
            f"{where}: expected a pitch of at most {_MAX_F0_HZ:g} Hz (0 for unvoiced), got {_quoted(text)}"
        )
    return max(f0_hz, 0.0)


def _check_track(path: str | Path, times_s: np.ndarray, f0_hz: np.ndarray, columns: _Columns) -> None:
    voiced = f0_hz[f0_hz > 0]
    if not voiced.size:
        raise NotationError(f"{path} holds no voiced pitch; expected a frequency above 0 Hz somewhere")
    if times_s.size < 2:
        raise NotationError(f"{path} holds one pitch; expected a line for each of two times at least")
    hop_s = float(np.median(np.diff(times_s)))
    if hop_s >= _LONGEST_HOP_S:
        raise NotationError(
            f"{path}: its lines are {hop_s:g} s apart; expected a pitch track in seconds, or a header that "
            "names the unit, such as 'time_ms,f0_hz'"
        )
    if voiced.max() < _LOWEST_F0_HZ:
        raise NotationError(
            f"{path}: its highest pitch is {voiced.max():g} Hz, which nobody hears; expected a column of "
            "frequencies in Hz, or a header that names the columns and their units"
        )
    if columns.pitch_is_bare and voiced.max() <= 127:
        raise NotationError(
            f"{path}: its pitches are all below 128, Hz or MIDI numbers; expected a header that says which: "
            "'time,f0_hz' or 'time,midi'"
        )


def _quoted(text: str) -> str:
    return repr(shortened(text))
