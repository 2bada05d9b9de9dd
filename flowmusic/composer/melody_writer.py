"""Melodies: rhythm from motifs, pitch from the chords, or deliberately not."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from flowmusic.composer.harmony import MINOR_MODES, SCALES, scale_pitch_classes
from flowmusic.composer.sheet import Section, Sheet, SheetNote, chord_at

_LENGTHS = (4.0, 3.0, 2.0, 1.5, 1.0, 0.75, 0.5, 1 / 3, 0.25)
# Chance of each length by density: long lines, songs, busy lines, runs.
_DENSITIES: tuple[tuple[float, ...], ...] = (
    (0.22, 0.16, 0.32, 0.08, 0.18, 0.0, 0.04, 0.0, 0.0),
    (0.03, 0.05, 0.16, 0.13, 0.33, 0.03, 0.26, 0.01, 0.0),
    (0.0, 0.01, 0.06, 0.08, 0.24, 0.06, 0.43, 0.04, 0.08),
    (0.0, 0.0, 0.03, 0.03, 0.12, 0.06, 0.34, 0.06, 0.36),
)
_INTERVALS = np.array([-5, -4, -3, -2, -1, 0, 1, 2, 3, 4, 5])
_STEPWISE = np.array([0.015, 0.025, 0.05, 0.1, 0.25, 0.1, 0.26, 0.11, 0.05, 0.025, 0.015])


@dataclass(frozen=True)
class MelodyPlan:
    """How a song's melody behaves: density 0..3, MIDI range, share of rests, obedience."""

    density: int
    low: int
    high: int
    rest_share: float
    follows_chords: bool
    legato: float


@dataclass(frozen=True)
class _Slot:
    start: float
    length: float
    rest: bool


def _rhythm(bar: float, plan: MelodyPlan, rng: np.random.Generator) -> list[_Slot]:
    """Fill a bar of `bar` quarters with notes and rests."""
    weights = np.array(_DENSITIES[plan.density])
    slots: list[_Slot] = []
    place = 0.0
    while place < bar - 1e-6:
        off_eighth = abs(place * 2 - round(place * 2)) > 1e-6
        length = _step_to_grid(place) if off_eighth else _draw_length(place, bar - place, weights, rng)
        length = min(length, bar - place)
        slots.append(_Slot(place, length, bool(rng.random() < plan.rest_share)))
        place += length
    return slots


def _step_to_grid(place: float) -> float:
    """The length that leads back from a sixteenth to the next eighth, from a triplet to the beat."""
    if abs(place * 4 % 1) < 1e-6:
        return float(np.floor(place * 2 + 1 - 1e-6) / 2 - place)
    return min(1 / 3, float(np.floor(place + 1 - 1e-6) - place))


def _draw_length(place: float, left: float, weights: np.ndarray, rng: np.random.Generator) -> float:
    """A note length that fits into what is left of the bar; no triplets from the off-beat."""
    on_beat = abs(place - round(place)) <= 1e-6
    allowed = [
        (value, weight)
        for value, weight in zip(_LENGTHS, weights, strict=True)
        if value <= left + 1e-6 and weight > 0 and (on_beat or abs(value - 1 / 3) > 1e-6)
    ]
    if not allowed:
        return left
    chances = np.array([weight for _, weight in allowed])
    return float(rng.choice([value for value, _ in allowed], p=chances / chances.sum()))


def _section_rhythm(section: Section, bar: float, plan: MelodyPlan, rng: np.random.Generator) -> list[_Slot]:
    """Motifs of one or two bars, repeated with changes; a breath at the end of phrases."""
    period = int(rng.choice([1, 2, 2, 4]))
    motif = [_rhythm(bar, plan, rng) for _ in range(period)]
    slots: list[_Slot] = []
    for index in range(section.n_bars):
        chosen = motif[index % period] if rng.random() < 0.7 else _rhythm(bar, plan, rng)
        phrase_end = index % 4 == 3
        if phrase_end and rng.random() < 0.6:
            held = float(rng.choice([bar * 0.5, bar * 0.75, bar]))
            chosen = [_Slot(0.0, held, False)]
        if rng.random() < 0.04:
            chosen = []
        offset = (section.first_bar + index) * bar
        slots += [_Slot(offset + s.start, s.length, s.rest) for s in chosen]
    return slots


