"""A composition for a text: what words say of harmony, rhythm and tune becomes chords, drums and a melody.

    P(song | text)  ~  P(song) * product over attributes a of (P(a | text) / P(a)) ** SHARPNESS

The style is drawn from what the text says of it; of songs in it, drawn from the composer that wrote the
training songs, one is chosen by these weights. Of sheets for that song one is chosen whose players play in
the clip, and whose mode is heard in it, where the text speaks of one: a major key that dwells on its sixth
degree is heard as minor.
"""

from __future__ import annotations

import math
import re
import zlib
from dataclasses import dataclass, replace

import numpy as np
import torch

from features.chord_labels import ChordSegment
from features.controls import CONTROL_CHANNELS, Controls
from features.frames import FrameGrid
from features.references import Reference, open_reference
from features.symbols import DrumHit, Note
from flowmusic.composer.arranger import HARMONIC_LAYERS, arrange
from flowmusic.composer.captions import tempo_word
from flowmusic.composer.generator import MODE_WEIGHTS, MODES, WILD_SHARE, Brief, make_brief, write_sheet
from flowmusic.composer.harmony import MINOR_MODES
from flowmusic.composer.reader import Evidence
from flowmusic.composer.score import Score
from flowmusic.composer.sheet import Section, Sheet
from flowmusic.composer.style_table import STYLES

N_BRIEFS = 400
SHARPNESS = 1.5
"""Evidence counts so many times: with once, one song in twenty has drums where words forbid them."""
N_SHEETS = 24
CLEAR_SHARE = 0.4
"""Of the time on the tonic's chord, from which on a mode is as clear as it gets."""
FULLNESS = 8.0
"""A sheet in whose time all play has exp(FULLNESS) times the odds of one in which nobody does."""
_MOST_SAID = 6.0  # a mode is said surely enough at odds of exp(6)
_SEED = 0x636F6D70  # beside the seed of the noise: another stream of numbers
_BPM = re.compile(r"(\d{2,3}(?:\.\d+)?)\s*(?:bpm|beats per minute)\b", re.IGNORECASE)
_SLOWEST, _FASTEST = 40.0, 240.0


@dataclass(frozen=True)
class Composition:
    """What was composed, and in which style, key, tempo and metre."""

    style: str
    score: Score
    references: tuple[Reference, ...]

    @property
    def parts(self) -> tuple[str, ...]:
        """Which controls the song has."""
        return tuple(item.role for item in self.references)

    def rests(self, duration_s: float) -> Controls:
        """Controls that say who does not play: silent drums, where the song has none."""
        n_frames = FrameGrid.from_duration(duration_s).n_frames
        silent = torch.zeros(n_frames, CONTROL_CHANNELS["drums"]) if self.score.drums is None else None
        return Controls(n_frames, drums=silent)


def tempo_of(text: str) -> float | None:
    """A tempo that a text states as a number, beats a minute; None without one that can be played."""
    found = _BPM.search(text)
    bpm = float(found[1]) if found else math.nan
    return bpm if _SLOWEST <= bpm <= _FASTEST else None


def compose(
    text: str,
    evidence: Evidence,
    duration_s: float,
    seed: int,
    bpm: float | None = None,
    steady: bool = False,
) -> Composition:
    """A song of at least `duration_s` seconds for a text and what it says; `bpm` is a tempo that is sure.

    Another text or another seed is another song. With `steady` the tempo does not drift, as that of one
    song in four does.
    """
    rng = np.random.default_rng([seed, _SEED, zlib.crc32(" ".join(text.lower().split()).encode())])
    brief = _choose_brief(evidence, rng)
    if bpm is not None:
        brief = replace(brief, bpm=bpm)
    modes = {mode: evidence["mode"]["minor" if mode in MINOR_MODES else "major"] for mode in MODES}
    mode = _choose(dict(zip(MODES, MODE_WEIGHTS, strict=True)), modes, rng)
    sheet, sections = _choose_sheet(brief, mode, duration_s, evidence["mode"], rng)
    score = arrange(sheet, sections, brief, 1, rng, steady)
    return Composition(brief.style_name, score, _references(score))


