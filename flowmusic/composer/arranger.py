"""From a sheet to a score: who plays what, when exactly, how loudly, in which room."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from flowmusic.composer.accompaniment import write_bass, write_comp
from flowmusic.composer.captions import SongFacts, moods_of, tempo_word, write_captions
from flowmusic.composer.generator import Brief
from flowmusic.composer.grooves import write_drums
from flowmusic.composer.harmony import FLAT_NAMES, MINOR_MODES, SHARP_NAMES, uses_flats
from flowmusic.composer.instruments import KIT_NAMES, PROGRAM_NAMES, SUSTAINED, VIBRATO, family
from flowmusic.composer.score import ChordSpan, DrumHit, DrumPart, Mastering, Note, Part, Score
from flowmusic.composer.sheet import Section, Sheet, SheetNote, TimeMap
from flowmusic.composer.styles import WILD, grooves_for

HARMONIC_LAYERS = frozenset({"bass", "comp", "comp2", "pad"})
_N_CAPTIONS = 14


@dataclass(frozen=True)
class _Stage:
    """What every part of one song shares."""

    time_map: TimeMap
    offset_s: float
    timing_s: float
    n_soundfonts: int
    main_soundfont: int
    mixed: bool

    def seconds(self, quarters: float) -> float:
        return self.offset_s + self.time_map.seconds(quarters)

    def soundfont(self, rng: np.random.Generator) -> int:
        return int(rng.integers(self.n_soundfonts)) if self.mixed else self.main_soundfont


def arrange(
    sheet: Sheet,
    sections: tuple[Section, ...],
    brief: Brief,
    n_soundfonts: int,
    rng: np.random.Generator,
    steady: bool = False,
) -> Score:
    """Plays a sheet in the brief's style; labels are the exact times that are rendered.

    `steady`: the tempo does not drift, so that bars are equally long.
    """
    stage = _make_stage(brief, n_soundfonts, rng, steady)
    bar = sheet.metre.bar_quarters
    groove = str(rng.choice(grooves_for(brief.style if rng.random() < 0.85 else WILD, sheet.metre.name)))
    drums = _drum_part(groove, sections, bar, brief, stage, rng)
    melody = _melody_part(sheet, sections, brief, stage, rng)
    backing = _backing_parts(sheet, sections, brief, stage, rng)
    end_s = stage.seconds(sheet.n_bars * bar)
    flats = uses_flats(sheet.tonic, sheet.mode)
    key = (FLAT_NAMES if flats else SHARP_NAMES)[sheet.tonic]
    facts = _facts(sheet, brief, key, groove, drums, melody, backing)
    n_beats = sheet.n_bars * sheet.metre.beats_per_bar
    return Score(
        source=sheet.source,
        duration_s=round(end_s + float(rng.uniform(0.6, 1.8)), 3),
        bpm=brief.bpm,
        metre=sheet.metre.name,
        beats_per_bar=sheet.metre.beats_per_bar,
        key=key,
        mode=sheet.mode,
        chords=_chord_spans(sheet, sections, stage, flats),
        beats_s=tuple(round(stage.seconds(k * sheet.metre.beat_quarters), 4) for k in range(n_beats)),
        drums=drums,
        melody=melody,
        backing=backing,
        mastering=_mastering(rng),
        facts=facts,
        captions=write_captions(facts, _N_CAPTIONS, rng),
        tags=_tags(facts, sheet, melody, backing),
    )


def _make_stage(brief: Brief, n_soundfonts: int, rng: np.random.Generator, steady: bool) -> _Stage:
    low, high = brief.style.swing
    swing = float(rng.uniform(low, high)) if brief.metre.name != "6/8" else 0.5
    drift = float(rng.uniform(0.005, 0.04)) if rng.random() < 0.25 else 0.0
    time_map = TimeMap(
        quarter_s=brief.quarter_s,
        swing=swing,
        swing_quarters=0.5 if high < 0.61 else 1.0,
        drift=0.0 if steady else drift,
        drift_quarters=float(rng.choice([16, 32, 64])),
    )
    return _Stage(
        time_map,
        offset_s=float(rng.uniform(0.05, 0.5)),
        timing_s=float(rng.choice([0.001, 0.004, 0.007, 0.012])),
        n_soundfonts=n_soundfonts,
        main_soundfont=int(rng.integers(n_soundfonts)),
        mixed=bool(rng.random() < 0.35),
    )


def _mastering(rng: np.random.Generator) -> Mastering:
    wet = rng.random() < 0.75
    return Mastering(
        drums_db=float(np.clip(rng.normal(1.0, 3.5), -8, 9)),
        melody_db=float(rng.uniform(-6, 9)),
        peak=float(rng.uniform(0.3, 0.95)),
        room_size=float(rng.uniform(0.1, 0.85)),
        reverb_level=float(rng.uniform(0.2, 0.9)) if wet else 0.05,
    )


def _velocity(base: float, accent: float, rng: np.random.Generator) -> int:
    return int(np.clip(base * accent + rng.normal(0, 5), 20, 127))


def _play(
    notes: list[SheetNote], base: float, stage: _Stage, rng: np.random.Generator, lag_s: float = 0.0
) -> tuple[Note, ...]:
    """Sheet notes to seconds with a human's timing and touch, in order of their starts."""
    played = []
    for note in notes:
        start = max(0.0, stage.seconds(note.start) + lag_s + float(rng.normal(0, stage.timing_s)))
        end = max(start + 0.04, stage.seconds(note.end) + lag_s)
        played.append(Note(round(start, 4), round(end, 4), note.midi, _velocity(base, note.accent, rng)))
    return tuple(sorted(played, key=lambda n: (n.start_s, n.midi)))