def _ladder(pitch_classes: tuple[int, ...], low: int, high: int) -> list[int]:
    allowed = set(pitch_classes)
    return [midi for midi in range(low, high + 1) if midi % 12 in allowed]


def _own_scale(sheet: Sheet, rng: np.random.Generator) -> tuple[int, ...]:
    """The key's scale, or in a quarter of the songs its pentatonic."""
    if rng.random() >= 0.25:
        return scale_pitch_classes(sheet.tonic, sheet.mode)
    steps = (0, 3, 5, 7, 10) if sheet.mode in MINOR_MODES else (0, 2, 4, 7, 9)
    return tuple((sheet.tonic + step) % 12 for step in steps)


def _foreign_scale(rng: np.random.Generator) -> tuple[int, ...]:
    """A scale that has nothing to do with the song's chords."""
    draw = rng.random()
    if draw < 0.35:
        return tuple(range(12))
    if draw < 0.5:
        return tuple((int(rng.integers(2)) + 2 * k) % 12 for k in range(6))
    return scale_pitch_classes(int(rng.integers(12)), str(rng.choice(sorted(SCALES))))


def _nearest(values: list[int], target: float) -> int:
    return min(values, key=lambda midi: abs(midi - target))


def write_melody(
    sheet: Sheet, sections: tuple[Section, ...], plan: MelodyPlan, rng: np.random.Generator
) -> tuple[SheetNote, ...]:
    """A monophonic melody for the sections whose layers name it."""
    bar = sheet.metre.bar_quarters
    scale = _own_scale(sheet, rng) if plan.follows_chords else _foreign_scale(rng)
    midi = float(rng.integers(plan.low + 4, max(plan.low + 5, plan.high - 4)))
    centre = (plan.low + plan.high) / 2
    notes: list[SheetNote] = []
    for section in sections:
        if "melody" not in section.layers:
            continue
        for slot in _section_rhythm(section, bar, plan, rng):
            if slot.rest:
                continue
            strong = slot.length >= 1.0 or slot.start % 1.0 < 1e-6
            midi = _next_pitch(sheet, slot, midi, centre, scale, plan, strong, rng)
            length = slot.length * (plan.legato if rng.random() < 0.85 else 0.55)
            accent = (1.08 if slot.start % bar < 1e-6 else 1.0) * (0.85 + 0.15 * section.intensity)
            notes.append(SheetNote(slot.start, slot.start + max(length, 0.15), int(midi), accent))
    return tuple(notes)


def _next_pitch(
    sheet: Sheet, slot: _Slot, midi: float, centre: float, scale: tuple[int, ...],
    plan: MelodyPlan, strong: bool, rng: np.random.Generator,
) -> float:  # fmt: skip
    span = chord_at(sheet.chords, slot.start)
    pull = (centre - midi) / max(plan.high - plan.low, 1)
    if plan.follows_chords and span is not None:
        tones = span.chord.pitch_classes
        if strong and rng.random() < 0.72:
            return float(_nearest(_ladder(tones, plan.low, plan.high), midi + rng.normal(5 * pull, 3.0)))
        scale = _bent_to(tones, scale)
    ladder = _ladder(scale, plan.low, plan.high)
    place = ladder.index(_nearest(ladder, midi))
    step = int(rng.choice(_INTERVALS, p=_STEPWISE / _STEPWISE.sum()))
    if not plan.follows_chords:
        step = int(rng.integers(-6, 7)) if rng.random() < 0.6 else step
    if rng.random() < abs(pull):
        step = int(np.sign(pull)) * abs(step)
    return float(ladder[int(np.clip(place + step, 0, len(ladder) - 1))])


def _bent_to(tones: tuple[int, ...], scale: tuple[int, ...]) -> tuple[int, ...]:
    """The scale with a chord's own tones in place of their neighbours (leading notes, borrowings)."""
    if len(scale) <= 5:
        return scale
    neighbours = {(pc + step) % 12 for pc in tones for step in (1, -1)} - set(tones)
    return tuple(sorted((set(scale) - (neighbours - {scale[0]})) | set(tones)))
