"""The usual spellings of chord qualities ('m7b5', 'maj7#11', '9-', 'diminished') as sets of intervals.

Intervals are semitones above the root, 0..11.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field


class QualityError(ValueError):
    """Text after a root that means no chord; the message says why."""


_TOKENS = re.compile(
    r"""
    (?P<space>[,\s]+|(?i:alter(?=\s*[b\#+-])|dom(?:inant)?(?=\s*\d)|triad$|chord$))
  | (?P<open>\() | (?P<close>\))
  | (?P<alt>(?i:alt))
  | (?P<add>(?i:add(?:ed)?)\s*(?P<add_degree>[b\#+-]?(?:1[13]|[2-79])))
  | (?P<omit>(?i:no|omit)\s*(?P<omit_degree>11|[13579]))
  | (?P<sus>(?i:sus(?:pended)?\s*)(?P<sus_degree>24|42|2(?!\d)|4|))
  | (?P<hdim>[øØ]|(?i:hdim|half[-\s]?dim(?:inished)?)|h(?=7|9|11|$)) | (?P<dim>(?i:dim(?:inished)?)|[°o])
  | (?P<change>[b\#](?:1[13]|[245679])|[+-]5)
  | (?P<aug>(?i:aug(?:mented)?))
  | (?P<maj>(?i:major|maj|ma(?!dd|ug|lt))|M(?![iI])|j(?=7)) | (?P<delta>[△Δ∆^])
  | (?P<min>(?i:minor|min|mi)|m)
  | (?P<sign>[+-](?:1[13]|9)) | (?P<plus_seven>\+7) | (?P<plus>\+) | (?P<dash>-)
  | (?P<signed>(?:1[13]|[59])[+-](?!\d))
  | (?P<number>69|1[13]|[245679])
    """,
    re.VERBOSE,
)
_POWER, _ROOT_ONLY = frozenset((0, 7)), frozenset((0,))
_BARE = {"5": _POWER, "power": _POWER, "pedal": _ROOT_ONLY, "ped": _ROOT_ONLY, "1": _ROOT_ONLY}
_STACKS: dict[str, set[int]] = {"7": set(), "9": {2}, "11": {2, 5}, "13": {2, 9}}
_OMITTED = {"1": {0}, "3": {3, 4}, "5": {6, 7, 8}, "7": {10, 11}, "9": {2}, "11": {5}}
_DEGREE_TONES = {"2": 2, "3": 4, "4": 5, "5": 7, "6": 9, "9": 2, "11": 5, "13": 9}
_NUMBER_WORDS = {
    "second": "2",
    "fourth": "4",
    "five": "5",
    "fifth": "5",
    "sixth": "6",
    "seven": "7",
    "seventh": "7",
    "nine": "9",
    "ninth": "9",
    "eleventh": "11",
    "thirteenth": "13",
    "flat": "b",
    "sharp": "#",
}
_NUMBER_WORD = re.compile(rf"\s*({'|'.join(sorted(_NUMBER_WORDS, reverse=True))})", re.IGNORECASE)
_ORDINAL = re.compile(r"(?<=\d)(?:nd|th)\b", re.IGNORECASE)


@dataclass
class _Build:
    """The chord while its tokens are read."""

    third: frozenset[int] | None = None
    major: bool = False
    minor: bool = False
    seventh: int | None = None  # 10 stands for "the seventh of this chord"; settled at the end
    diminished: bool = False
    fifths: set[int] = field(default_factory=set)
    extras: set[int] = field(default_factory=set)
    stacked: set[int] = field(default_factory=set)  # the 9th, 11th and 13th that a number implies
    omitted: set[int] = field(default_factory=set)
    numbered: bool = False
    depth: int = 0

    def set_third(self, *intervals: int) -> None:
        if self.third is not None or (self.major and intervals[0] == 3):
            raise QualityError("it names its third twice")
        self.third = frozenset(intervals)
        self.minor = intervals == (3,)

    def intervals(self) -> frozenset[int]:
        if self.minor and self.major and self.seventh is None:
            raise QualityError("it is both minor and major")
        third = self.third if self.third is not None else {4}
        tones = {0} | third | (self.fifths or {7}) | self.extras | self.stacked
        if self.seventh is not None:
            tones.add(11 if self.major else self.seventh)
        return frozenset(tones - self.omitted)


def _add_number(build: _Build, number: str) -> None:
    """Read a plain number: the first outside brackets stacks thirds up to it, later ones add one tone."""
    first = not build.numbered and build.depth == 0
    build.numbered = True
    if number == "69":
        build.extras |= {9, 2}
    elif number == "4" and first and build.third is None:
        build.set_third(5)
    elif number == "7" or (first and number in ("9", "11", "13")):
        build.seventh = build.seventh or (9 if build.diminished else 10)
        build.stacked |= _STACKS[number] | ({5} if number == "13" and build.minor else set())
    else:
        build.extras.add(_DEGREE_TONES[number])


def _add_change(build: _Build, degree: str) -> None:
    """Read an altered degree such as 'b5' or '+9': it replaces what the chord has of that degree."""
    shift = 1 if degree[0] in "#+" else -1
    number = degree[1:]
    if number == "5":
        build.fifths.add(7 + shift)
    elif number == "7":
        build.seventh, build.major = 10, shift > 0
    else:
        build.stacked.discard(_DEGREE_TONES[number])
        build.extras.add((_DEGREE_TONES[number] + shift) % 12)


def _add_signed(build: _Build, text: str) -> None:
    """Read a degree with its sign behind it, '5-' or '9+'; the first number but 5 implies the seventh."""
    if text[:-1] != "5" and not build.numbered and build.depth == 0:
        build.seventh, build.numbered = build.seventh or 10, True
    _add_change(build, text[-1] + text[:-1])


def _add_triad(build: _Build, kind: str) -> None:
    if kind == "aug":
        if build.diminished:
            raise QualityError("it is both diminished and augmented")
        build.fifths.add(8)
    elif kind == "min":
        build.set_third(3)
    else:
        build.set_third(3)
        build.fifths.add(6)
        build.diminished = kind == "dim"
        if kind == "hdim":
            build.seventh = 10


def _add_word(build: _Build, kind: str, match: re.Match[str]) -> None:
    if kind == "alt":
        build.seventh, build.extras, build.omitted = 10, build.extras | {1, 3, 8}, {7}
    elif kind == "add":
        degree = match["add_degree"]
        if degree[0] in "b#+-":
            _add_change(build, degree)
        elif degree == "7":
            build.seventh = build.seventh or 10
        else:
            build.extras.add(_DEGREE_TONES[degree])
    elif kind == "omit":
        build.omitted |= _OMITTED[match["omit_degree"]]
    elif kind == "sus":
        build.set_third(*{"2": (2,), "4": (5,), "": (5,)}.get(match["sus_degree"], (2, 5)))


def _tokens(text: str) -> Iterator[tuple[str, re.Match[str]]]:
    position = 0
    while position < len(text):
        match = _TOKENS.match(text, position)
        if match is None or match.lastgroup is None:
            raise QualityError(f"{text[position:]!r} is not a known quality")
        kind = next(name for name, value in match.groupdict().items() if value is not None)
        yield kind, match
        position = match.end()


def parse_quality(text: str) -> frozenset[int]:
    """Read the intervals of a usual spelling of a quality: '', 'm7b5', 'maj7#11', 'sus4', '+', '7(b9)' ...

    Raises:
        QualityError: the text is none, or contradicts itself.
    """
    text = _NUMBER_WORD.sub(lambda match: _NUMBER_WORDS[match[1].lower()], _ORDINAL.sub("", text))
    if text.strip("() ") in _BARE:
        return _BARE[text.strip("() ")]
    build = _Build()
    for kind, match in _tokens(text):
        if kind in ("open", "close"):
            build.depth += 1 if kind == "open" else -1
            if build.depth not in (0, 1):
                raise QualityError("its brackets do not match")
        elif kind == "number":
            _add_number(build, match.group())
        elif kind == "change":
            _add_change(build, match.group())
        elif kind in ("maj", "delta"):
            if build.major:
                raise QualityError("it says major twice")
            build.major = True
            build.seventh = 10 if kind == "delta" else build.seventh
        elif kind == "signed":
            _add_signed(build, match.group())
        elif kind == "sign" and build.numbered:
            _add_change(build, match.group())
        elif (kind == "plus_seven" and build.minor) or (kind == "plus" and build.minor and build.seventh):
            build.seventh, build.major = (
                10,
                True,
            )  # 'Am+7' and 'Am7+' have a major seventh, 'A+7' an aug triad
        elif kind == "plus_seven":
            _add_triad(build, "aug")
            _add_number(build, "7")
        elif kind == "sign":  # 'A-9' is a minor ninth chord, 'A7-9' has a flat ninth
            _add_triad(build, "aug" if match.group()[0] == "+" else "min")
            _add_number(build, match.group()[1:])
        elif kind in ("min", "dim", "hdim", "aug", "plus", "dash"):
            _add_triad(build, {"plus": "aug", "dash": "min"}.get(kind, kind))
        elif kind != "space":
            _add_word(build, kind, match)
    if build.depth:
        raise QualityError("its brackets do not match")
    return build.intervals()
