"""Drum grooves: one line of steps an instrument, realised bar by bar with fills and feel.

A step is a sixteenth: `x` a stroke, `X` an accent, `o` a ghost note, `.` nothing. A line that is
shorter than the bar repeats, a longer one is cut, so 4/4 grooves serve 2/4 and 5/4 too.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from flowmusic.composer.instruments import DRUM_KEYS
from flowmusic.composer.sheet import Section

STEPS_PER_QUARTER = 4
_LOUDNESS = {"x": 92.0, "X": 116.0, "o": 46.0}
_TIMEKEEPERS = ("hat", "ride", "shaker", "cabasa", "pedal", "tambourine")

GROOVES: dict[str, dict[str, str]] = {
    "rock": {"kick": "X.......x.x.....", "snare": "....X.......X...", "hat": "x.x.x.x."},
    "rock8": {"kick": "X..x..x.....x...", "snare": "....X.......X..o", "hat": "X.x.X.x."},
    "hard rock": {"kick": "X.x...x.X.x...x.", "snare": "....X.......X...", "open": "x.x.x.x."},
    "metal": {"kick": "X.xxX.xxX.xxX.xx", "snare": "....X.......X...", "ride": "X...X...X...X..."},
    "pop": {"kick": "X......xx.......", "snare": "....X.......X...", "hat": "xoxoxoxo"},
    "ballad": {"kick": "X.........x.....", "rim": "........X.......", "hat": "x...x..."},
    "soul": {"kick": "X..x......xx....", "snare": "....X..o.o..X..o", "hat": "x.xxx.x."},
    "funk": {"kick": "X.x.......x..x..", "snare": "....X..o.o.oX..o", "hat": "xoxoxoxo"},
    "funk2": {"kick": "X..x..x...x.....", "snare": "....X..o....X.o.", "hat": "x.xxx.xx", "open": "......x."},
    "breakbeat": {"kick": "X.x.......xx....", "snare": "....X..o.o..X..o", "hat": "x.x.x.x."},
    "drum and bass": {"kick": "X.........x.....", "snare": "....X.......X...", "hat": "x.xox.xo"},
    "half-time": {"kick": "X.....x.........", "snare": "........X.......", "hat": "x.x.x.x."},
    "trap": {"kick": "X.....x...x..x..", "clap": "........X.......", "hat": "x.x.x.xxx.xxxoxo"},
    "boom bap": {"kick": "X..x...x..x.....", "snare": "....X.......X...", "hat": "x.x.x.x.x.x.x.xx"},
    "house": {"kick": "X...", "clap": "....X...", "open": "..x."},
    "disco": {"kick": "X...", "snare": "....X...", "hat": "x.o.", "open": "..x."},
    "techno": {"kick": "X...", "hat": "o.xo", "rim": "...x..x...x..x.."},
    "synthwave": {"kick": "X...", "snare": "....X...", "hat": "xxxx", "tom3": "..............xx"},
    "swing": {"ride": "x...x.x.", "pedal": "....x...", "kick": "o...o...", "snare": "......o......o.."},
    "swing2": {"ride": "x...x.x.x.x.x.x.", "pedal": "....x...", "snare": "..o.......o...o."},
    "shuffle": {"kick": "X.....x.x.....x.", "snare": "....X...", "hat": "x.x."},
    "train": {"kick": "X.......", "snare": "oooXoooX", "hat": "..x."},
    "country": {"kick": "X.......", "snare": "....X.o.", "hat": "x.x."},
    "bossa": {"kick": "X..xX..x", "rim": "x..x..x...x..x..", "hat": "xoxo"},
    "samba": {"kick": "x..xX..x", "snare": "o.xoxo.xo.xoxo.x", "shaker": "XoxxXoxx"},
    "latin": {"kick": "x.....x.", "cowbell": "X.x.x.x.X.xxx.x.", "conga_hi": "..x...xx",
        "conga_lo": "......x...x....."},
    "salsa": {"claves": "..X.X...X..X..X.", "conga_mute": "x...x...", "conga_hi": "..x...xx",
        "timbale": "........x.x.x.x."},
    "cha-cha": {"kick": "X.......", "cowbell": "X...x...", "conga_hi": "......xx", "cabasa": "x.x."},
    "reggae": {"kick": "........X.......", "rim": "........X.......", "hat": "..x...x.",
        "open": "..............x."},
    "ska": {"kick": "X.......", "snare": "....X...", "hat": "..x."},
    "march": {"kick": "X.......", "snare": "x.x.X.xxx.xxX.x.", "crash": "X..............."},
    "march2": {"kick2": "X.......", "snare": "..x...xx"},
    "tom groove": {"kick": "X.......x.......", "tom5": "x..x..x.x..x..x.", "tom3": "......x.......xx"},
    "four toms": {"tom6": "X.x.....X.x.....", "tom4": "....X.x.....X.xx", "kick": "X..."},
    "percussion": {"shaker": "xoxo", "bongo_hi": "x..xx.x.", "bongo_lo": "......x.....x...",
        "triangle": "x.......x......."},
    "brushes": {"snare": "o.o.x.o.", "pedal": "....x...", "kick": "o......."},
    "tango": {"kick": "X.......", "snare": "x.....x.x...x.xx"},
    "bolero": {"snare": "x.xxx.x.x.xxxxxx", "kick": "X......."},
    "waltz": {"kick": "X...........", "snare": "....x...x...", "hat": "x...x...x..."},
    "jazz waltz": {"ride": "x...x.x.x...", "pedal": "....x.......", "kick": "o...........",
        "snare": "......o....."},
    "viennese": {"kick": "X...........", "rim": "....x...x...", "triangle": "x..........."},
    "rock three": {"kick": "X.....x.....", "snare": "....X...X...", "hat": "x.x.x.x.x.x."},
    "half-time three": {"kick": "X.....x.....", "snare": "........X...", "hat": "x.x.x.x.x.x."},
    "six-eight": {"kick": "X.....x...x.", "snare": "......X.....", "hat": "x.x.x.x.x.x."},
    "six-eight ballad": {"kick": "X...........", "rim": "......X.....", "ride": "x.x.x.x.x.x."},
    "six-eight folk": {"kick": "X.....x.....", "tambourine": "....x.....x.", "shaker": "x.o.x.x.o.x."},
    "afro": {"bell": "x.x.xx.x.x.x", "conga_hi": "....x.....x.", "conga_lo": "x.......x...",
        "kick": "X.....X....."},
}  # fmt: skip

THREE_QUARTERS = ("waltz", "jazz waltz", "viennese", "rock three", "half-time three")
SIX_EIGHTHS = ("six-eight", "six-eight ballad", "six-eight folk", "afro")


@dataclass(frozen=True)
class Stroke:
    """A drum stroke in quarter notes; loudness as a MIDI velocity before humanising."""

    start: float
    key: int
    loudness: float


def _bar(lines: dict[str, str], bar_quarters: float) -> list[Stroke]:
    n_steps = round(bar_quarters * STEPS_PER_QUARTER)
    return [
        Stroke(step / STEPS_PER_QUARTER, DRUM_KEYS[name], _LOUDNESS[line[step % len(line)]])
        for name, line in lines.items()
        for step in range(n_steps)
        if line[step % len(line)] != "."
    ]


def _varied(lines: dict[str, str], rng: np.random.Generator) -> dict[str, str]:
    """A song's own version of a groove: another timekeeper, a few strokes more or fewer."""
    varied = {}
    for name, line in lines.items():
        swap = name in _TIMEKEEPERS and rng.random() < 0.3
        target = str(rng.choice(["hat", "ride", "shaker", "pedal", "tambourine"])) if swap else name
        steps = list(line)
        for k, step in enumerate(steps):
            if step == "." and rng.random() < 0.025:
                steps[k] = "o"
            elif step in "xo" and rng.random() < 0.06:
                steps[k] = "."
        varied[target] = "".join(steps)
    return varied


