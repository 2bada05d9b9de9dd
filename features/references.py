"""References: what a control is to be taken from, opened and checked before any long work.

A reference is a recording (a file or an array) or symbols (a chord chart, a .lab, .mid or .csv
file, or Python objects).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from typing_extensions import TypeIs

from features.audio import (
    READABLE_SUFFIXES,
    Audio,
    AudioSource,
    is_array_with_rate,
    what_is_amiss,
)
from features.chord_chart import Chart
from features.chord_labels import ChordSegment
from features.controls import CONTROLS, SymbolSpec
from features.files import is_file, is_folder
from features.notation import (
    F0Track,
    is_midi,
    names_a_file,
    open_chart,
)
from features.recordings import expanded, in_phase, open_recording
from features.suffixes import CHART_SUFFIXES, LAB_SUFFIXES, MIDI_SUFFIXES, TABLE_SUFFIXES
from features.symbols import DrumHit, NotationError, Note
from features.text_files import shortened
from features.timed_chords import chord_list_text

_LAST_HIT_S = 0.25  # a drum reference lasts so long after its last stroke
_ALL_SYMBOL_SUFFIXES = MIDI_SUFFIXES + TABLE_SUFFIXES + LAB_SUFFIXES + CHART_SUFFIXES

Symbols = Sequence[ChordSegment] | Sequence[Note] | Sequence[DrumHit] | F0Track
ReferenceSource = str | Path | Audio | tuple[np.ndarray, int] | Symbols
"""What a control can be taken from; text for chords that names no file is a chord chart."""


@dataclass(frozen=True)
class ChordChart:
    """A chart that can be read (text, or a file of it), with the tempo and metre that it is played in."""

    source: str | Path
    bpm: float = 120.0
    beats_per_bar: float = 4

    def segments(self, duration_s: float | None = None, loop: bool = False) -> tuple[ChordSegment, ...]:
        """Its chords in time, for `duration_s` seconds where that is given."""
        try:
            return self._chart.segments(duration_s, loop)
        except NotationError as error:
            if str(self.source) in str(error) or isinstance(self.source, str):
                raise
            raise NotationError(f"{self.source}: {error}") from error

    @cached_property
    def _chart(self) -> Chart:
        return open_chart(self.source, self.bpm, self.beats_per_bar)


@dataclass(frozen=True)
class Reference:
    """One opened reference: `content` is a recording, or symbols of the kind that `role` needs.

    `role` is the name of a control (`features.controls.CONTROLS`); `name` is what messages and sidecars
    call it.
    """

    role: str
    name: str
    duration_s: float
    content: Audio | Symbols | ChordChart

    @property
    def is_recording(self) -> bool:
        return isinstance(self.content, Audio)

    @property
    def symbols(self) -> Sequence[ChordSegment] | Sequence[Note] | Sequence[DrumHit]:
        """Notes, drum hits or chord segments; none where the content is anything else."""
        return () if isinstance(self.content, (Audio, ChordChart, F0Track)) else self.content

    @property
    def pitch_track(self) -> F0Track | None:
        return self.content if isinstance(self.content, F0Track) else None

    def chord_segments(self, duration_s: float, loop: bool = True) -> tuple[ChordSegment, ...]:
        """The chords of a chart, played for `duration_s` seconds, or as they stand."""
        if isinstance(self.content, ChordChart):
            return self.content.segments(duration_s, loop)
        return tuple(item for item in self.symbols if isinstance(item, ChordSegment))


def open_reference(
    role: str, source: ReferenceSource, bpm: float | None = None, beats_per_bar: float = 4
) -> Reference:
    """Read and check a reference for the control `role`.

    `bpm` and `beats_per_bar` time a chord chart that does not say them itself.

    Raises:
        AudioError: a recording that cannot be used (missing, corrupt, silent, too long ...).
        NotationError: symbols that cannot be read, or hold nothing for this control.
    """
    CONTROLS.check(role)
    if isinstance(source, Audio) or is_array_with_rate(source):
        return _recording(role, source)
    if isinstance(source, str) and not source.strip():
        raise NotationError(f"the {role} reference is an empty text; expected {_expected(role)}")
    if role == "chords" and _is_chord_pairs(source):
        return _chart(chord_list_text(source), bpm, beats_per_bar)
    if not isinstance(source, (str, Path)):
        return _symbols(role, f"the {role} symbols", source)
    if role == "chords" and isinstance(source, str) and not names_a_file(source):
        return _chart(source, bpm, beats_per_bar)
    return _from_file(role, expanded(source), bpm, beats_per_bar)


def _from_file(role: str, path: Path, bpm: float | None, beats_per_bar: float) -> Reference:
    suffix = path.suffix.lower()
    if is_folder(path):
        raise NotationError(f"{path} is a folder; expected {_expected(role)}")
    if not is_file(path):
        raise NotationError(f"{path} {what_is_amiss(path)}; expected {_expected(role)}")
    spec = CONTROLS.get(role).symbols
    if spec is not None and (suffix in spec.suffixes or (_takes_midi(spec) and is_midi(path))):
        if role == "chords":
            return _chart(path, bpm, beats_per_bar)
        return _symbols(role, str(path), spec.read(path))
    if suffix in _ALL_SYMBOL_SUFFIXES:
        raise NotationError(f"{path} cannot be a {role} reference; expected {_expected(role)}")
    return _recording(role, path)


def _takes_midi(spec: SymbolSpec) -> bool:
    return not set(MIDI_SUFFIXES).isdisjoint(spec.suffixes)


def _expected(role: str) -> str:
    recording, spec = f"a recording ({', '.join(READABLE_SUFFIXES)})", CONTROLS.get(role).symbols
    if spec is None:
        return recording
    text = ", or a chord chart such as 'Am | F C | G7'" if role == "chords" else ""
    return f"{recording} or symbols ({', '.join(spec.suffixes)}){text}"


def _chart(source: str | Path, bpm: float | None, beats_per_bar: float) -> Reference:
    chart = ChordChart(source, 120.0 if bpm is None else bpm, beats_per_bar)
    if isinstance(source, Path):
        return Reference("chords", str(source), chart.segments()[-1].end_s, chart)
    try:
        segments = chart.segments()
    except NotationError as error:
        if is_folder(source):
            raise NotationError(f"{source} is a folder; expected {_expected('chords')}") from error
        raise NotationError(f"the chord chart {shortened(source, 40)!r}: {error}") from error
    return Reference("chords", source, segments[-1].end_s, chart)


def _symbols(role: str, name: str, symbols: Symbols) -> Reference:
    """Checked symbols: of the kind that `role` needs, and not empty."""
    if isinstance(symbols, F0Track):
        if role != "melody":
            raise NotationError(f"{name} is a pitch track, which cannot be a {role} reference")
        if not (symbols.f0_hz > 0).any():
            raise NotationError(f"{name} holds no voiced pitch; expected a frequency above 0 Hz somewhere")
        hop_s = float(np.median(np.diff(symbols.times_s))) if symbols.times_s.size > 1 else 0.0
        return Reference(role, name, float(symbols.times_s[-1]) + hop_s, symbols)
    spec = CONTROLS.get(role).symbols
    if spec is None or not isinstance(symbols, Sequence):
        raise NotationError(f"{name}: got {type(symbols).__name__}; expected {_expected(role)}")
    if len(symbols) == 0:
        raise NotationError(f"{name} hold no {spec.noun}; expected at least one")
    wrong = next((item for item in symbols if not isinstance(item, spec.kind)), None)
    if wrong is not None:
        raise NotationError(f"{name} must be {spec.noun} ({spec.kind.__name__}), got {type(wrong).__name__}")
    ends = [item.time_s + _LAST_HIT_S if isinstance(item, DrumHit) else item.end_s for item in symbols]
    return Reference(role, name, max(ends), symbols)


def _is_chord_pairs(source: object) -> TypeIs[Sequence[tuple[object, ...]]]:
    """Whether chords are given as JASCO takes them: [("C", 0.0), ("Am", 2.5)]."""
    return isinstance(source, (list, tuple)) and bool(source) and isinstance(source[0], (list, tuple))


def _recording(role: str, source: AudioSource) -> Reference:
    name, audio = open_recording(source, f"the {role} reference")
    return Reference(role, name, audio.duration_s, in_phase(name, audio))
