"""Extractors that had no part in the controls: a clip that follows must follow for them as well.

Melody by basic-pitch and drums by librosa's onsets, each in its part of the mix (librosa's median filters
instead of a trained separator), chords by madmom in the mix. What is not installed is left out, and named.
"""

from __future__ import annotations

import hashlib
from importlib import metadata
from pathlib import Path

import numpy as np

from features.audio import Audio
from features.choices import chord_recogniser, melody_extractor
from features.chords import ChordRecogniser
from features.extract import content_key
from features.extracted import Extracted, load_extracted, save_extracted
from features.frames import CONTROL_FRAME_RATE, FrameGrid
from features.melody import MelodyExtractor

VERSION = "second.1"


class SecondExtractors:
    """What can be extracted with the optional packages that are installed; results are kept in `folder`.

    `missing` has a sentence for each extractor that is not there.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.missing: list[str] = []
        self.melody: MelodyExtractor | None = None
        self.chords: ChordRecogniser | None = None
        try:
            self.melody = melody_extractor("basic-pitch")
        except ValueError as error:
            self.missing.append(str(error))
        try:
            self.chords = chord_recogniser("madmom")
        except ValueError as error:
            self.missing.append(str(error))

    @property
    def version(self) -> str:
        """What decides what is extracted."""
        parts = [part.version if part is not None else "none" for part in (self.melody, self.chords)]
        return "|".join((VERSION, f"librosa {metadata.version('librosa')}", *parts))

    @property
    def note(self) -> str:
        """Who they are, and who is missing, for a report."""
        names = ["librosa's onsets of the percussive part (drums)"]
        names += ["basic-pitch in the harmonic part (melody)"] if self.melody else []
        names += ["madmom (chords)"] if self.chords else []
        missing = f" Missing: {'; '.join(self.missing)}." if self.missing else ""
        return f"Second extractors: {', '.join(names)}.{missing}"

    def extract(self, audio: Audio) -> Extracted:
        """Onsets, melody and chords of a sound; empty where an extractor is missing. There are no
        controls.
        """
        version = hashlib.sha256(self.version.encode()).hexdigest()[:8]
        path = self.folder / f"{content_key(audio)}-{version}.safetensors"
        if path.is_file():
            return load_extracted(path)
        extracted = self._compute(audio)
        save_extracted(extracted, path)
        return extracted

    def _compute(self, audio: Audio) -> Extracted:
        import librosa

        rate = audio.sample_rate
        samples = audio.mono()
        harmonic, percussive = librosa.effects.hpss(samples)
        melody = self.melody.extract((harmonic, rate)) if self.melody else None
        chords = self.chords.extract((samples, rate)) if self.chords else None
        grid = FrameGrid.from_duration(audio.duration_s, CONTROL_FRAME_RATE)
        return Extracted(
            duration_s=audio.duration_s,
            chords=tuple(chords.segments) if chords else (),
            onsets_s=np.asarray(
                librosa.onset.onset_detect(y=percussive, sr=rate, units="time"), dtype=np.float64
            ),
            f0_times_s=grid.times_s() if melody else np.zeros(0),
            f0_hz=np.asarray(melody.f0_hz if melody else [], dtype=np.float64),
            confidence=np.asarray(melody.confidence if melody else [], dtype=np.float64),
        )
