"""Listening to a clip: audio -> `Heard`, kept on disk by content so that nothing is heard twice."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from features.audio import Audio, AudioSource, to_audio
from features.chord_labels import ChordSegment
from features.controls import CONTROL_NAMES, Controls
from features.drums import DRUMS_VERSION, ONSETS_VERSION, drum_features
from features.extract import Extractors, content_key
from features.files import whole_file
from features.frames import CONTROL_FRAME_RATE, FrameGrid
from features.separators import NoSeparator
from flowmusic.evaluation.adherence import Extracted, one_hot_chroma

if TYPE_CHECKING:
    from features.chords import ChordRecogniser
    from features.melody import MelodyExtractor
    from features.separators import DrumSeparator

FORMAT = "flowmusic.heard.1"
_ARRAYS = ("onsets_s", "f0_times_s", "f0_hz", "confidence", "chroma")


@dataclass(frozen=True)
class Ears:
    """The extractors of one evaluation; references and results are heard by the same ones."""

    separator: DrumSeparator
    melody: MelodyExtractor
    chords: ChordRecogniser

    @classmethod
    def of(cls, extractors: Extractors) -> Ears:
        """Those that a `Listener` takes controls with."""
        return cls(extractors.separator, extractors.melody, extractors.chords)

    @property
    def version(self) -> str:
        """What decides how a clip is heard."""
        drums = (self.separator.version, DRUMS_VERSION, ONSETS_VERSION)
        return "|".join((FORMAT, *drums, self.melody.version, self.chords.version))


def extract_all(audio: AudioSource, ears: Ears) -> Extracted:
    """What the extractors hear: drums in the drum stem, melody in the rest, chords in the mix.

    As `features.extract.Listener` takes controls from a recording.

    Raises:
        AudioError: sound that cannot be used.
    """
    sound = to_audio(audio)
    mix = Audio(sound.mono()[None], sound.sample_rate)
    stem = ears.separator.separate(mix)
    # "No separator" is for references that are stems; what is listened to here is a mix all the same.
    without = isinstance(ears.separator, NoSeparator)
    rest = mix if without else Audio(mix.samples - stem.mono()[None], mix.sample_rate)
    drums = drum_features(stem)
    melody = ears.melody.extract(rest)
    chords = ears.chords.extract(mix)
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
    """Listens with `ears`, keeping every result in `folder` under content hash and extractor version."""

    def __init__(self, folder: Path, ears: Ears) -> None:
        self.folder = folder
        self.ears = ears

    def extract(self, audio: Audio) -> Extracted:
        version = hashlib.sha256(self.ears.version.encode()).hexdigest()[:8]
        path = self.folder / f"{content_key(audio)}-{version}.safetensors"
        if path.is_file():
            return load_extracted(path)
        extracted = extract_all(audio, self.ears)
        save_extracted(extracted, path)
        return extracted


def save_extracted(extracted: Extracted, path: Path) -> None:
    """Write as safetensors, whole or not at all."""
    from safetensors.torch import save_file

    tensors = {name: torch.from_numpy(np.ascontiguousarray(getattr(extracted, name))) for name in _ARRAYS}
    for name in CONTROL_NAMES:
        value = extracted.controls.get(name)
        if value is not None:
            tensors[f"control.{name}"] = value.contiguous()
    meta = {
        "format": FORMAT,
        "duration_s": repr(extracted.duration_s),
        "n_frames": str(extracted.controls.n_frames),
        "chords": json.dumps([asdict(segment) for segment in extracted.chords]),
    }
    with whole_file(path) as partial:
        save_file(tensors, partial, metadata=meta)


def load_extracted(path: Path) -> Extracted:
    """Read what `save_heard` wrote. ValueError, naming the file, where it is something else."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="pt") as file:
            meta = file.metadata() or {}
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (it is no dict)
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{path} cannot be read as an extractor's result: {error}") from error
    if meta.get("format") != FORMAT or not set(_ARRAYS) <= set(tensors):
        raise ValueError(f"{path} is not an extractor's result of this version; remove it to listen again")
    controls = {
        key.removeprefix("control."): value for key, value in tensors.items() if key.startswith("control.")
    }
    return Extracted(
        duration_s=float(meta["duration_s"]),
        chords=tuple(ChordSegment(**segment) for segment in json.loads(meta["chords"])),
        controls=Controls(int(meta["n_frames"]), **controls),
        **{name: tensors[name].numpy() for name in _ARRAYS},
    )
