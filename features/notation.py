"""Symbols instead of recordings: one entry point for each control, and the table formats.

Chords come from chord charts and `.lab` files, melodies from MIDI and F0 tables, drums from MIDI.
"""

from __future__ import annotations

import re
from pathlib import Path

from features.chord_chart import parse_chord_chart
from features.chord_labels import ChordSegment
from features.drum_templates import hits_to_drum_energies
from features.f0_table import F0Track, read_f0_table
from features.midi import MidiScore, read_midi
from features.symbols import (
    DrumHit,
    NotationError,
    Note,
    f0_to_salience,
    notes_to_salience,
    read_symbols,
)
from features.timed_chords import read_label_table, timed_segments

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
    "read_f0_table",
    "read_lab",
    "read_melody",
    "read_midi",
]

MIDI_SUFFIXES = (".mid", ".midi", ".smf", ".kar", ".rmi")
TABLE_SUFFIXES = (".csv", ".tsv", ".f0")
CHART_SUFFIXES = (".txt", ".chart", ".chords", ".cho", ".chordpro", ".crd")
LAB_SUFFIXES = (".lab",)
_FILE_ENDING = re.compile(r"\.[A-Za-z][A-Za-z0-9]{1,5}$")


def names_a_file(text: str) -> bool:
    """Whether text for chords is meant as a file: it ends like one, or begins like a path."""
    text = text.strip()
    if "\n" in text or "|" in text or "@" in text or text.startswith(("[", "(")):
        return False
    return _FILE_ENDING.search(text) is not None or text.startswith(("./", "../", "/", "~")) or "\\" in text


def read_chords(
    source: str | Path,
    bpm: float = 120.0,
    beats_per_bar: float = 4,
    duration_s: float | None = None,
    loop: bool = True,
) -> tuple[ChordSegment, ...]:
    """Chords from a label file, a chart in a text file, or the chart's text itself.

    The further arguments time a chart, as in `parse_chord_chart`.

    Raises:
        NotationError: names the file, and the line or bar that cannot be read.
    """
    if isinstance(source, str) and not names_a_file(source):
        return parse_chord_chart(source, bpm, beats_per_bar, duration_s, loop)
    path = Path(source)
    if path.suffix.lower() in LAB_SUFFIXES:
        return read_lab(path, beats_per_bar * 60.0 / bpm, duration_s)
    if path.suffix.lower() not in CHART_SUFFIXES:
        expected = ", ".join(LAB_SUFFIXES + CHART_SUFFIXES)
        raise NotationError(f"{path}: expected chords as {expected}, or a chart such as 'Am | F C | G7'")
    text = read_symbols(path, "a chord chart")
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
        return read_f0_table(path)
    raise NotationError(f"{path}: expected a melody as {', '.join(MIDI_SUFFIXES + TABLE_SUFFIXES)}")


def read_drums(source: str | Path) -> tuple[DrumHit, ...]:
    """Drum hits from the drum channel of a MIDI file."""
    path = Path(source)
    if path.suffix.lower() not in MIDI_SUFFIXES:
        raise NotationError(f"{path}: expected drums as {', '.join(MIDI_SUFFIXES)}")
    return read_midi(path).drum_hits()


def read_lab(
    path: str | Path, last_s: float = 2.0, duration_s: float | None = None
) -> tuple[ChordSegment, ...]:
    """Read a chord label file: lines of `start end chord`, as `read_label_table` reads them.

    Segments may leave gaps; rounding may make neighbours overlap by up to 10 ms, which the later one yields.
    Lines of `start chord` hold till the next; the last one to `duration_s`, or for `last_s`.

    Raises:
        NotationError: names the file and the line.
    """
    try:
        segments = timed_segments(
            read_label_table(read_symbols(path, "lines of 'start end chord'"), str(path)), last_s, duration_s
        )
    except NotationError as error:
        raise NotationError(str(error) if str(path) in str(error) else f"{path}, {error}") from error
    if not segments:
        raise NotationError(f"{path} holds no chords; expected lines of 'start end chord'")
    return segments
