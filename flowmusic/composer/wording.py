"""Other words for what captions speak of: a table, `flowmusic/assets/wording.json`, and draws from it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np

from flowmusic.composer.instruments import PROGRAM_NAMES, family

Words = tuple[str, ...]

_TABLE_FAMILIES = {
    "piano": "piano", "mallets": "mallets", "organ": "organ", "guitar": "guitar", "bass": "bass",
    "strings": "strings", "brass": "brass", "reed": "woodwinds", "flute": "woodwinds", "synth": "synth",
    "pad": "synth",
}  # fmt: skip
_STRING_SECTIONS, _VOICES = frozenset(range(48, 52)), frozenset(range(52, 55))


@dataclass(frozen=True)
class Wording:
    """Phrases by what they stand for; modes are minor and major, tempi slow to fast.

    instruments  by the names of `PROGRAM_NAMES`; `players` have their article
    families     of instruments; moods by 'mode tempo', feelings and modes by mode, tempo_adjectives and
                 tempo_phrases by tempo, scenes by style
    solo         with {x} for the only instrument; `playing`: openings of a sentence, {x} for those who play
    """

    instruments: dict[str, Words]
    players: dict[str, str]
    families: dict[str, Words]
    moods: dict[str, Words]
    feelings: dict[str, Words]
    modes: dict[str, Words]
    tempo_adjectives: dict[str, Words]
    tempo_phrases: dict[str, Words]
    drums: Words
    drumming: Words
    no_drums: Words
    no_melody: Words
    solo: Words
    scenes: dict[str, Words]
    requests: Words
    playing: Words


@cache
def wording() -> Wording:
    """The table, read once."""
    table = json.loads((files("flowmusic") / "assets" / "wording.json").read_text(encoding="utf-8"))
    return Wording(**{name: _frozen(part) for name, part in table.items()})


def _frozen(part: Any) -> Any:
    if isinstance(part, dict):
        return {key: _frozen(value) for key, value in part.items()}
    return tuple(part) if isinstance(part, list) else part


@cache
def families_of(name: str) -> Words:
    """Families of the table that an instrument, by its name, belongs to."""
    found = set()
    for program, known in PROGRAM_NAMES.items():
        if known == name:
            if program in _STRING_SECTIONS:
                found.add("strings")
            if program in _VOICES:
                found.add("choir")
            if family(program) in _TABLE_FAMILIES:
                found.add(_TABLE_FAMILIES[family(program)])
    return tuple(sorted(found))


def pick(options: Words, rng: np.random.Generator) -> str:
    return str(options[int(rng.integers(len(options)))])


@dataclass(frozen=True)
class Draws:
    """Random choices of a caption: what is said, and in which words.

    With generators of their own for the two, the same can be said twice.

    others    None: other words than the plain ones as often as their place says; else how often (0..1)
    """

    facts: np.random.Generator
    words: np.random.Generator
    others: float | None = None

    def chance(self, probability: float) -> bool:
        """Whether something is said."""
        return bool(self.facts.random() < probability)

    def other(self, share: float) -> bool:
        """Whether it is said in other words than the plain ones."""
        return bool(self.words.random() < (share if self.others is None else self.others))

    def word(self, plain: Words, others: Words | str = (), share: float = 0.5) -> str:
        """One of the plain words, or one of the others."""
        options = (others,) if isinstance(others, str) else others
        return pick(options if options and self.other(share) else plain, self.words)


def instrument_words(name: str, draws: Draws) -> str:
    """An instrument as people call it: by its name, another of its names, its player, or its family."""
    table, draw = wording(), draws.words.random()
    if draw < 0.45 and name in table.instruments:
        return pick(table.instruments[name], draws.words)
    if draw < 0.55 and name in table.players:
        return table.players[name]
    if draw < 0.7 and (groups := families_of(name)):
        return pick(table.families[pick(groups, draws.words)], draws.words)
    return name


def solo_words(name: str, draws: Draws) -> str:
    """An instrument that is heard alone."""
    return pick(wording().solo, draws.words).format(x=instrument_words(name, draws))
