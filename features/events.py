"""What a reference asks for as events: strokes, a pitch line, chords. Adherence is measured on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from features.audio import Audio
from features.chord_labels import ChordSegment, unpack_segments
from features.frames import CONTROL_FRAME_RATE, FrameGrid
from features.symbols import DrumHit, Note, held_samples

if TYPE_CHECKING:
    from features.extract import Extractors
    from features.references import Reference

_SAME_STROKE_S = 0.03
"""Strokes closer than this (a kick and a hi-hat together) are one onset."""


@dataclass(frozen=True)
class Events:
    """The events of some controls on a grid of T control frames; None where a control is not there.

    Shape:
        onsets_s   (N,) drum strokes in seconds, rising
        f0_hz      (T,) pitch of the melody; a frame counts as far as its confidence (T,) says
        segments   chords in order of time
    """

    n_frames: int
    onsets_s: np.ndarray | None = None
    f0_hz: np.ndarray | None = None
    confidence: np.ndarray | None = None
    segments: tuple[ChordSegment, ...] | None = None

    @property
    def given(self) -> tuple[str, ...]:
        parts = {"drums": self.onsets_s, "melody": self.f0_hz, "chords": self.segments}
        return tuple(name for name, part in parts.items() if part is not None)

    def within(self, spans: Sequence[tuple[float, float]]) -> Events:
        """Only the events inside some spans of time, in seconds."""
        times_s = FrameGrid(CONTROL_FRAME_RATE, self.n_frames).times_s()
        onsets_s, confidence, segments = self.onsets_s, self.confidence, self.segments
        if onsets_s is not None:
            onsets_s = onsets_s[_inside(onsets_s, spans)]
        if confidence is not None:
            confidence = np.where(_inside(times_s, spans), confidence, 0.0)
        if segments is not None:
            cut = [
                (max(item.start_s, start), min(item.end_s, end), item.label)
                for start, end in spans
                for item in segments
            ]
            segments = tuple(ChordSegment(*item) for item in cut if item[0] < item[1])
        return replace(self, onsets_s=onsets_s, confidence=confidence, segments=segments)


def _inside(times_s: np.ndarray, spans: Sequence[tuple[float, float]]) -> np.ndarray:
    inside = np.zeros(times_s.shape, dtype=bool)
    for start, end in spans:
        inside |= (times_s >= start) & (times_s < end)
    return inside


def extract_events(
    extractors: Extractors,
    references: Sequence[Reference],
    duration_s: float,
    loop_chords: bool = True,
    stems: dict[str, Audio] | None = None,
) -> Events:
    """The events of at most one reference for each control, cut at `duration_s`.

    Those of recordings are heard by the listener, as its controls are; symbols say theirs exactly.
    """
    grid = FrameGrid.from_duration(duration_s, CONTROL_FRAME_RATE)
    stems = {} if stems is None else stems
    events = Events(grid.n_frames)
    for reference in references:
        end_s = min(reference.duration_s, grid.duration_s)
        if reference.role == "drums":
            events = replace(events, onsets_s=_onsets(extractors, reference, grid, stems))
        elif reference.role == "melody":
            f0_hz, confidence = _pitch(extractors, reference, grid, stems)
            confidence = np.where(grid.times_s() < end_s, confidence, 0.0)
            events = replace(events, f0_hz=f0_hz, confidence=confidence)
        else:
            segments = _segments(extractors, reference, grid, loop_chords, stems)
            events = replace(events, segments=segments)
    return events.within([(0.0, grid.duration_s)])


def _onsets(
    extractors: Extractors, reference: Reference, grid: FrameGrid, stems: dict[str, Audio]
) -> np.ndarray:
    if reference.is_recording:
        return extractors.extract_onsets(reference, grid.duration_s, stems)
    hits = np.sort([hit.time_s for hit in reference.symbols if isinstance(hit, DrumHit)])
    kept: list[float] = []
    for time_s in hits:
        if not kept or time_s - kept[-1] >= _SAME_STROKE_S:
            kept.append(float(time_s))
    return np.array(kept)


def _pitch(
    extractors: Extractors, reference: Reference, grid: FrameGrid, stems: dict[str, Audio]
) -> tuple[np.ndarray, np.ndarray]:
    """(f0_hz (T,), confidence (T,))."""
    if reference.is_recording:
        extracted = extractors.extract_recording(reference, grid.duration_s, stems)
        return tuple(_fitted(extracted[name].numpy(), grid.n_frames) for name in ("f0_hz", "confidence"))  # type: ignore[return-value]
    track = reference.pitch_track
    f0_hz, confidence = np.zeros(grid.n_frames), np.ones(grid.n_frames)
    if track is not None:
        nearest, held = held_samples(track.times_s, grid.times_s(), 1.0 / grid.frame_rate)
        f0_hz = np.where(held, np.nan_to_num(track.f0_hz[nearest]), 0.0)
        if track.confidence is not None:
            confidence = track.confidence[nearest]
    for note in sorted(
        (item for item in reference.symbols if isinstance(item, Note)), key=lambda note: note.start_s
    ):
        f0_hz[grid.slice_between(note.start_s, note.end_s)] = 440.0 * 2.0 ** ((note.midi - 69) / 12)
    return f0_hz, np.where(f0_hz > 0, confidence, 0.0)


def _segments(
    extractors: Extractors, reference: Reference, grid: FrameGrid, loop_chords: bool, stems: dict[str, Audio]
) -> tuple[ChordSegment, ...]:
    if reference.is_recording:
        return unpack_segments(extractors.extract_recording(reference, grid.duration_s, stems)["segments"])
    return reference.chord_segments(grid.duration_s, loop_chords)


def _fitted(values: np.ndarray, n_frames: int) -> np.ndarray:
    """Cut, or lengthened with zeros, to (n_frames,)."""
    return np.pad(values[:n_frames], (0, max(0, n_frames - len(values)))).astype(np.float64)
