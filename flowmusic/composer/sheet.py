"""A lead sheet: chords and melody in quarter notes, before anyone plays it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from flowmusic.composer.harmony import Chord


@dataclass(frozen=True)
class Metre:
    """A time signature; `beat_quarters` is the length of the felt beat in quarter notes."""

    name: str
    beats_per_bar: int
    beat_quarters: float

    @property
    def bar_quarters(self) -> float:
        return self.beats_per_bar * self.beat_quarters


METRES: dict[str, Metre] = {
    "4/4": Metre("4/4", 4, 1.0),
    "3/4": Metre("3/4", 3, 1.0),
    "6/8": Metre("6/8", 2, 1.5),
    "2/4": Metre("2/4", 2, 1.0),
    "5/4": Metre("5/4", 5, 1.0),
}


@dataclass(frozen=True)
class SheetChord:
    """A chord from `start` to `end`, in quarter notes from the start of the sheet."""

    start: float
    end: float
    chord: Chord


@dataclass(frozen=True)
class SheetNote:
    """A melody note, in quarter notes from the start of the sheet; `accent` scales loudness."""

    start: float
    end: float
    midi: int
    accent: float = 1.0


@dataclass(frozen=True)
class Section:
    """Bars `first_bar`..`end_bar` (excluded), and which layers play there, how strongly."""

    first_bar: int
    end_bar: int
    layers: frozenset[str]
    intensity: float

    @property
    def n_bars(self) -> int:
        return self.end_bar - self.first_bar


@dataclass(frozen=True)
class Sheet:
    """A composition without an arrangement. Chords are contiguous or leave silent gaps."""

    source: str
    metre: Metre
    tonic: int
    mode: str
    n_bars: int
    chords: tuple[SheetChord, ...]
    melody: tuple[SheetNote, ...]
    melody_follows_chords: bool = True


@dataclass(frozen=True)
class TimeMap:
    """Quarter notes to seconds: tempo, swing of the eighths or sixteenths, and a slow drift."""

    quarter_s: float
    swing: float = 0.5
    swing_quarters: float = 1.0
    drift: float = 0.0
    drift_quarters: float = 32.0

    def seconds(self, quarters: float) -> float:
        """Monotone in `quarters`; swing moves what is off the beat, never the beat itself."""
        cell, place = divmod(quarters / self.swing_quarters, 1.0)
        late = max(0.0, 2 * place - 1)
        place = min(2 * place, 1.0) * self.swing + late * (1 - self.swing)
        warped = (cell + place) * self.swing_quarters
        phase = 2 * np.pi * warped / self.drift_quarters
        wander = self.drift * self.drift_quarters / (2 * np.pi) * (1 - np.cos(phase))
        return float(self.quarter_s * (warped + wander))


def chord_at(chords: tuple[SheetChord, ...], quarters: float) -> SheetChord | None:
    """The chord sounding at a position, or None in a gap."""
    for span in chords:
        if span.start - 1e-6 <= quarters < span.end - 1e-6:
            return span
    return None
