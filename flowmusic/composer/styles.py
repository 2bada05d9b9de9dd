"""What a style of music is: which tempi, grooves, patterns and instruments go together."""

from __future__ import annotations

from dataclasses import dataclass

from flowmusic.composer.accompaniment import BASS_PATTERNS, COMP_PATTERNS
from flowmusic.composer.grooves import GROOVES, SIX_EIGHTHS, THREE_QUARTERS
from flowmusic.composer.instruments import KIT_NAMES, LEADS


@dataclass(frozen=True)
class Style:
    """A style: its names in captions and what an arranger may choose from.

    `bpm` and `swing` are ranges; `swing` is the place of the second half of a beat (0.5 straight,
    2/3 triplets); `colour` 0..1 says how many sevenths and chromatic chords; programs are General
    MIDI numbers from 0.
    """

    names: tuple[str, ...]
    metres: tuple[str, ...]
    bpm: tuple[float, float]
    grooves: tuple[str, ...]
    comp: tuple[str, ...]
    bass: tuple[str, ...]
    chord_programs: tuple[int, ...]
    bass_programs: tuple[int, ...]
    leads: tuple[int, ...]
    pads: tuple[int, ...]
    kits: tuple[int, ...]
    swing: tuple[float, float] = (0.5, 0.5)
    colour: float = 0.3


# Everything at once: the bold mixtures that no style would make.
WILD = Style(
    names=("experimental music", "unusual mixture", "eclectic piece"),
    metres=("4/4", "4/4", "3/4", "6/8", "2/4", "5/4"),
    bpm=(60, 180),
    grooves=tuple(GROOVES),
    comp=COMP_PATTERNS,
    bass=BASS_PATTERNS,
    chord_programs=(24, 25, 26, 27, 0, 1, 4, 5, 48, 49, 50, 51, 6, 8, 11, 12, 16, 21, 46, 61, 90, 108),
    bass_programs=(32, 33, 34, 35, 36, 38, 39, 43, 58),
    leads=LEADS,
    pads=(48, 49, 50, 52, 89, 91, 92, 94),
    kits=tuple(KIT_NAMES),
    swing=(0.5, 0.67),
    colour=0.5,
)


def grooves_for(style: Style, metre: str) -> tuple[str, ...]:
    """The style's grooves that fit a metre, or any that fit where it has none of its own."""
    spare: tuple[str, ...]
    if metre == "3/4":
        fitting, spare = set(THREE_QUARTERS), THREE_QUARTERS
    elif metre == "6/8":
        fitting, spare = set(SIX_EIGHTHS), SIX_EIGHTHS
    else:
        fitting = set(GROOVES) - set(THREE_QUARTERS) - set(SIX_EIGHTHS)
        spare = ("rock", "pop", "percussion", "march2")
    return tuple(name for name in style.grooves if name in fitting) or spare
