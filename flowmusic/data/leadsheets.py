"""Lead sheets of the OpenEWLD format (JSON lines): melody and chords in beats, as `Sheet`s.

A line holds `id`, `by`, `time_signature`, `key_fifths`, `notes` (`beat`, `beats`, `midi`) and
`chords` (`beat`, `symbol`, `root`, `bass`, `pitch_classes`). Beats are quarter notes; symbols are
spelled as music21 does, a minus sign for a flat (`B-7`).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from features.text_files import parse_json, read_lines, unprintable
from flowmusic.composer.generator import Brief
from flowmusic.composer.harmony import Chord, nearest_quality
from flowmusic.composer.instruments import playable_range
from flowmusic.composer.sheet import METRES, Sheet, SheetChord, SheetNote

_METRES = {"4/4": "4/4", "2/2": "4/4", "3/4": "3/4", "2/4": "2/4", "6/8": "6/8", "6/4": "3/4",
           "3/2": "3/4", "12/8": "6/8"}  # fmt: skip


@dataclass(frozen=True)
class LeadSheet:
    """A whole composition as published, in quarter notes from its first bar line."""

    id: str
    metre: str
    tonic: int
    mode: str
    chords: tuple[tuple[float, Chord], ...]
    notes: tuple[SheetNote, ...]


def read_lead_sheets(path: Path) -> list[LeadSheet]:
    """Every lead sheet of a JSON-lines file.

    Raises:
        ValueError: the file is missing or empty, or a line lacks a field; names the line.
    """
    if not path.is_file():
        raise ValueError(f"{path}: expected a JSON-lines file of lead sheets, found none")
    sheets = []
    for number, line in enumerate(read_lines(path, "a JSON-lines file of lead sheets"), start=1):
        if not line.strip():
            continue
        try:
            sheets.append(_parse(parse_json(line)))
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path}, line {number}: not a lead sheet ({error!r})") from error
    if not sheets:
        raise ValueError(f"{path}: expected at least one lead sheet, found none")
    return sheets


def _parse(row: dict[str, Any]) -> LeadSheet:
    signature = str(row["time_signature"])
    if signature not in _METRES:
        raise ValueError(f"time_signature: expected one of {sorted(_METRES)}, got {signature!r}")
    chords = tuple(sorted(((float(c["beat"]), _chord(c)) for c in row["chords"]), key=lambda c: c[0]))
    notes = _monophonic([SheetNote(n["beat"], n["beat"] + n["beats"], int(n["midi"])) for n in row["notes"]])
    if not chords or not notes:
        raise ValueError(f"expected chords and notes, got {len(chords)} and {len(notes)}")
    if character := unprintable(str(row["id"])):
        raise ValueError(f"id: expected a text without control characters, got {character}")
    tonic, mode = _find_key(int(row["key_fifths"]), chords)
    return LeadSheet(str(row["id"]), _METRES[signature], tonic, mode, chords, notes)


def _chord(row: dict[str, Any]) -> Chord:
    root = int(row["root"]) % 12
    intervals = frozenset((int(pc) - root) % 12 for pc in row["pitch_classes"])
    quality = nearest_quality(intervals)
    bass = int(row["bass"]) % 12
    return Chord(root, quality, bass)


def _find_key(fifths: int, chords: tuple[tuple[float, Chord], ...]) -> tuple[int, str]:
    """Tonic and mode. Signatures are unreliable here, so the chords choose among all 24 keys."""
    best, best_score = (0, "major"), -1.0
    final = chords[-1][1]
    for tonic in range(12):
        for mode, steps in (("major", (0, 2, 4, 5, 7, 9, 11)), ("minor", (0, 2, 3, 5, 7, 8, 10, 11))):
            scale = {(tonic + s) % 12 for s in steps}
            inside = [len(scale.intersection(c.pitch_classes)) / len(c.pitch_classes) for _, c in chords]
            home = final.root == tonic and (final.quality.startswith("min") == (mode == "minor"))
            tonics = np.mean(
                [c.root == tonic and c.quality.startswith("min") == (mode == "minor") for _, c in chords]
            )
            score = float(np.mean(inside) + 0.6 * home + 0.5 * tonics)
            score += 0.1 * ((7 * fifths + (9 if mode == "minor" else 0)) % 12 == tonic)
            if score > best_score:
                best, best_score = (tonic, mode), score
    return best


def _monophonic(notes: list[SheetNote]) -> tuple[SheetNote, ...]:
    ordered = sorted(notes, key=lambda note: note.start)
    ends = [note.start for note in ordered[1:]] + [float("inf")]
    cut = [SheetNote(n.start, min(n.end, e), n.midi) for n, e in zip(ordered, ends, strict=True)]
    return tuple(n for n in cut if n.end - n.start > 0.05)


def excerpt(lead_sheet: LeadSheet, brief: Brief, rng: np.random.Generator) -> Sheet:
    """30 to 60 s of a composition from a bar line, transposed by up to a tritone at random."""
    metre = METRES[lead_sheet.metre]
    bar = metre.bar_quarters
    bar_s = 60 / brief.bpm / metre.beat_quarters * bar
    total = int(np.ceil(max(lead_sheet.notes[-1].end, lead_sheet.chords[-1][0] + 1) / bar))
    n_bars = min(total, max(4, int(float(rng.uniform(30.0, 57.0)) / bar_s)))
    first = int(rng.integers(0, (total - n_bars) // 2 + 1)) * 2
    start, end = first * bar, (first + n_bars) * bar
    shift = int(rng.integers(-6, 6))
    starts = [beat for beat, _ in lead_sheet.chords] + [float("inf")]
    spans = tuple(
        SheetChord(max(beat, start) - start, min(after, end) - start, chord.transposed(shift))
        for (beat, chord), after in zip(lead_sheet.chords, starts[1:], strict=True)
        if min(after, end) - max(beat, start) > 1e-3
    )
    inside = [n for n in lead_sheet.notes if start - 1e-6 <= n.start < end - 0.1]
    octave = _octave([n.midi + shift for n in inside], brief.lead_program, rng)
    melody = tuple(
        SheetNote(n.start - start, min(n.end, end) - start, n.midi + shift + octave) for n in inside
    )
    tonic = (lead_sheet.tonic + shift) % 12
    return Sheet(f"openewld:{lead_sheet.id}", metre, tonic, lead_sheet.mode, n_bars, spans, melody)


def _octave(pitches: list[int], program: int, rng: np.random.Generator) -> int:
    """The octave shift that puts most notes in the instrument's range."""
    if not pitches:
        return 0
    low, high = playable_range(program)
    centre = float(np.mean(pitches))

    def outside(octave: int) -> float:
        spill = sum(max(0, low - p - octave) + max(0, p + octave - high) for p in pitches)
        beyond = max(0, 48 - min(pitches) - octave) + max(0, max(pitches) + octave - 90)
        return spill + 1000.0 * beyond + 0.02 * abs(centre + octave - 69 - rng.normal(0, 6))

    return min((-24, -12, 0, 12, 24), key=outside)