def _choose_sheet(
    brief: Brief, mode: str, duration_s: float, modes: dict[str, float], rng: np.random.Generator
) -> tuple[Sheet, tuple[Section, ...]]:
    said = min(abs(modes["minor"] - modes["major"]), _MOST_SAID)
    end = duration_s / brief.quarter_s  # every sheet is longer
    written = [write_sheet(rng, brief, mode, duration_s) for _ in range(N_SHEETS)]
    log_weights = []
    for sheet, sections in written:
        clear = min(1.0, tonic_share(sheet, end) / CLEAR_SHARE)
        log_weights.append(SHARPNESS * said * clear + FULLNESS * fullness(brief, sections, end))
    weights = np.exp(np.array(log_weights) - max(log_weights))
    return written[int(rng.choice(N_SHEETS, p=weights / weights.sum()))]


def tonic_share(sheet: Sheet, end: float) -> float:
    """Share of the time up to `end`, in quarters, that a sheet spends on its tonic's chord."""
    third = 3 if sheet.mode in MINOR_MODES else 4
    spans = [
        max(0.0, min(span.end, end) - span.start)
        for span in sheet.chords
        if span.chord.root == sheet.tonic and (sheet.tonic + third) % 12 in span.chord.pitch_classes
    ]
    return sum(spans) / end


def fullness(brief: Brief, sections: tuple[Section, ...], end: float) -> float:
    """Share of the time up to `end`, in quarters, that those who play in a song do play: their mean."""
    parts = [HARMONIC_LAYERS] if brief.solo in ("none", "chords") else []
    parts += [frozenset({"drums"})] if brief.has_drums else []
    parts += [frozenset({"melody"})] if brief.has_melody else []
    bar = brief.metre.bar_quarters
    played = 0.0
    for section in sections:
        length = max(0.0, min(section.end_bar * bar, end) - section.first_bar * bar)
        played += length * sum(bool(part & section.layers) for part in parts)
    return played / (end * len(parts))


def _choose_brief(evidence: Evidence, rng: np.random.Generator) -> Brief:
    usual = {name: (1 - WILD_SHARE) / len(STYLES) for name in STYLES} | {"experimental": WILD_SHARE}
    style = _choose(usual, evidence["style"], rng)
    briefs = [make_brief(rng, style_name=style) for _ in range(N_BRIEFS)]
    log_weights = np.array([_log_weight(brief, evidence) for brief in briefs])
    weights = np.exp(SHARPNESS * (log_weights - log_weights.max()))
    return briefs[int(rng.choice(N_BRIEFS, p=weights / weights.sum()))]


def _choose(usual: dict[str, float], evidence: dict[str, float], rng: np.random.Generator) -> str:
    """One of the values, which are usual so often, after what is said of them."""
    weights = np.array([share * math.exp(SHARPNESS * evidence[value]) for value, share in usual.items()])
    return str(rng.choice(list(usual), p=weights / weights.sum()))


def _log_weight(brief: Brief, evidence: Evidence) -> float:
    said = evidence["tempo"][tempo_word(brief.bpm, brief.metre.name)] + evidence["metre"][brief.metre.name]
    players = [
        evidence["drums"]["with" if brief.has_drums else "without"],
        evidence["melody"]["with" if brief.has_melody else "without"],
    ]
    solo = evidence["solo"][brief.solo]
    # A solo implies who else plays: it is as sure as the least of the three, which must not count thrice.
    return said + (solo + sum(players) if brief.solo == "none" else min(solo, *players))


def _references(score: Score) -> tuple[Reference, ...]:
    """Symbols of what the song has, named as composed; its first bar begins at 0 s."""
    first_s = score.beats_s[0]  # a song that is rendered for training has a breath before it

    def at(time_s: float) -> float:
        return max(0.0, time_s - first_s)

    parts: dict[str, list[ChordSegment] | list[DrumHit] | list[Note]] = {
        "chords": [
            ChordSegment(at(span.start_s), at(span.end_s), span.label)
            for span in score.chords
            if span.end_s > first_s
        ],
    }
    if score.drums:
        parts["drums"] = [DrumHit(at(hit.time_s), hit.midi, hit.velocity) for hit in score.drums.hits]
    if score.melody:
        parts["melody"] = [
            Note(at(note.start_s), at(note.end_s), note.midi, note.velocity) for note in score.melody.notes
        ]
    return tuple(replace(open_reference(role, symbols), name="composed") for role, symbols in parts.items())