def _fill(bar_quarters: float, n_beats: int, rng: np.random.Generator) -> list[Stroke]:
    """A fill over the last `n_beats` quarters of a bar."""
    start = max(0.0, bar_quarters - n_beats)
    step = float(rng.choice([0.25, 0.25, 0.5, 1 / 3]))
    names = str(rng.choice(["toms", "snare", "mixed", "kick"]))
    order = ["snare", "tom1", "tom2", "tom3", "tom4", "tom5", "tom6"]
    strokes = []
    count = round((bar_quarters - start) / step)
    for k in range(count):
        if rng.random() < 0.15:
            continue
        rise = 72 + 40 * k / max(count, 1)
        if names == "toms":
            name = order[min(len(order) - 1, k * len(order) // max(count, 1))]
        elif names == "snare":
            name = "snare"
        elif names == "kick":
            name = "kick" if k % 2 else "snare"
        else:
            name = str(rng.choice(order))
        strokes.append(Stroke(start + k * step, DRUM_KEYS[name], rise))
    return strokes


def write_drums(
    groove: str, sections: tuple[Section, ...], bar_quarters: float, rng: np.random.Generator
) -> list[Stroke]:
    """The strokes of a whole song: the groove where drums play, fills before a new section."""
    if groove not in GROOVES:
        raise ValueError(f"expected a groove of {sorted(GROOVES)}, got {groove!r}")
    song_lines = _varied(GROOVES[groove], rng)
    fills = rng.random() < 0.75
    strokes: list[Stroke] = []
    for section in sections:
        if "drums" not in section.layers:
            continue
        lines = _varied(song_lines, rng) if rng.random() < 0.5 else song_lines
        if section.intensity < 0.5 and rng.random() < 0.5 and len(lines) > 1:
            dropped = str(rng.choice(sorted(lines)))
            lines = {name: line for name, line in lines.items() if name != dropped}
        if rng.random() < 0.6:
            crash = DRUM_KEYS[str(rng.choice(["crash", "crash", "crash2", "open"]))]
            strokes.append(Stroke(section.first_bar * bar_quarters, crash, 104.0))
        strokes += _section(lines, section, bar_quarters, fills, rng)
    return strokes


def _section(
    lines: dict[str, str],
    section: Section,
    bar_quarters: float,
    fills: bool,
    rng: np.random.Generator,
) -> list[Stroke]:
    strokes: list[Stroke] = []
    for index in range(section.n_bars):
        bar = _bar(lines, bar_quarters)
        last = index == section.n_bars - 1
        if fills and (rng.random() < 0.6 if last else index % 4 == 3 and rng.random() < 0.4):
            n_beats = int(rng.integers(1, max(2, int(bar_quarters)) + 1))
            bar = [s for s in bar if s.start < bar_quarters - n_beats - 1e-6]
            bar += _fill(bar_quarters, n_beats, rng)
        elif last and rng.random() < 0.12:
            bar = [s for s in bar if s.start < bar_quarters / 2]  # a break
        offset = (section.first_bar + index) * bar_quarters
        scale = 0.75 + 0.25 * section.intensity
        strokes += [Stroke(s.start + offset, s.key, s.loudness * scale) for s in bar]
    return strokes
