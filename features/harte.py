"""Harte's chord qualities ('min7', 'maj(9)', '(1,5)') as sets of intervals, and back.

Syntax: C. Harte et al., "Symbolic representation of musical chords", ISMIR 2005.
Intervals are semitones above the root, 0..11. `mir_eval.chord` compares labels (`chord_labels.majmin`) but
does not read them here: it has no way back from intervals to a name, reads neither maj11 nor aug7, puts an
11th into 13th chords, and its import would cost every command that takes a chord 0.3 s.
"""

from __future__ import annotations

import re

# The order breaks ties where two names fit a set of intervals equally well. A 13th chord has no
# 11th beside a major third, as it is played; Harte's list has it, mir_eval drops all three.
HARTE_SHORTHANDS: dict[str, frozenset[int]] = {
    name: frozenset(intervals)
    for name, intervals in {
        "maj": (0, 4, 7),
        "min": (0, 3, 7),
        "7": (0, 4, 7, 10),
        "maj7": (0, 4, 7, 11),
        "min7": (0, 3, 7, 10),
        "dim": (0, 3, 6),
        "aug": (0, 4, 8),
        "sus4": (0, 5, 7),
        "sus2": (0, 2, 7),
        "maj6": (0, 4, 7, 9),
        "min6": (0, 3, 7, 9),
        "minmaj7": (0, 3, 7, 11),
        "dim7": (0, 3, 6, 9),
        "hdim7": (0, 3, 6, 10),
        "9": (0, 4, 7, 10, 2),
        "maj9": (0, 4, 7, 11, 2),
        "min9": (0, 3, 7, 10, 2),
        "11": (0, 4, 7, 10, 2, 5),
        "min11": (0, 3, 7, 10, 2, 5),
        "13": (0, 4, 7, 10, 2, 9),
        "maj13": (0, 4, 7, 11, 2, 9),
        "min13": (0, 3, 7, 10, 2, 5, 9),
        "5": (0, 7),
        "1": (0,),
    }.items()
}
_READ_ONLY_SHORTHANDS = {
    "maj11": frozenset((0, 4, 7, 11, 2, 5)),
    "aug7": frozenset((0, 4, 8, 10)),
    "": frozenset((0,)),
}

_MAJOR_SCALE = (0, 2, 4, 5, 7, 9, 11)
_INTERVAL_DEGREES = ("1", "b2", "2", "b3", "3", "4", "b5", "5", "b6", "6", "b7", "7")
_HARTE_LIST = re.compile(r"(?P<shorthand>[a-z]*[0-9]*)(?:\((?P<degrees>[^()]*)\))?")
_DEGREE = re.compile(r"(?P<omit>\*?)(?P<accidentals>b{0,2}|#{0,2})(?P<number>1[0-3]|[1-9])")


def degree_to_interval(degree: str) -> int | None:
    """Return the semitones 0..11 of a scale degree such as 'b3' or '#11'; None if it is not one."""
    match = _DEGREE.fullmatch(degree)
    if match is None or match["omit"]:
        return None
    number = int(match["number"]) - 1
    return (_MAJOR_SCALE[number % 7] + match["accidentals"].count("#") - match["accidentals"].count("b")) % 12


def interval_to_degree(interval: int) -> str:
    """Name an interval as a bass degree: 4 -> '3', 10 -> 'b7'."""
    return _INTERVAL_DEGREES[interval % 12]


def parse_harte_quality(text: str) -> frozenset[int] | None:
    """Read the intervals of what follows 'C:' in a Harte label, without the bass; None for other text."""
    match = _HARTE_LIST.fullmatch(text)
    if match is None or not text:
        return None
    shorthand, degrees = match["shorthand"], match["degrees"]
    base = HARTE_SHORTHANDS.get(shorthand, _READ_ONLY_SHORTHANDS.get(shorthand))
    if base is None or (degrees is None and not shorthand):
        return None
    added: set[int] = set(base)
    omitted: set[int] = set()
    for degree in [] if degrees is None else [part.strip() for part in degrees.split(",")]:
        interval = degree_to_interval(degree.removeprefix("*"))
        if interval is None:
            return None
        (omitted if degree.startswith("*") else added).add(interval)
    return frozenset(added - omitted)


def _added_name(interval: int, intervals: frozenset[int]) -> str:
    """Name a tone that the shorthand lacks by its degree: above the octave where that tone is a colour."""
    names = {1: "b9", 2: "9", 5: "11", 8: "#5"}
    names |= {3: "#9"} if 4 in intervals else {}
    names |= {6: "#11", 8: "b13"} if 7 in intervals else {}
    names |= {9: "13"} if intervals & {10, 11} else {}
    return names.get(interval, interval_to_degree(interval))


def harte_quality(intervals: frozenset[int]) -> str:
    """Return Harte's name of a set of intervals; `parse_harte_quality` gives the set back.

    The shorthand nearest to the set, with the degrees that make up the difference.
    """

    def cost(name: str) -> float:
        base = HARTE_SHORTHANDS[name]
        bare = 2 if name in ("1", "5") and base != intervals else 0
        return len(intervals - base) + 2.1 * len(base - intervals) + bare

    shorthand = min(HARTE_SHORTHANDS, key=cost)
    base = HARTE_SHORTHANDS[shorthand]
    degrees = [f"*{interval_to_degree(i)}" for i in sorted(base - intervals)]
    degrees += [_added_name(i, intervals) for i in sorted(intervals - base)]
    return f"{shorthand}({','.join(degrees)})" if degrees else shorthand
