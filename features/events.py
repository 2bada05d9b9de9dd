"""References and recordings -> `Extracted`. Adherence is measured on it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from features.audio import Audio, AudioSource, to_audio
from features.chord_labels import ChordSegment, unpack_segments
from features.chroma import one_hot_chroma
from features.controls import Controls
from features.drums import DRUMS_VERSION, ONSETS_VERSION, drum_features
from features.extract import Extractors, content_key
from features.extracted import FORMAT, Extracted, load_extracted, save_extracted
from features.frames import CONTROL_FRAME_RATE, FrameGrid
from features.references import Reference
from features.separators import DrumSeparator, NoSeparator
from features.symbols import DrumHit, Note, held_samples

_SAME_ONSET_S = 0.03
"""Drum hits closer than this (a kick and a hi-hat together) are one onset."""


def mix_separator(extractors: Extractors) -> DrumSeparator:
    """Return the separator for finished clips: a reference may be a drum stem already, a clip never is."""
    given = extractors.separator
    if not isinstance(given, NoSeparator):
        return given
    return Extractors("bundled", device=extractors.device).separator


def extract_all(audio: AudioSource, extractors: Extractors) -> Extracted:
    """Extract drums from the drum stem, the melody from the rest, chords from the mix, and their controls.

    As `Extractors.extract` takes controls from a recording, but without its cache.

    Raises:
        AudioError: sound that cannot be used.
    """
    sound = to_audio(audio)
    mix = Audio(sound.mono()[None], sound.sample_rate)
    stem = extractors.separator.separate(mix)
    # With no separator, for references that are stems, the melody is that of the whole.
    without = isinstance(extractors.separator, NoSeparator)
    rest = mix if without else Audio(mix.samples - stem.mono()[None], mix.sample_rate)
    drums, melody, chords = (
        drum_features(stem),
        extractors.melody.extract(rest),
        extractors.chords.extract(mix),
    )
    grid = FrameGrid.from_duration(mix.duration_s, CONTROL_FRAME_RATE)
    return Extracted(
        duration_s=mix.duration_s,
        chords=tuple(chords.segments),
        onsets_s=np.asarray(drums.onsets_s, dtype=np.float64),
        f0_times_s=grid.times_s(),
        f0_hz=np.asarray(melody.f0_hz, dtype=np.float64),
        confidence=np.asarray(melody.confidence, dtype=np.float64),
        chroma=one_hot_chroma(rest.mono(), rest.sample_rate),
        controls=Controls(
            grid.n_frames, drums=drums.energies, melody=melody.salience, chords=chords.posteriors
        ),
    )


class ExtractedStore:
    """What `extractors` find, kept in `folder` under content hash and version: nothing is extracted twice."""

    def __init__(self, folder: Path, extractors: Extractors) -> None:
        self.folder = folder
        self.extractors = extractors

    @property
    def version(self) -> str:
        """All that decides what is extracted."""
        parts = (self.extractors.separator, self.extractors.melody, self.extractors.chords)
        return "|".join((FORMAT, DRUMS_VERSION, ONSETS_VERSION, *(part.version for part in parts)))

    def extract(self, audio: Audio) -> Extracted:
        """Read what was found before, or extract it and keep it."""
        version = hashlib.sha256(self.version.encode()).hexdigest()[:8]
        path = self.folder / f"{content_key(audio)}-{version}.safetensors"
        if path.is_file():
            return load_extracted(path)
        extracted = extract_all(audio, self.extractors)
        save_extracted(extracted, path)
        return extracted


def extract_events(
    extractors: Extractors,
    references: Sequence[Reference],
    duration_s: float,
    loop_chords: bool = True,
    stems: dict[str, Audio] | None = None,
) -> Extracted:
    """Return what at most one reference for each of drums, melody and chords asks for, cut at `duration_s`.

    Recordings are extracted as their controls are, and from the same cache; symbols say theirs exactly. There
    are no chroma and no controls. Other controls than these three have no events.
    """
    grid = FrameGrid.from_duration(duration_s, CONTROL_FRAME_RATE)
    stems = {} if stems is None else stems
    by_role = {reference.role: reference for reference in references}
    chords: tuple[ChordSegment, ...] = ()
    onsets_s = times_s = f0_hz = confidence = np.zeros(0)
    if (drums := by_role.get("drums")) is not None:
        onsets_s = _onsets(extractors, drums, grid, stems)
    if (melody := by_role.get("melody")) is not None:
        times_s = grid.times_s()
        f0_hz, confidence = _pitch(extractors, melody, grid, stems)
        confidence = np.where(times_s < melody.duration_s, confidence, 0.0)
    if (written := by_role.get("chords")) is not None:
        chords = _segments(extractors, written, grid, loop_chords, stems)
    given = tuple(role for role in ("drums", "melody", "chords") if role in by_role)
    extracted = Extracted(grid.duration_s, chords, onsets_s, times_s, f0_hz, confidence, given=given)
    return extracted.within([(0.0, grid.duration_s)])


def merge_onsets(times_s: np.ndarray) -> np.ndarray:
    """Drop those of rising times that follow a kept one by less than 30 ms: (N,) -> (N',)."""
    kept: list[float] = []
    for time_s in times_s:
        if not kept or time_s - kept[-1] >= _SAME_ONSET_S:
            kept.append(float(time_s))
    return np.array(kept)


def _onsets(
    extractors: Extractors, reference: Reference, grid: FrameGrid, stems: dict[str, Audio]
) -> np.ndarray:
    if reference.is_recording:
        return extractors.extract_onsets(reference, grid.duration_s, stems)
    return merge_onsets(np.sort([hit.time_s for hit in reference.symbols if isinstance(hit, DrumHit)]))


def _pitch(
    extractors: Extractors, reference: Reference, grid: FrameGrid, stems: dict[str, Audio]
) -> tuple[np.ndarray, np.ndarray]:
    """Return f0_hz (T,) and confidence (T,)."""
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
    """Cut, or lengthen with zeros, to (n_frames,)."""
    return np.pad(values[:n_frames], (0, max(0, n_frames - len(values)))).astype(np.float64)