def _one_voice(notes: tuple[Note, ...]) -> tuple[Note, ...]:
    ends = [note.start_s - 0.002 for note in notes[1:]] + [float("inf")]
    cut = [
        Note(n.start_s, round(min(n.end_s, e), 4), n.midi, n.velocity)
        for n, e in zip(notes, ends, strict=True)
    ]
    return tuple(note for note in cut if note.end_s - note.start_s > 0.03)


def _melody_part(
    sheet: Sheet, sections: tuple[Section, ...], brief: Brief, stage: _Stage, rng: np.random.Generator
) -> Part | None:
    bar = sheet.metre.bar_quarters
    active = [(s.first_bar * bar, s.end_bar * bar) for s in sections if "melody" in s.layers]
    notes = [n for n in sheet.melody if any(a - 1e-6 <= n.start < b - 1e-6 for a, b in active)]
    if not notes or not brief.has_melody:
        return None
    program = brief.lead_program
    vibrato = float(rng.uniform(0.15, 0.6)) if program in VIBRATO and rng.random() < 0.5 else 0.0
    lag_s = float(rng.normal(0, 0.006))
    return Part(
        PROGRAM_NAMES[program],
        program,
        stage.soundfont(rng),
        _one_voice(_play(notes, float(rng.uniform(70, 115)), stage, rng, lag_s)),
        reverb=float(rng.uniform(0.05, 0.9)),
        chorus=float(rng.uniform(0, 0.6)) if rng.random() < 0.3 else 0.0,
        vibrato=vibrato,
    )


def _drum_part(
    groove: str,
    sections: tuple[Section, ...],
    bar: float,
    brief: Brief,
    stage: _Stage,
    rng: np.random.Generator,
) -> DrumPart | None:
    if not brief.has_drums:
        return None
    hits = []
    for stroke in write_drums(groove, sections, bar, rng):
        time_s = max(0.0, stage.seconds(stroke.start) + float(rng.normal(0, stage.timing_s)))
        hits.append(DrumHit(round(time_s, 4), stroke.key, _velocity(stroke.loudness, 1.0, rng)))
    if not hits:
        return None
    kit = int(rng.choice(brief.style.kits if rng.random() < 0.8 else tuple(KIT_NAMES)))
    return DrumPart(
        kit, stage.soundfont(rng), tuple(sorted(hits, key=lambda h: h.time_s)), float(rng.uniform(0, 0.5))
    )


