"""Clips made for an evaluation, kept on disk under a key of everything that decides how they sound."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch

from features.audio import Audio, normalise_peak, read_audio, write_audio
from flowmusic.evaluation.report import write_text

if TYPE_CHECKING:
    from flowmusic.api.model import FlowMusic
    from flowmusic.api.request import Request


class Maker(Protocol):
    """What is evaluated: something that makes clips, and the codec it makes them with."""

    @property
    def version(self) -> str:
        """What decides, beside a request, how a clip sounds: weights, defaults, code."""
        ...

    def make(self, request: Request) -> Audio:
        """A clip of what is asked for."""
        ...

    def resynthesise(self, audio: Audio) -> Audio:
        """What the codec leaves of a recording: the best that any clip could do."""
        ...


@dataclass(frozen=True)
class FlowMaker:
    """A `FlowMusic` as a `Maker`."""

    model: FlowMusic

    @property
    def version(self) -> str:
        from flowmusic import __version__

        pretrained = self.model.model
        defaults = json.dumps(dataclasses.asdict(pretrained.defaults), sort_keys=True)
        return f"{pretrained.fingerprint}|flowmusic {__version__}|{defaults}"

    def make(self, request: Request) -> Audio:
        (clip,) = self.model.render(self.model.prepare(request), [request.seed])
        return Audio(clip.audio, clip.sample_rate)

    def resynthesise(self, audio: Audio) -> Audio:
        return self.model.resynthesise(audio)


def describe_request(version: str, request: Request) -> dict[str, Any]:
    """All that decides a clip, as JSON: the maker's version and every field of the request.

    Sound and controls in memory are there by their content, files by path and content.
    """
    files = {
        name: hashlib.sha256(Path(path).read_bytes()).hexdigest() for name, path in request.files.items()
    }
    fields = {name: _plain(value) for name, value in sorted(dict(request).items())}
    return {"maker": version, "files": files, **fields}


def request_key(version: str, request: Request) -> str:
    """Twelve hexadecimal digits that differ for clips of another maker, or asked for in any other way."""
    return digest(describe_request(version, request))


def digest(value: Any) -> str:
    """Twelve hexadecimal digits of plain values, arrays and dataclasses of them.

    Raises:
        ValueError: something whose content cannot be read.
    """
    return hashlib.sha256(json.dumps(_plain(value), sort_keys=True).encode()).hexdigest()[:12]


def _plain(value: Any) -> Any:
    """A value as JSON; arrays and files as a digest of their content. ValueError for what has no content."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, str | os.PathLike):
        return os.fspath(value)
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu().numpy()
    if isinstance(value, np.ndarray):
        digest = hashlib.sha256(np.ascontiguousarray(value).tobytes()).hexdigest()
        return f"{value.dtype} {list(value.shape)} {digest}"
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    raise ValueError(
        f"expected plain values, arrays, files or dataclasses in a request, got {type(value).__name__}"
    )


class ClipStore:
    """Makes clips and keeps them: `FOLDER/NAME-KEY.wav`, with what was asked for beside it (`.json`).

    What is written is what is judged: 16 bits and all; sound beyond full scale is turned down.
    """

    def __init__(self, maker: Maker, folder: Path) -> None:
        self.maker, self.folder = maker, folder

    def path(self, name: str, request: Request) -> Path:
        """Where a clip lies; `name` may hold folders."""
        return self.folder / f"{name}-{request_key(self.maker.version, request)}.wav"

    def clip(self, name: str, request: Request) -> Audio:
        """A clip, made where it is not there already."""
        path = self.path(name, request)
        if not path.is_file():
            made = self.maker.make(request)
            asked = describe_request(self.maker.version, request)
            write_text(path.with_suffix(".json"), json.dumps(asked, indent=2) + "\n")
            _write(path, made)
        return read_audio(path)

    def resynthesis(self, name: str, audio: Audio) -> Audio:
        """What the maker's codec leaves of a sound, kept under its content."""
        path = self.folder / "resynthesis" / f"{name}-{digest([self.maker.version, audio])}.wav"
        if not path.is_file():
            _write(path, self.maker.resynthesise(audio))
        return read_audio(path)


def _write(path: Path, audio: Audio) -> None:
    loud = float(np.abs(audio.samples).max(initial=0.0)) > 1.0
    write_audio(path, normalise_peak(audio.samples) if loud else audio.samples, audio.sample_rate)
