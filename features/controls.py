"""Controls: all that the generator is allowed to know about the music it is to follow."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from features.files import whole_file
from features.frames import CONTROL_FRAME_RATE, FrameGrid

N_DRUM_BANDS = 4
N_PITCHES = 53
PITCH_LOW_MIDI = 43
N_CHORD_CHANNELS = 37
CONTROL_CHANNELS = {"drums": N_DRUM_BANDS, "melody": N_PITCHES, "chords": N_CHORD_CHANNELS}
CONTROL_NAMES = tuple(CONTROL_CHANNELS)


@dataclass(frozen=True)
class Controls:
    """Temporal controls on one frame grid, each with the frames where it is given.

    Shape:
        drums  (T, 4)   energies of the drum bands, low to high, in [0, 1]
        melody (T, 53)  salience of the semitones from MIDI 43 (G2) up, in [0, 1]
        chords (T, 37)  12 roots, 12 basses, 12 sounding pitch classes, no-chord, in [0, 1]
        *_mask (T,)     bool: False where the control is absent (the model hears its learned null)
    """

    n_frames: int
    frame_rate: float = CONTROL_FRAME_RATE
    drums: Tensor | None = None
    melody: Tensor | None = None
    chords: Tensor | None = None
    drums_mask: Tensor | None = None
    melody_mask: Tensor | None = None
    chords_mask: Tensor | None = None

    def __post_init__(self) -> None:
        for name, channels in CONTROL_CHANNELS.items():
            value, mask = self.get(name), self.mask(name)
            if value is not None and tuple(value.shape) != (self.n_frames, channels):
                raise ValueError(
                    f"{name} must have shape ({self.n_frames}, {channels}), got {tuple(value.shape)}"
                )
            if value is not None and not torch.isfinite(value).all():
                raise ValueError(f"{name} holds NaN or infinite values")
            if tuple(mask.shape) != (self.n_frames,) or mask.dtype != torch.bool:
                raise ValueError(f"{name}_mask must be a bool tensor of shape ({self.n_frames},)")

    @property
    def grid(self) -> FrameGrid:
        return FrameGrid(self.frame_rate, self.n_frames)

    @property
    def given(self) -> tuple[str, ...]:
        """Names of the controls that are present in at least one frame."""
        return tuple(name for name in CONTROL_NAMES if bool(self.mask(name).any()))

    def get(self, name: str) -> Tensor | None:
        value: Tensor | None = getattr(self, name)
        return value

    def mask(self, name: str) -> Tensor:
        """Where control `name` is given, (T,) bool; everywhere if no mask was set."""
        mask: Tensor | None = getattr(self, f"{name}_mask")
        if self.get(name) is None:
            return torch.zeros(self.n_frames, dtype=torch.bool)
        return torch.ones(self.n_frames, dtype=torch.bool) if mask is None else mask

    def crop(self, start: int, n_frames: int) -> Controls:
        """Frames [start, start + n_frames); where that reaches past the end, controls are absent."""
        fields: dict[str, Tensor | None] = {}
        for name in CONTROL_NAMES:
            value = self.get(name)
            if value is None:
                continue
            piece, mask = value[start : start + n_frames], self.mask(name)[start : start + n_frames]
            missing = n_frames - piece.shape[0]
            fields[name] = torch.cat([piece, piece.new_zeros(missing, piece.shape[1])])
            fields[f"{name}_mask"] = torch.cat([mask, mask.new_zeros(missing)])
        return Controls(n_frames, self.frame_rate, **fields)

    def fit(self, n_frames: int) -> Controls:
        """Cut, or lengthened with absent controls, to `n_frames`."""
        return self if n_frames == self.n_frames else self.crop(0, n_frames)

    def only(self, *names: str) -> Controls:
        """The same without the controls that are not named."""
        return self.without(*(name for name in CONTROL_NAMES if name not in names))

    def without(self, *names: str) -> Controls:
        unknown = set(names) - set(CONTROL_NAMES)
        if unknown:
            raise ValueError(f"unknown control {sorted(unknown)}; expected some of {CONTROL_NAMES}")
        absent: dict[str, Any] = {key: None for name in names for key in (name, f"{name}_mask")}
        return replace(self, **absent)

    def combine(self, other: Controls) -> Controls:
        """This one's controls, and those of `other` where this one has none."""
        fields = {
            key: getattr(other, key)
            for name in CONTROL_NAMES
            if self.get(name) is None
            for key in (name, f"{name}_mask")
        }
        return replace(self, **fields)

    def save(self, path: str | Path) -> None:
        """Write as safetensors, whole or not at all."""
        from safetensors.torch import save_file

        path = Path(path)
        tensors = {
            name: value.contiguous() for name in CONTROL_NAMES if (value := self.get(name)) is not None
        }
        tensors |= {f"{name}_mask": self.mask(name).contiguous() for name in tensors}
        meta = {
            "frame_rate": str(self.frame_rate),
            "n_frames": str(self.n_frames),
            "format": "flowmusic.controls.1",
        }
        with whole_file(path) as partial:
            save_file(tensors, partial, metadata=meta)

    @classmethod
    def load(cls, path: str | Path) -> Controls:
        """Read what `save` wrote. ValueError, naming the file, where it is something else."""
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(str(path), framework="pt") as file:
                meta = file.metadata() or {}
                if meta.get("format") != "flowmusic.controls.1":
                    raise ValueError(f"{path} is not a file of controls written by flowmusic")
                tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - safe_open has no iterator
        except (SafetensorError, OSError) as error:
            raise ValueError(f"{path} cannot be read as controls (safetensors): {error}") from error
        known = {*CONTROL_NAMES, *(f"{name}_mask" for name in CONTROL_NAMES)}
        if unknown := sorted(set(tensors) - known):
            raise ValueError(f"{path} holds {unknown[0]!r}; expected some of {', '.join(sorted(known))}")
        if missing := sorted({"n_frames", "frame_rate"} - set(meta)):
            raise ValueError(f"{path} does not say its {' and '.join(missing)}")
        tensors |= {name: tensors[name].float() for name in CONTROL_NAMES if name in tensors}
        try:
            return cls(int(meta["n_frames"]), float(meta["frame_rate"]), **tensors)
        except ValueError as error:
            raise ValueError(f"{path} does not hold controls: {error}") from error
