"""What is heard in a finished take: found by the extractors, step by step."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from features.audio import Audio
from features.chord_labels import unpack_segments
from features.controls import Controls
from features.events import mix_separator
from features.extract import Extractors
from features.extracted import Extracted
from features.filters import fit_frames
from features.frames import CONTROL_FRAME_RATE, FrameGrid
from features.references import Reference
from flowmusic.studio.lanes import LANES, Lane, hits_of_bands, items, notes_of_pitch

Pitch = list[list[float]]


@dataclass(frozen=True)
class Heard:
    """The events of a sound as metrics take them, with its controls; `bands` (T, 4) are its drums' levels."""

    extracted: Extracted
    bands: np.ndarray

    def plain(self) -> dict[str, Any]:
        """As a page draws it: chords, pitch where it is voiced, strokes with the levels of the four bands."""
        found = self.extracted
        frames = np.minimum((found.onsets_s * CONTROL_FRAME_RATE).astype(int), max(len(self.bands) - 1, 0))
        return {
            "chords": items("chords", found.chords),
            "melody": pitch_curve(found.f0_times_s, found.f0_hz, found.confidence),
            "drums": [
                [round(float(time_s), 4), *(round(float(level), 3) for level in self.bands[frame])]
                for time_s, frame in zip(found.onsets_s, frames, strict=True)
            ],
        }

    def lanes(self) -> dict[str, Lane]:
        """As lanes that can be edited, or written as MIDI."""
        found = self.extracted
        return {
            "chords": items("chords", found.chords),
            "melody": items("melody", notes_of_pitch(found.f0_times_s, found.f0_hz, found.confidence)),
            "drums": items("drums", hits_of_bands(found.onsets_s, self.bands, CONTROL_FRAME_RATE)),
        }


def pitch_curve(times_s: np.ndarray, f0_hz: np.ndarray, confidence: np.ndarray) -> Pitch:
    """[time in seconds, f0 in Hz] of each frame, 0 Hz where it is unvoiced."""
    voiced = np.where(confidence >= 0.5, np.nan_to_num(f0_hz), 0.0)
    return [[round(float(t), 4), round(float(f), 2)] for t, f in zip(times_s, voiced, strict=True)]


def for_clips(extractors: Extractors) -> Extractors:
    """The same for finished clips, which are mixes; what is found is kept with the take, in no cache."""
    return Extractors(mix_separator(extractors), extractors.melody, extractors.chords)


def listen(
    extractors: Extractors, audio: Audio, roles: tuple[str, ...] = LANES, name: str = "the clip",
    duration_s: float | None = None,
) -> Generator[str, None, Heard]:  # fmt: skip
    """Extract some roles of a sound, cut at `duration_s`; yields the name of each before it is extracted."""
    duration_s = audio.duration_s if duration_s is None else duration_s
    grid = FrameGrid.from_duration(duration_s, CONTROL_FRAME_RATE)
    stems: dict[str, Audio] = {}
    values: dict[str, torch.Tensor] = {}
    parts: dict[str, Any] = {}
    bands = np.zeros((grid.n_frames, 4), dtype=np.float32)
    for role in roles:
        yield role
        reference = Reference(role, name, audio.duration_s, audio)
        found = extractors.extract_recording(reference, grid.duration_s, stems)
        values[role] = fit_frames(found["value"], grid.n_frames).float()
        if role == "chords":
            parts["chords"] = unpack_segments(found["segments"])
        elif role == "melody":
            parts["f0_times_s"] = grid.times_s()
            for key in ("f0_hz", "confidence"):
                parts[key] = _fitted(found[key].numpy(), grid.n_frames)
        else:
            parts["onsets_s"] = extractors.extract_onsets(reference, grid.duration_s, stems)
            bands = values[role].numpy()
    end_s = min(grid.duration_s, audio.duration_s)
    extracted = Extracted(
        grid.duration_s, controls=Controls(grid.n_frames, grid.frame_rate, **values), given=roles, **parts
    ).within([(0.0, end_s)])
    return Heard(extracted, bands)


def _fitted(values: np.ndarray, n_frames: int) -> np.ndarray:
    return np.pad(values[:n_frames], (0, max(0, n_frames - len(values)))).astype(np.float64)
