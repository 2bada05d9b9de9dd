"""Symbols instead of recordings: one entry point for each control, and the table formats.

Chords come from chord charts and `.lab` files, melodies from MIDI and F0 tables, drums from MIDI.
"""

from __future__ import annotations

import re
from pathlib import Path

from features.chart_text import checked_metre
from features.chord_chart import Chart, parse_chord_chart, read_chart
from features.chord_labels import ChordSegment
from features.f0_table import F0Track, read_f0_table
from features.files import is_file, is_folder
from features.label_table import read_label_table
from features.midi import MidiScore, read_midi
from features.suffixes import CHART_SUFFIXES, LAB_SUFFIXES, MIDI_SUFFIXES, TABLE_SUFFIXES
from features.symbols import (
    DrumHit,
    NotationError,
    Note,
    f0_to_salience,
    notes_to_salience,
    read_symbols,
)

__all__ = [
    "ChordSegment",
    "DrumHit",
    "F0Track",
    "MidiScore",
    "NotationError",
    "Note",
    "f0_to_salience",
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

_FILE_ENDING = re.compile(r"\.[A-Za-z][A-Za-z0-9]{1,5}$")


def names_a_file(text: str) -> bool:
    """Whether text for chords is meant as a file: it ends like one, or begins like a path."""
    text = text.strip()
    if "\n" in text or "|" in text or "@" in text or text.startswith(("[", "(")):
        return False
    if _FILE_ENDING.search(text) or text.startswith(("./", "../", "/", "~/")) or "\\" in text:
        return True
    return "/" in text and is_file(text)


def open_chart(source: str | Path, bpm: float = 120.0, beats_per_bar: float = 4) -> Chart:
    """A chart of a label table or a chart in a text file, or of the chart's text itself.

    `bpm` and `beats_per_bar` time a chart that does not say them itself.

    Raises:
        NotationError: names the file, and the line or bar that cannot be read.
    """
    if isinstance(source, str) and not names_a_file(source):
        return read_chart(source, bpm, beats_per_bar)
    path = Path(source)
    if path.suffix.lower() not in LAB_SUFFIXES + CHART_SUFFIXES and not is_folder(path):
        expected = ", ".join(LAB_SUFFIXES + CHART_SUFFIXES)
        raise NotationError(f"{path}: expected chords as {expected}, or a chart such as 'Am | F C | G7'")
    is_lab = path.suffix.lower() in LAB_SUFFIXES
    text = read_symbols(path, "lines of 'start end chord'" if is_lab else "a chord chart")
    try:
        if is_lab:
            chords = tuple(read_label_table(text, str(path)))
            chart = Chart(timed=chords, last_s=checked_metre(bpm, beats_per_bar).bar_s)
        else:
            chart = read_chart(text, bpm, beats_per_bar, str(path))
        chart.segments()  # what is amiss with it is said here, with the file
    except NotationError as error:
        separator = "," if str(error).startswith("line") else ":"
        raise NotationError(f"{path}{separator} {error}") from error
    return chart


def read_chords(
    source: str | Path,
    bpm: float = 120.0,
    beats_per_bar: float = 4,
    duration_s: float | None = None,
    loop: bool = True,
) -> tuple[ChordSegment, ...]:
    """The chords of `open_chart`, played for `duration_s` as `parse_chord_chart` says."""
    return open_chart(source, bpm, beats_per_bar).segments(duration_s, loop)


def is_midi(path: Path) -> bool:
    """Whether a file is meant as MIDI: by the ending of its name, or by how it begins."""
    if path.suffix.lower() in MIDI_SUFFIXES or not is_file(path):
        return path.suffix.lower() in MIDI_SUFFIXES
    try:
        with path.open("rb") as file:
            return file.read(4) == b"MThd"
    except OSError:
        return False


def read_melody(source: str | Path, track: str | int | None = None) -> tuple[Note, ...] | F0Track:
    """A melody from MIDI (notes; `track` picks an instrument) or from an F0 table."""
    path = Path(source)
    if is_midi(path):
        return read_midi(path).melody(track)
    if path.suffix.lower() in TABLE_SUFFIXES:
        return read_f0_table(path)
    raise NotationError(f"{path}: expected a melody as {', '.join(MIDI_SUFFIXES + TABLE_SUFFIXES)}")


def read_drums(source: str | Path) -> tuple[DrumHit, ...]:
    """Drum hits from the drum channel of a MIDI file."""
    path = Path(source)
    if not is_midi(path):
        raise NotationError(f"{path}: expected drums as {', '.join(MIDI_SUFFIXES)}")
    return read_midi(path).drum_hits()


def read_lab(path: str | Path) -> tuple[ChordSegment, ...]:
    """Read a chord label file: lines of `start end chord`, as `read_label_table` reads them.

    Segments may leave gaps; neighbours may overlap by up to 50 ms, which the later one yields.

    Raises:
        NotationError: names the file and the line.
    """
    return open_chart(Path(path)).segments()
