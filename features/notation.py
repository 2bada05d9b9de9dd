"""Symbols instead of recordings: one entry point for each control, and the table formats.

Chords come from chord charts and `.lab` files, melodies from MIDI and F0 tables, drums from MIDI.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from features.chord_chart import parse_chord_chart
from features.chord_labels import ChordError, ChordSegment, merge_segments, parse_chord
from features.drum_templates import hits_to_drum_energies
from features.midi import MidiScore, read_midi
from features.symbols import DrumHit, NotationError, Note, f0_to_salience, notes_to_salience

__all__ = [
    "ChordSegment",
    "DrumHit",
    "F0Track",
    "MidiScore",
    "NotationError",
    "Note",
    "f0_to_salience",
    "hits_to_drum_energies",
    "names_a_file",
    "notes_to_salience",
    "parse_chord_chart",
    "read_chords",
    "read_drums",
    "read_f0_csv",
    "read_lab",
    "read_melody",
    "read_midi",
]

MIDI_SUFFIXES = (".mid", ".midi")
TABLE_SUFFIXES = (".csv", ".tsv", ".f0")
CHART_SUFFIXES = (".txt", ".chart", ".chords")
LAB_SUFFIXES = (".lab",)
_MAX_TEXT_BYTES = 64_000_000
_MAX_F0_HZ = 24_000.0
_OVERLAP_TOLERANCE_S = 0.01
_FILE_ENDING = re.compile(r"\.[A-Za-z][A-Za-z0-9]{1,5}$")


@dataclass(frozen=True)
class F0Track:
    """A pitch track: seconds (N,), Hz (N,) with 0 where unvoiced, confidence (N,) in [0, 1] or None."""

    times_s: np.ndarray
    f0_hz: np.ndarray
    confidence: np.ndarray | None = None


def names_a_file(text: str) -> bool:
    """Whether text for chords is meant as a file: it ends like one, or begins like a path."""
    text = text.strip()
    if "\n" in text or "|" in text or "@" in text:
        return False
    return _FILE_ENDING.search(text) is not None or text.startswith(("./", "../", "/", "~")) or "\\" in text


def read_chords(
    source: str | Path,
    bpm: float = 120.0,
    beats_per_bar: float = 4,
    duration_s: float | None = None,
    loop: bool = True,
) -> tuple[ChordSegment, ...]:
    """Chords from a `.lab` file, a chart in a text file, or the chart's text itself.

    The further arguments time a chart, as in `parse_chord_chart`.

    Raises:
        NotationError: names the file, and the line or bar that cannot be read.
    """
    if isinstance(source, str) and not names_a_file(source):
        return parse_chord_chart(source, bpm, beats_per_bar, duration_s, loop)
    path = Path(source)
    if path.suffix.lower() in LAB_SUFFIXES:
        return read_lab(path)
    if path.suffix.lower() not in CHART_SUFFIXES:
        expected = ", ".join(LAB_SUFFIXES + CHART_SUFFIXES)
        raise NotationError(f"{path}: expected chords as {expected}, or a chart such as 'Am | F C | G7'")
    text = read_text(path, "a chord chart")
    try:
        return parse_chord_chart(text, bpm, beats_per_bar, duration_s, loop)
    except NotationError as error:
        raise NotationError(f"{path}: {error}") from error


def read_melody(source: str | Path, track: str | int | None = None) -> tuple[Note, ...] | F0Track:
    """A melody from MIDI (notes; `track` picks an instrument) or from an F0 table."""
    path = Path(source)
    if path.suffix.lower() in MIDI_SUFFIXES:
        return read_midi(path).melody(track)
    if path.suffix.lower() in TABLE_SUFFIXES:
        return read_f0_csv(path)
    raise NotationError(f"{path}: expected a melody as {', '.join(MIDI_SUFFIXES + TABLE_SUFFIXES)}")


def read_drums(source: str | Path) -> tuple[DrumHit, ...]:
    """Drum hits from the drum channel of a MIDI file."""
    path = Path(source)
    if path.suffix.lower() not in MIDI_SUFFIXES:
        raise NotationError(f"{path}: expected drums as {', '.join(MIDI_SUFFIXES)}")
    return read_midi(path).drum_hits()


def read_text(path: str | Path, expected: str) -> str:
    """Text of a UTF-8 file; NotationError, naming the file and what was expected, where there is none."""
    path = Path(path)
    if path.is_dir():
        raise NotationError(f"{path} is a folder; expected {expected}")
    if not path.is_file():
        raise NotationError(f"{path} does not exist; expected {expected}")
    if path.stat().st_size > _MAX_TEXT_BYTES:
        raise NotationError(f"{path} has {path.stat().st_size} bytes, too many for {expected}")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (UnicodeDecodeError, OSError) as error:
        raise NotationError(f"{path} cannot be read as UTF-8 text; expected {expected}") from error
    if not text.strip():
        raise NotationError(f"{path} is empty; expected {expected}")
    return text


def read_lab(path: str | Path) -> tuple[ChordSegment, ...]:
    """Read a chord label file: lines of `start end label`, seconds, tabs or spaces between.

    Lines that begin with # are comments. Segments may leave gaps; rounding may make neighbours
    overlap by up to 10 ms, which the later one yields. Equal neighbours are joined.

    Raises:
        NotationError: names the file and the line.
    """
    segments: list[ChordSegment] = []
    for number, line in enumerate(read_text(path, "lines of 'start end chord'").splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        where = f"{path}, line {number}"
        fields = line.split(maxsplit=2)
        start_s, end_s = (_number(field) for field in (fields + ["", ""])[:2])
        if len(fields) < 3 or start_s is None or end_s is None:
            raise NotationError(
                f"{where}: expected 'start end chord', such as '0.0 2.5 A:min', got {_short(line)}"
            )
        if not 0 <= start_s <= end_s:
            raise NotationError(f"{where}: expected 0 <= start <= end, got {start_s:g} and {end_s:g}")
        previous_s = segments[-1].end_s if segments else 0.0
        if start_s < previous_s - _OVERLAP_TOLERANCE_S:
            raise NotationError(
                f"{where}: starts at {start_s:g} s, before the end of the chord above it ({previous_s:g} s)"
            )
        try:
            label = parse_chord(fields[2]).label
        except ChordError as error:
            raise NotationError(f"{where}: {error}") from error
        start_s = max(start_s, previous_s)
        if start_s < end_s:  # a chord of no length says nothing
            segments.append(ChordSegment(start_s, end_s, label))
    if not segments:
        raise NotationError(f"{path} holds no chords; expected lines of 'start end chord'")
    return merge_segments(segments)


def read_f0_csv(path: str | Path) -> F0Track:
    """Read a pitch table: columns time (s), f0 (Hz) and, if there, confidence (0 to 1).

    Commas, semicolons, tabs or spaces separate; a first line without numbers is a header; lines
    that begin with # are comments. A frequency of 0, below 0, empty or NaN means unvoiced.

    Raises:
        NotationError: names the file and the line.
    """
    rows: list[tuple[float, float, float]] = []
    header_possible = True
    has_confidence = False
    for number, line in enumerate(read_text(path, "lines of 'time,f0'").splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        fields = [field.strip().strip('"') for field in _split_columns(line)]
        if header_possible and _number(fields[0]) is None and any(c.isalpha() for c in fields[0]):
            header_possible = False
            continue
        header_possible = False
        where = f"{path}, line {number}"
        rows.append(_f0_row(fields, where, rows[-1][0] if rows else None))
        has_confidence |= len(fields) > 2
    if not rows:
        raise NotationError(f"{path} holds no pitches; expected lines of 'time,f0'")
    times_s, f0_hz, confidence = np.array(rows, dtype=np.float64).T
    if not (f0_hz > 0).any():
        raise NotationError(f"{path} holds no voiced pitch; expected a frequency above 0 Hz somewhere")
    return F0Track(times_s, f0_hz, confidence if has_confidence else None)


def _split_columns(line: str) -> list[str]:
    for separator in (",", ";", "\t"):
        if separator in line:
            return line.split(separator)
    return line.split()


def _f0_row(fields: list[str], where: str, previous_s: float | None) -> tuple[float, float, float]:
    if len(fields) < 2:
        raise NotationError(
            f"{where}: expected 'time,f0' such as '0.01,220.5', got {_short(','.join(fields))}"
        )
    time_s = _number(fields[0])
    if time_s is None or time_s < 0:
        raise NotationError(f"{where}: expected a time in seconds >= 0, got {_short(fields[0])}")
    if previous_s is not None and time_s <= previous_s:
        raise NotationError(
            f"{where}: its time {time_s:g} s is not after the {previous_s:g} s of the line above it"
        )
    unvoiced = fields[1].lower() in ("", "nan")
    f0_hz = 0.0 if unvoiced else _number(fields[1])
    if f0_hz is None or f0_hz > _MAX_F0_HZ:
        raise NotationError(f"{where}: expected a frequency in Hz (0 for unvoiced), got {_short(fields[1])}")
    confidence = 1.0
    if len(fields) > 2:
        given = 0.0 if fields[2].lower() in ("", "nan") else _number(fields[2])
        if given is None or not 0 <= given <= 1:
            raise NotationError(f"{where}: expected a confidence from 0 to 1, got {_short(fields[2])}")
        confidence = given
    return time_s, max(f0_hz, 0.0), confidence


def _number(text: str) -> float | None:
    """A finite number, or None."""
    try:
        value = float(text) if text.isascii() and "_" not in text else math.nan
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _short(text: str) -> str:
    return repr(text if len(text) <= 60 else f"{text[:59]}…")
