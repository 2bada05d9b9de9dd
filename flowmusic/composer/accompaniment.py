"""Chord patterns and bass lines: which notes, when, for every bar of a sheet."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np

from flowmusic.composer.harmony import Chord
from flowmusic.composer.sheet import Section, Sheet, SheetChord, SheetNote, chord_at

COMP_PATTERNS = (
    "block", "pulse", "offbeat", "arpeggio", "arpeggio16", "up-down", "alberti", "strum",
    "comping", "charleston", "oom-pah", "pad", "stabs", "tresillo", "montuno", "broken",
)  # fmt: skip
BASS_PATTERNS = ("root", "pulse8", "quarters", "root-fifth", "octave", "walking", "tresillo", "funk")
_TRESILLO = (0.0, 1.5, 3.0)
# Broken chords: the order of the voices, the step in quarters, and how many steps a note rings.
_RUNNING: dict[str, tuple[tuple[int, ...], float, float]] = {
    "arpeggio": ((0, 1, 2, 3), 0.5, 1.0),
    "arpeggio16": ((0, 1, 2, 3, 4, 3, 2, 1), 0.25, 1.6),
    "up-down": ((0, 1, 2, 3, 2, 1), 0.5, 1.8),
    "alberti": ((0, 2, 1, 2), 0.5, 1.0),
}
_BassHit = tuple[float, float, str]  # start, length, role


@dataclass(frozen=True)
class Touch:
    """When to play and how long, in quarters of the bar, and which voices (None: all of them)."""

    start: float
    length: float
    voices: tuple[int, ...] | None = None
    accent: float = 1.0


def _running(order: tuple[int, ...], step: float, bar: float, ring: float) -> list[Touch]:
    count = round(bar / step)
    return [
        Touch(k * step, step * ring, (order[k % len(order)],), 1.1 if k == 0 else 1.0) for k in range(count)
    ]


def _strummed(bar: float, rng: np.random.Generator) -> list[Touch]:
    touches = [Touch(k * 0.5, 0.48, None, 1.1 if k % 2 == 0 else 0.85) for k in range(int(bar * 2))]
    return [t for t in touches if t.start == 0 or rng.random() < 0.72]


def _comped(bar: float, rng: np.random.Generator) -> list[Touch]:
    places = [k * 0.5 for k in range(int(bar * 2))]
    chosen = [p for p in places if rng.random() < 0.32] or [0.0]
    return [Touch(p, float(rng.choice([0.3, 0.5, 1.0]))) for p in chosen]


def _oom_pah(bar: float, beat: float) -> list[Touch]:
    """The pah alone: the bass plays the oom."""
    n_beats = round(bar / beat)
    offs = range(1, n_beats) if n_beats in (3, 5) else range(1, n_beats, 2)
    return [Touch(k * beat, beat * 0.5) for k in offs] or [Touch(0.0, bar)]


def _montuno(bar: float) -> list[Touch]:
    places = (0.0, 0.5, 1.5, 2.5, 3.5)
    return [Touch(p, 0.4, None if k % 2 else (0, 3)) for k, p in enumerate(places) if p < bar]


def _steady(pattern: str, bar: float, beat: float) -> list[Touch]:
    """The patterns that are the same in every bar."""
    if pattern in ("block", "pad"):
        return [Touch(0.0, bar)]
    if pattern in _RUNNING:
        order, step, ring = _RUNNING[pattern]
        return _running(order, step, bar, ring)
    beats = [k * beat for k in range(round(bar / beat))]
    if pattern == "pulse":
        return [Touch(start, beat * 0.85) for start in beats]
    if pattern == "offbeat":
        return [Touch(start + beat / 2, beat * 0.3) for start in beats]
    if pattern == "broken":
        return [Touch(0.0, bar, (0,)), *(Touch(s + beat / 2, beat * 0.5, (1, 2, 3)) for s in beats)]
    if pattern == "charleston":
        return [Touch(0.0, 0.9), Touch(1.5, 0.4)]
    if pattern == "tresillo":
        return [Touch(p, 0.6) for p in _TRESILLO if p < bar]
    if pattern == "oom-pah":
        return _oom_pah(bar, beat)
    if pattern == "montuno":
        return _montuno(bar)
    raise ValueError(f"expected a pattern of {COMP_PATTERNS}, got {pattern!r}")


def comp_bar(pattern: str, bar: float, beat: float, rng: np.random.Generator) -> list[Touch]:
    """One bar of a chord pattern; `bar` and `beat` are lengths in quarters."""
    if pattern == "strum":
        return _strummed(bar, rng)
    if pattern == "comping":
        return _comped(bar, rng)
    if pattern == "stabs":
        return [Touch(0.0, 0.25, None, 1.2), *([Touch(bar - 0.5, 0.25)] if rng.random() < 0.5 else [])]
    return _steady(pattern, bar, beat)


def voicing(chord: Chord, centre: float, n_voices: int, open_position: bool) -> list[int]:
    """Chord tones near MIDI note `centre`, low to high, repeated an octave up as needed."""
    pcs = list(chord.pitch_classes)
    if len(pcs) > 4:
        pcs.remove((chord.root + 7) % 12)  # a ninth chord can spare its fifth
    lowest = int(centre) - 6
    notes = sorted(lowest + (pc - lowest) % 12 for pc in pcs)
    if open_position and len(notes) >= 3:
        notes = sorted([notes[0], *(n + 12 if k % 2 == 0 else n for k, n in enumerate(notes[1:]))])
    k = 0
    while len(notes) < n_voices:
        notes.append(notes[k] + 12)
        k += 1
    return sorted(set(notes))


def write_comp(
    sheet: Sheet,
    sections: tuple[Section, ...],
    layer: str,
    pattern: str,
    centre: float,
    rng: np.random.Generator,
) -> list[SheetNote]:
    """The notes of a chord instrument wherever `layer` plays."""
    open_position = bool(rng.random() < 0.3)
    n_voices = int(rng.integers(3, 5)) if pattern not in ("arpeggio16",) else 5
    bar = sheet.metre.bar_quarters
    song_bar = comp_bar(pattern, bar, sheet.metre.beat_quarters, rng)
    strum = pattern == "strum"
    notes: list[SheetNote] = []
    for section in sections:
        if layer not in section.layers:
            continue
        for index in range(section.first_bar, section.end_bar):
            vary = rng.random() < 0.15
            touches = comp_bar(pattern, bar, sheet.metre.beat_quarters, rng) if vary else song_bar
            for touch in _with_changes(touches, sheet.chords, index * bar, bar, pattern):
                span = chord_at(sheet.chords, touch.start)
                if span is None:
                    continue
                end = min(touch.start + touch.length, span.end)
                voices = voicing(span.chord, centre, n_voices, open_position)
                notes += _played(touch, end, voices, section.intensity, strum)
    return notes


def _with_changes(
    touches: list[Touch], chords: tuple[SheetChord, ...], offset: float, bar: float, pattern: str
) -> list[Touch]:
    """The bar's touches at their place in the song; held chords are struck again at changes."""
    placed = [Touch(t.start + offset, t.length, t.voices, t.accent) for t in touches]
    if pattern not in ("block", "pad", "charleston", "stabs"):
        return placed
    for span in chords:
        if offset < span.start < offset + bar and all(abs(t.start - span.start) > 0.2 for t in placed):
            placed.append(Touch(span.start, offset + bar - span.start))
    return placed