def _backing_parts(
    sheet: Sheet, sections: tuple[Section, ...], brief: Brief, stage: _Stage, rng: np.random.Generator
) -> tuple[Part, ...]:
    style = brief.style
    parts: list[Part] = []
    for layer in ("bass", "comp", "comp2", "pad"):
        if layer == "bass":
            notes = write_bass(sheet, sections, str(rng.choice(style.bass)), rng)
            programs, gain_db = style.bass_programs, float(rng.uniform(-3, 3))
        else:
            pattern = "pad" if layer == "pad" else str(rng.choice(style.comp))
            programs = style.pads if layer == "pad" else style.chord_programs
            centre = float(rng.uniform(55, 66)) + (7 if layer == "comp2" else 0)
            notes = write_comp(sheet, sections, layer, pattern, centre, rng)
            gain_db = float(rng.uniform(-9, -2) if layer == "pad" else rng.uniform(-4, 2))
        if not notes:
            continue
        used = {part.program for part in parts}
        fresh = tuple(p for p in programs if p not in used) or programs
        program = int(rng.choice(fresh))
        lag_s = 0.0 if program not in SUSTAINED else -0.015  # slow attacks are played early
        parts.append(
            Part(
                PROGRAM_NAMES[program],
                program,
                stage.soundfont(rng),
                _play(notes, float(rng.uniform(62, 100)), stage, rng, lag_s),
                gain_db,
                reverb=0.1 if layer == "bass" else float(rng.uniform(0.05, 0.8)),
                chorus=float(rng.uniform(0, 0.6)) if rng.random() < 0.3 else 0.0,
            )
        )
    return tuple(parts)


def _chord_spans(
    sheet: Sheet, sections: tuple[Section, ...], stage: _Stage, flats: bool
) -> tuple[ChordSpan, ...]:
    """Contiguous labels from 0 to the end; `N` wherever no chord instrument plays."""
    bar = sheet.metre.bar_quarters
    pieces: list[tuple[float, float, str]] = []
    for section in sections:
        start, end = section.first_bar * bar, section.end_bar * bar
        if not HARMONIC_LAYERS & section.layers:
            pieces.append((start, end, "N"))
            continue
        for span in sheet.chords:
            low, high = max(start, span.start), min(end, span.end)
            if high - low > 1e-6:
                pieces.append((low, high, span.chord.label(flats)))
    merged: list[ChordSpan] = []
    place_s = 0.0
    for low, high, label in pieces:
        low_s, high_s = round(stage.seconds(low), 4), round(stage.seconds(high), 4)
        if low_s > place_s + 1e-3:
            merged.append(ChordSpan(place_s, low_s, "N"))
        if merged and merged[-1].label == label:
            merged[-1] = ChordSpan(merged[-1].start_s, high_s, label)
        else:
            merged.append(ChordSpan(low_s, high_s, label))
        place_s = high_s
    return tuple(merged)


def _facts(
    sheet: Sheet, brief: Brief, key: str, groove: str, drums: DrumPart | None,
    melody: Part | None, backing: tuple[Part, ...],
) -> SongFacts:  # fmt: skip
    basses = [part.name for part in backing if part.program in WILD.bass_programs or "bass" in part.name]
    chordal = tuple(dict.fromkeys(part.name for part in backing if part.name not in basses))
    return SongFacts(
        style=brief.style_name,
        style_names=brief.style.names,
        bpm=brief.bpm,
        metre=sheet.metre.name,
        key=key,
        mode=sheet.mode,
        lead=melody.name if melody else None,
        chord_instruments=chordal,
        bass=basses[0] if basses else None,
        kit=KIT_NAMES[drums.kit] if drums else None,
        groove=groove if drums else None,
        solo=_solo(drums, melody, backing),
    )


def _solo(drums: DrumPart | None, melody: Part | None, backing: tuple[Part, ...]) -> str:
    """Which single voice the song consists of, if it does."""
    if melody and not drums and not backing:
        return "melody"
    if drums and not melody and not backing:
        return "drums"
    if len(backing) == 1 and not drums and not melody:
        return "chords"
    return "none"


def _tags(
    facts: SongFacts, sheet: Sheet, melody: Part | None, backing: tuple[Part, ...]
) -> dict[str, object]:
    programs = [*(part.program for part in backing), *([melody.program] if melody else [])]
    return {
        "families": sorted({family(program) for program in programs} | ({"drums"} if facts.kit else set())),
        "instruments": sorted({PROGRAM_NAMES[program] for program in programs}),
        "tempo": tempo_word(facts.bpm, facts.metre),
        "mode": "minor" if facts.mode in MINOR_MODES else "major",
        "moods": list(moods_of(facts)),
        "style": facts.style,
        "groove": facts.groove,
        "solo": facts.solo,
        "melody_follows_chords": sheet.melody_follows_chords if melody else None,
    }
