"""What extractors find in a recording, or symbols say, as metrics and plots take it; and its files."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
import torch

from features.chord_labels import ChordSegment
from features.controls import CONTROL_NAMES, Controls
from features.frames import CONTROL_FRAME_RATE
from features.tensor_files import read_tensors, write_tensors

FORMAT = "flowmusic.extracted.1"
_ARRAYS = ("onsets_s", "f0_times_s", "f0_hz", "confidence", "chroma")


def _empty() -> np.ndarray:
    return np.zeros(0)


@dataclass(frozen=True)
class Extracted:
    """Chords, drum onsets and melody of a recording, or of the symbols that stand in its place.

    Shape:
        onsets_s   (N,) drum onsets in seconds, rising
        f0_hz      (T,) fundamental at `f0_times_s`, in unvoiced frames too
        confidence (T,) in [0, 1]; how far a frame counts as voiced
        chroma     (F,) pitch class of the strongest chroma bin, `features.chroma.SILENT` where there is none
    `controls` are the same as the generator takes them, of no frames where they were not extracted.
    `given` names the parts that were looked for; the others are empty.
    """

    duration_s: float
    chords: tuple[ChordSegment, ...] = ()
    onsets_s: np.ndarray = field(default_factory=_empty)
    f0_times_s: np.ndarray = field(default_factory=_empty)
    f0_hz: np.ndarray = field(default_factory=_empty)
    confidence: np.ndarray = field(default_factory=_empty)
    chroma: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    controls: Controls = field(default_factory=lambda: Controls(0))
    given: tuple[str, ...] = CONTROL_NAMES

    def __post_init__(self) -> None:
        lengths = {len(self.f0_times_s), len(self.f0_hz), len(self.confidence)}
        if len(lengths) != 1:
            raise ValueError(f"f0_times_s, f0_hz and confidence must be equally long, got {sorted(lengths)}")

    def within(self, spans: Sequence[tuple[float, float]]) -> Extracted:
        """Keep onsets and chords inside some spans of time, in seconds; outside, the melody is unvoiced."""
        cut = [
            (max(item.start_s, start), min(item.end_s, end), item.label)
            for start, end in spans
            for item in self.chords
        ]
        return replace(
            self,
            chords=tuple(ChordSegment(*item) for item in cut if item[0] < item[1]),
            onsets_s=self.onsets_s[_inside(self.onsets_s, spans)],
            confidence=np.where(_inside(self.f0_times_s, spans), self.confidence, 0.0),
        )


def _inside(times_s: np.ndarray, spans: Sequence[tuple[float, float]]) -> np.ndarray:
    inside = np.zeros(times_s.shape, dtype=bool)
    for start, end in spans:
        inside |= (times_s >= start) & (times_s < end)
    return inside


def save_extracted(extracted: Extracted, path: Path) -> None:
    """Write as safetensors, whole or not at all."""
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
        "given": ",".join(extracted.given),
    }
    write_tensors(path, tensors, meta)


def load_extracted(path: Path) -> Extracted:
    """Read what `save_extracted` wrote. ValueError, naming the file, where it is something else."""
    tensors, meta = read_tensors(path, "an extractor's result")
    if meta.get("format") != FORMAT or not set(_ARRAYS) <= set(tensors):
        raise ValueError(f"{path} is not an extractor's result of this version; remove it to extract again")
    controls = {
        key.removeprefix("control."): value for key, value in tensors.items() if key.startswith("control.")
    }
    return Extracted(
        duration_s=float(meta["duration_s"]),
        chords=tuple(ChordSegment(**segment) for segment in json.loads(meta["chords"])),
        controls=Controls(int(meta["n_frames"]), CONTROL_FRAME_RATE, **controls),
        given=tuple(meta["given"].split(",")) if meta["given"] else (),
        **{name: tensors[name].numpy() for name in _ARRAYS},
    )
