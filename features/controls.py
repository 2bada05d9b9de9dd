"""Controls: all that the generator is allowed to know about the music it is to follow."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from features.audio import Audio
from features.channels import N_CHORD_CHANNELS, N_DRUM_BANDS, N_PITCHES
from features.frames import CONTROL_FRAME_RATE, FrameGrid
from features.registry import Registry
from features.tensor_files import read_tensors, write_tensors

CONTROL_CHANNELS = {"drums": N_DRUM_BANDS, "melody": N_PITCHES, "chords": N_CHORD_CHANNELS}
CONTROL_NAMES = tuple(CONTROL_CHANNELS)
"""The controls of a model that does not name its own; `CONTROLS` has all."""

FORMAT = "flowmusic.controls.1"
_NAME = re.compile(r"[a-z][a-z0-9_]*")
_MASK = "_mask"
_RESERVED = ("text", "style", "context", "n_frames", "frame_rate")


@dataclass(frozen=True)
class SymbolSpec:
    """How a control is written down instead of recorded.

    kind      type of one symbol, with an `end_s` or a `time_s`
    noun      what messages call several of them
    suffixes  of files that hold them
    read      path -> symbols, or an F0Track, or a ChordChart
    render    (symbols, grid of T frames) -> values (T, channels)
    """

    kind: type
    noun: str
    suffixes: tuple[str, ...]
    read: Callable[[Path], Any]
    render: Callable[[Sequence[Any], FrameGrid], Tensor]


@dataclass(frozen=True)
class ControlSpec:
    """One kind of control that follows time.

    name         lower-case letters, digits and underscores
    channels     numbers in a frame, each in [0, 1]
    description  what it says about the music, for help texts
    version      changes with every change of `extract`: what was extracted before is not used again
    extract      recording -> values (T', channels) at 50 Hz. None for drums, melody and chords, whose
                 extractors can be chosen (`features.extract.Extractors`)
    symbols      None where it can only be taken from recordings
    """

    name: str
    channels: int
    description: str
    version: str = "1"
    extract: Callable[[Audio], Tensor] | None = None
    symbols: SymbolSpec | None = None

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name) or self.name.endswith(_MASK) or self.name in _RESERVED:
            raise ValueError(
                "a control's name must be lower-case letters, digits and underscores, must not end in "
                f"{_MASK} and must not be one of {', '.join(_RESERVED)}, got {self.name!r}"
            )
        if self.channels < 1:
            raise ValueError(f"the control {self.name} must have at least 1 channel, got {self.channels}")


CONTROLS: Registry[ControlSpec] = Registry(
    "controls",
    "control",
    {
        "drums": "features.control_specs:DRUMS",
        "melody": "features.control_specs:MELODY",
        "chords": "features.control_specs:CHORDS",
        "dynamics": "features.dynamics:DYNAMICS",
    },
)


@dataclass(frozen=True, init=False, eq=False)
class Controls:
    """Temporal controls on one frame grid, each with the frames where it is given.

    Shape (C as the control's `ControlSpec.channels` says):
        signals[name] (T, C)  float in [0, 1]: drums (T, 4) energies of the drum bands, low to high;
                              melody (T, 53) salience of the semitones from MIDI 43 (G2) up; chords (T, 37)
                              12 roots, 12 basses, 12 sounding pitch classes, no-chord; or any other control
        masks[name]   (T,)    bool: False where the control is absent (the model sees its learned null)

    They are given by name, `Controls(100, drums=..., drums_mask=...)`; without a mask, a control is given
    everywhere. Raises ValueError for a control that is not in `CONTROLS`, another shape, or NaN.
    """

    n_frames: int
    frame_rate: float
    signals: dict[str, Tensor]
    masks: dict[str, Tensor]

    def __init__(
        self, n_frames: int, frame_rate: float = CONTROL_FRAME_RATE, **signals_and_masks: Tensor | None
    ) -> None:
        given = {key: value for key, value in signals_and_masks.items() if value is not None}
        named = [key for key in given if not key.endswith(_MASK)]
        for name in named:
            CONTROLS.check(name)
        for key in given:
            if key.endswith(_MASK) and key.removesuffix(_MASK) not in named:
                raise ValueError(f"{key} is given without {key.removesuffix(_MASK)}")
        names = [name for name in CONTROLS if name in named]
        everywhere = torch.ones(n_frames, dtype=torch.bool)
        object.__setattr__(self, "n_frames", n_frames)
        object.__setattr__(self, "frame_rate", frame_rate)
        object.__setattr__(self, "signals", {name: given[name] for name in names})
        object.__setattr__(self, "masks", {name: given.get(name + _MASK, everywhere) for name in names})
        for name in names:
            _check_signal(name, self.signals[name], self.masks[name], n_frames)

    @property
    def grid(self) -> FrameGrid:
        return FrameGrid(self.frame_rate, self.n_frames)

    @property
    def given(self) -> tuple[str, ...]:
        """Names of the controls that are present in at least one frame."""
        return tuple(name for name, mask in self.masks.items() if bool(mask.any()))

    @property
    def drums(self) -> Tensor | None:
        return self.get("drums")

    @property
    def melody(self) -> Tensor | None:
        return self.get("melody")

    @property
    def chords(self) -> Tensor | None:
        return self.get("chords")

    def get(self, name: str) -> Tensor | None:
        """The signal (T, C) of a control; None where it is absent altogether."""
        return self.signals.get(name)

    def mask(self, name: str) -> Tensor:
        """Where the control `name` is given, (T,) bool."""
        mask = self.masks.get(name)
        return torch.zeros(self.n_frames, dtype=torch.bool) if mask is None else mask

    def tensors(self) -> dict[str, Tensor]:
        """Signals by their name, masks by name_mask: what `Controls(n_frames, frame_rate, ...)` takes."""
        return self.signals | {name + _MASK: mask for name, mask in self.masks.items()}

    def having(self, **signals_and_masks: Tensor | None) -> Controls:
        """The same with some signals or masks in place of its own (None: without)."""
        return Controls(self.n_frames, self.frame_rate, **(self.tensors() | signals_and_masks))

    def crop(self, start: int, n_frames: int) -> Controls:
        """Frames [start, start + n_frames); where that reaches past the end, controls are absent."""
        pieces = {}
        for key, value in self.tensors().items():
            piece = value[start : start + n_frames]
            pieces[key] = torch.cat([piece, piece.new_zeros(n_frames - piece.shape[0], *piece.shape[1:])])
        return Controls(n_frames, self.frame_rate, **pieces)

    def fit(self, n_frames: int) -> Controls:
        """Cut, or lengthened with absent controls, to `n_frames`."""
        return self if n_frames == self.n_frames else self.crop(0, n_frames)

    def only(self, *names: str) -> Controls:
        """The same without the controls that are not named. ValueError for a name that is no control."""
        for name in names:
            CONTROLS.check(name)
        return self.without(*(name for name in self.signals if name not in names))

    def without(self, *names: str) -> Controls:
        """The same without the controls that are named. ValueError for a name that is no control."""
        for name in names:
            CONTROLS.check(name)
        return self.having(**{key: None for name in names for key in (name, name + _MASK)})

    def combine(self, other: Controls) -> Controls:
        """This one's controls, and those of `other` where this one has none."""
        return Controls(self.n_frames, self.frame_rate, **(other.tensors() | self.tensors()))

    def save(self, path: str | Path) -> None:
        """Write as safetensors, whole or not at all."""
        tensors = {key: value.contiguous().clone() for key, value in self.tensors().items()}
        meta = {"frame_rate": str(self.frame_rate), "n_frames": str(self.n_frames), "format": FORMAT}
        write_tensors(Path(path), tensors, meta)

    @classmethod
    def load(cls, path: str | Path) -> Controls:
        """Read what `save` wrote. ValueError, naming the file, where it is something else."""
        tensors, meta = read_tensors(path, "controls")
        if meta.get("format") != FORMAT:
            raise ValueError(f"{path} is not a file of controls written by flowmusic")
        if missing := sorted({"n_frames", "frame_rate"} - set(meta)):
            raise ValueError(f"{path} does not say its {' and '.join(missing)}")
        tensors = {key: value if key.endswith(_MASK) else value.float() for key, value in tensors.items()}
        try:
            for key in tensors:
                CONTROLS.check(key.removesuffix(_MASK))
            return cls(int(meta["n_frames"]), float(meta["frame_rate"]), **tensors)
        except ValueError as error:
            raise ValueError(f"{path} does not hold controls: {error}") from error


def _check_signal(name: str, signal: Tensor, mask: Tensor, n_frames: int) -> None:
    channels = CONTROLS.get(name).channels
    if tuple(signal.shape) != (n_frames, channels):
        raise ValueError(f"{name} must have shape ({n_frames}, {channels}), got {tuple(signal.shape)}")
    if not torch.isfinite(signal).all():
        raise ValueError(f"{name} holds NaN or infinite values")
    if tuple(mask.shape) != (n_frames,) or mask.dtype != torch.bool:
        raise ValueError(f"{name}{_MASK} must be a bool tensor of shape ({n_frames},)")