def _played(touch: Touch, end: float, voices: list[int], intensity: float, strum: bool) -> list[SheetNote]:
    chosen = voices if touch.voices is None else [voices[v % len(voices)] for v in touch.voices]
    accent = touch.accent * (0.7 + 0.3 * intensity)
    delay = 0.03 if strum else 0.0
    return [
        SheetNote(touch.start + k * delay, end, midi, accent)
        for k, midi in enumerate(dict.fromkeys(chosen))
        if end - touch.start - k * delay > 0.05
    ]


def _bass_bar(pattern: str, bar: float, beat: float, rng: np.random.Generator) -> list[_BassHit]:
    """The hits of one bar."""
    n_beats = round(bar / beat)
    if pattern == "root":
        return [(0.0, bar, "root")]
    if pattern == "pulse8":
        return [(k * 0.5, 0.45, "root") for k in range(round(bar * 2))]
    if pattern == "quarters":
        return [(k * beat, beat * 0.9, "root") for k in range(n_beats)]
    if pattern == "root-fifth":
        half = beat * max(1, n_beats // 2)
        return [(0.0, half * 0.9, "root"), *([(half, (bar - half) * 0.9, "fifth")] if half < bar else [])]
    if pattern == "octave":
        return [(k * 0.5, 0.4, "root" if k % 2 == 0 else "octave") for k in range(round(bar * 2))]
    if pattern == "walking":
        roles = ["root", *(str(r) for r in rng.choice(["third", "fifth", "octave", "step"], size=n_beats))]
        roles[n_beats - 1] = "approach"
        return [(k * beat, beat * 0.92, roles[k]) for k in range(n_beats)]
    if pattern == "tresillo":
        return [(p, 0.9, "root" if k < 2 else "fifth") for k, p in enumerate(_TRESILLO) if p < bar]
    if pattern == "funk":
        places = [k * 0.25 for k in range(1, int(bar * 4)) if rng.random() < 0.3]
        roles = [
            str(r) for r in rng.choice(["root", "octave", "fifth"], size=len(places), p=[0.6, 0.25, 0.15])
        ]
        return [(0.0, 0.4, "root"), *((p, 0.22, r) for p, r in zip(places, roles, strict=True))]
    raise ValueError(f"expected a bass pattern of {BASS_PATTERNS}, got {pattern!r}")


def _bass_note(span: SheetChord, role: str, low: int, following: Chord | None) -> int:
    """A bass note for a role; the lowest octave starts at MIDI note `low`."""
    chord = span.chord
    root = low + (chord.bass - low) % 12
    if role == "octave":
        return root + 12
    plain = chord.bass == chord.root
    if role == "fifth" and plain:
        return low + (chord.pitch_classes[2] - low) % 12
    if role == "third" and plain:
        return low + (chord.pitch_classes[1] - low) % 12
    if role == "step" and plain:
        return root + 2
    if role == "approach" and following is not None and following.bass != chord.bass:
        return low + (following.bass - low) % 12 + (1 if following.bass > chord.bass else -1)
    return root


def write_bass(
    sheet: Sheet, sections: tuple[Section, ...], pattern: str, rng: np.random.Generator
) -> list[SheetNote]:
    """The bass line wherever the layer `bass` plays; a chord's own bass at every change."""
    low = int(rng.choice([28, 31, 33, 36]))
    bar, beat = sheet.metre.bar_quarters, sheet.metre.beat_quarters
    song_bar = _bass_bar(pattern, bar, beat, rng)
    notes: list[SheetNote] = []
    for section in sections:
        if "bass" not in section.layers:
            continue
        accent = 0.75 + 0.25 * section.intensity
        for index in range(section.first_bar, section.end_bar):
            fresh = pattern == "walking" or rng.random() < 0.15
            hits = _bass_bar(pattern, bar, beat, rng) if fresh else song_bar
            for hit in _with_bass_changes(hits, sheet.chords, index * bar, bar):
                notes += _bass_played(hit, sheet.chords, low, beat, accent)
    return _monophonic(notes)


def _with_bass_changes(
    hits: list[_BassHit], chords: tuple[SheetChord, ...], offset: float, bar: float
) -> list[_BassHit]:
    """The bar's hits at their place in the song, and a root wherever a chord changes without one."""
    placed = [(offset + start, length, role) for start, length, role in hits]
    starts = [round(span.start, 3) for span in chords]
    placed += [
        (start, offset + bar - start, "root")
        for start in starts
        if offset < start < offset + bar and all(abs(p[0] - start) > 0.2 for p in placed)
    ]
    return sorted(placed)


def _bass_played(
    hit: _BassHit, chords: tuple[SheetChord, ...], low: int, beat: float, accent: float
) -> list[SheetNote]:
    start, length, role = hit
    span = chord_at(chords, start)
    if span is None:
        return []
    after = chord_at(chords, span.end + 1e-3)
    near_end = span.end - start < beat + 1e-3
    if abs(start - span.start) < 1e-3 or (role == "approach" and not near_end):
        role = "root"
    midi = _bass_note(span, role, low, after.chord if after else None)
    return [SheetNote(start, min(start + length, span.end), midi, accent)]


def _monophonic(notes: list[SheetNote]) -> list[SheetNote]:
    ordered = sorted(notes, key=lambda note: note.start)
    cut = [SheetNote(a.start, min(a.end, b.start), a.midi, a.accent) for a, b in itertools.pairwise(ordered)]
    return [note for note in [*cut, *ordered[-1:]] if note.end - note.start > 0.05]
