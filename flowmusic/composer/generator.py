"""Our own composer: a form, a progression and a melody, from one random generator."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from flowmusic.composer.harmony import write_progression
from flowmusic.composer.instruments import LEADS, playable_range
from flowmusic.composer.melody_writer import MelodyPlan, write_melody
from flowmusic.composer.sheet import METRES, Metre, Section, Sheet, SheetChord
from flowmusic.composer.style_table import STYLES
from flowmusic.composer.styles import WILD, Style

WILD_SHARE = 0.1
MODES = ("major", "minor", "dorian", "mixolydian", "lydian", "phrygian")
MODE_WEIGHTS = (0.44, 0.36, 0.07, 0.07, 0.03, 0.03)


@dataclass(frozen=True)
class Brief:
    """The choices made before composing; the arranger reads them too."""

    style_name: str
    style: Style
    metre: Metre
    bpm: float
    solo: str  # "none", "melody" (the lead alone), "chords" (one chord instrument alone), "drums"
    has_drums: bool
    has_melody: bool
    lead_program: int

    @property
    def quarter_s(self) -> float:
        """Seconds of a quarter note."""
        return 60 / self.bpm / self.metre.beat_quarters


def choose_style(rng: np.random.Generator, metre: str | None = None) -> tuple[str, Style]:
    """A style at random (one in ten is a wild mixture), fit for `metre` if one is given."""
    if rng.random() < WILD_SHARE:
        return "experimental", WILD
    names = [n for n, s in STYLES.items() if metre is None or metre in s.metres]
    name = str(rng.choice(names)) if names else ""
    return (name, STYLES[name]) if name else ("experimental", WILD)


def make_brief(
    rng: np.random.Generator,
    metre_name: str | None = None,
    with_melody: bool = False,
    style_name: str | None = None,
) -> Brief:
    """Draws style, metre, tempo and which layers exist; `with_melody` forbids its absence."""
    if style_name is None:
        style_name, style = choose_style(rng, metre_name)
    else:
        style = STYLES.get(style_name, WILD)
    metre = METRES[metre_name or str(rng.choice(style.metres))]
    low, high = style.bpm
    if rng.random() < 0.1:
        low, high = 60.0, 180.0
    bpm = float(np.round(rng.uniform(low, high), 1))
    if metre.name == "6/8":
        bpm = float(np.clip(bpm * 0.7, 40, 110))
    kinds, weights = ("none", "melody", "chords", "drums"), (0.88, 0.05, 0.05, 0.02)
    solo = str(rng.choice(kinds, p=weights))
    if with_melody and solo in ("chords", "drums"):
        solo = "none"
    return Brief(
        style_name,
        style,
        metre,
        bpm,
        solo,
        has_drums=solo == "drums" or (solo == "none" and rng.random() > 0.13),
        has_melody=solo == "melody" or (solo == "none" and (with_melody or rng.random() > 0.07)),
        lead_program=int(rng.choice(style.leads if rng.random() < 0.75 else LEADS)),
    )


def plan_sections(
    n_bars: int, brief: Brief, melody_share: float, rng: np.random.Generator
) -> tuple[Section, ...]:
    """Divides the bars into sections of 2 to 8 bars and says which layers play in each."""
    sections: list[Section] = []
    first = 0
    while first < n_bars:
        size = int(rng.choice([2, 4, 4, 4, 8] if n_bars > 12 else [2, 2, 4, 4]))
        end = n_bars if n_bars - first - size < 2 else first + size
        place = "intro" if first == 0 else ("outro" if end == n_bars else "body")
        layers = _layers(brief, place, melody_share, rng)
        sections.append(Section(first, end, layers, float(rng.uniform(0.35, 1.0))))
        first = end
    return tuple(sections)


def _layers(brief: Brief, place: str, melody_share: float, rng: np.random.Generator) -> frozenset[str]:
    if brief.solo != "none":
        return frozenset({"melody": {"melody"}, "chords": {"comp"}, "drums": {"drums"}}[brief.solo])
    layers = {"bass", "comp"}
    if brief.has_drums:
        layers.add("drums")
    if brief.has_melody and rng.random() < melody_share:
        layers.add("melody")
    if rng.random() < 0.45:
        layers.add("pad")
    if rng.random() < 0.35:
        layers.add("comp2")
    draw = rng.random()
    edge = 0.2 if place != "body" else 0.07
    if draw < edge:  # a part steps out: no drums, drums alone, no bass, lead alone
        removed = str(rng.choice(["drums", "bass", "backing", "comp", "rhythm"]))
        if removed == "backing":
            layers -= {"bass", "comp", "comp2", "pad", "melody"} if brief.has_drums else {"bass"}
        elif removed == "rhythm":
            layers -= {"drums", "bass"}
        elif removed == "comp":
            layers -= {"comp", "comp2"}
            layers.add("pad")
        else:
            layers.discard(removed)
    return frozenset(layers)


def write_chords(
    tonic: int, mode: str, metre: Metre, n_bars: int, colour: float, rng: np.random.Generator
) -> tuple[SheetChord, ...]:
    """Progressions in two alternating strains, each with its own harmonic rhythm."""
    bar = metre.bar_quarters
    strains = []
    for _ in range(2):
        length = float(
            rng.choice([0.5, 1, 1, 1, 1, 2, 2, 4] if metre.beats_per_bar in (2, 4) else [1, 1, 2, 4])
        )
        n_chords = int(rng.choice([4, 4, 4, 8, 3, 6]))
        strains.append((length, write_progression(tonic, mode, n_chords, colour, rng)))
    spans: list[SheetChord] = []
    place, strain = 0.0, 0
    while place < n_bars * bar - 1e-6:
        bars_per_chord, progression = strains[strain % 2]
        for chord in progression:
            length = bars_per_chord * bar
            if bars_per_chord == 1 and rng.random() < 0.08 and metre.beats_per_bar == 4:
                length = bar * 0.5
            elif place % bar > 1e-6:
                length = bar - place % bar  # return to the bar line
            end = min(place + length, n_bars * bar)
            if end - place > 1e-6:
                spans.append(SheetChord(place, end, chord))
            place = end
        strain += int(rng.random() < 0.5)
    return tuple(spans)


def write_sheet(
    rng: np.random.Generator, brief: Brief, mode: str | None = None, least_s: float = 0.0
) -> tuple[Sheet, tuple[Section, ...]]:
    """An own composition of 30 to 50 s, or of `least_s` where that is longer, with its form.

    `mode` is one of `MODES`; None: any.
    """
    bar_s = brief.metre.bar_quarters * brief.quarter_s
    n_bars = max(4, round(float(rng.uniform(29.0, 47.0)) / bar_s), math.ceil(least_s / bar_s) + 1)
    tonic = int(rng.integers(12))
    drawn = str(rng.choice(MODES, p=MODE_WEIGHTS))
    mode = mode or drawn
    sections = plan_sections(n_bars, brief, 0.82, rng)
    colour = float(np.clip(brief.style.colour + rng.normal(0, 0.2), 0, 1))
    chords = write_chords(tonic, mode, brief.metre, n_bars, colour, rng)
    low, high = playable_range(brief.lead_program)
    span = int(rng.integers(12, 22))
    low = int(rng.integers(low, max(low + 1, high - span)))
    follows = bool(rng.random() > 0.2)
    # Fast songs get no runs of sixteenths.
    chances = (0.18, 0.4, 0.3, 0.12) if brief.bpm < 125 else (0.3, 0.45, 0.25)
    plan = MelodyPlan(
        density=int(rng.choice(np.arange(len(chances)), p=chances)),
        low=low,
        high=min(high, low + span),
        rest_share=float(rng.choice([0.02, 0.1, 0.2])),
        follows_chords=follows,
        legato=float(rng.choice([0.97, 0.9, 0.7])),
    )
    sheet = Sheet("generator", brief.metre, tonic, mode, n_bars, chords, (), follows)
    return replace(sheet, melody=write_melody(sheet, sections, plan, rng)), sections
