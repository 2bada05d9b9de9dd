"""A take: one finished clip of a session; its sound lies on disk, only its figures in memory."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from features.audio import Audio
from features.files import whole_file
from flowmusic.api.clip import ClipInfo
from flowmusic.api.editing import BORDER_FADE_S
from flowmusic.api.loudness import integrated_loudness

MAX_PEAKS = 20_000
_PARTS_OF_A_BLOCK = 256


@dataclass(frozen=True)
class TakePaths:
    """The files of a take: `extracted` and `plot` come later than the others."""

    sound: Path
    sidecar: Path
    plot: Path
    asked: Path
    extracted: Path

    @property
    def is_whole(self) -> bool:
        return self.sound.is_file() and self.sidecar.is_file()


def take_paths(folder: Path, identity: str) -> TakePaths:
    names = (".wav", ".json", ".png", ".asked.json", ".extracted.json")
    return TakePaths(*(folder / f"{identity}{suffix}" for suffix in names))


@dataclass(frozen=True)
class Take:
    """What a page knows of a take.

    created    seconds since 1970
    duration   in seconds; `loudness` in LUFS
    seconds    how long each part of making it took
    kept       spans that are, sample by sample, those of the take that it was made of
    """

    id: str
    name: str
    star: bool
    deleted: bool
    seed: int
    created: float
    duration: float
    scores: dict[str, float | None]
    overall: float | None
    seconds: dict[str, float]
    request: dict[str, Any]
    kept: list[list[float]]
    loudness: float | None

    def updated(self, **values: Any) -> Take:
        return replace(self, **values)

    def plain(self) -> dict[str, Any]:
        return asdict(self)


def read_take(folder: Path, identity: str) -> Take:
    """The take of finished files. ValueError, naming the file, where they are something else."""
    paths = take_paths(folder, identity)
    return take_of(paths, identity, ClipInfo.load(paths.sidecar), read_sound(paths.sound))


def take_of(paths: TakePaths, identity: str, info: ClipInfo, sound: Audio) -> Take:
    """The take of a clip whose files are written."""
    loudness = integrated_loudness(sound.samples, sound.sample_rate)
    return Take(
        id=identity,
        name="",
        star=False,
        deleted=False,
        seed=info.seed,
        created=round(paths.sound.stat().st_mtime, 3),
        duration=sound.duration_s,
        scores=dict(info.scores or {}),
        overall=info.overall,
        seconds=dict(info.seconds),
        request=info.request.plain(),
        kept=exactly_kept(info.kept, info.duration),
        loudness=None if loudness is None else round(loudness, 2),
    )


def exactly_kept(kept_s: Sequence[Sequence[float]], duration_s: float) -> list[list[float]]:
    """Kept spans without the fades at their borders: there the sound is the old one's sample by sample."""
    spans = []
    for start, end in kept_s:
        fade = min(BORDER_FADE_S, (end - start) / 2)
        first = start if start <= 0 else start + fade
        last = end if end >= duration_s - 1e-6 else end - fade
        if last - first > 1e-3:
            spans.append([round(first, 4), round(last, 4)])
    return spans


def read_sound(path: Path) -> Audio:
    """A recording that the server wrote itself. ValueError, naming the file, where it cannot be read."""
    import soundfile

    try:
        samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    except soundfile.SoundFileError as error:
        raise ValueError(f"{path} cannot be read: {error}") from error
    return Audio(np.ascontiguousarray(samples.T), rate)


def peaks(path: Path, n: int) -> list[list[float]]:
    """Lowest and highest sample of `n` equal parts of a sound, read in blocks of some hundred parts."""
    import soundfile

    with soundfile.SoundFile(path) as file:
        n = max(1, min(n, MAX_PEAKS, file.frames))
        edges = np.linspace(0, file.frames, n + 1).astype(int)
        found: list[list[float]] = []
        for first in range(0, n, _PARTS_OF_A_BLOCK):
            places = edges[first : first + _PARTS_OF_A_BLOCK + 1] - edges[first]
            block = file.read(places[-1], dtype="float32", always_2d=True)  # (S, C)
            low = np.minimum.reduceat(block.min(axis=1), places[:-1])
            high = np.maximum.reduceat(block.max(axis=1), places[:-1])
            found += np.stack([low, high], axis=1).round(4).tolist()
    return found


def write_plain(path: Path, data: Any) -> None:
    """JSON, whole or not at all."""
    with whole_file(path) as partial:
        partial.write_text(json.dumps(data, ensure_ascii=False), encoding="utf-8")
