"""What there is to prepare: sound files of a folder, lines of a manifest, or rendered songs."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from features.audio import READABLE_SUFFIXES
from features.cache import content_hash
from features.controls import CONTROL_NAMES
from flowmusic.data.score import STEMS
from flowmusic.data.shards import SPLITS

SONG_FILE = "song.json"
_MANIFEST_KEYS = {"path", "duration", "captions", "split", *CONTROL_NAMES}


@dataclass(frozen=True)
class Source:
    """One recording or rendered song.

    path       a sound file, or the folder of a rendered song
    labels     files of symbols (.lab, .mid, .csv) by control, instead of what extractors hear
    duration_s what a manifest says, to be checked; None: nothing
    problem    why it cannot be used, where that was found already
    """

    path: Path
    split: str
    captions: tuple[str, ...] = ()
    labels: Mapping[str, Path] = field(default_factory=dict)
    duration_s: float | None = None
    problem: str = ""

    @property
    def is_rendered(self) -> bool:
        return self.path.is_dir()

    def key(self) -> str:
        """Hash of all content that what is prepared of it depends on; names of files play no part.

        ValueError or OSError where a part of it cannot be read.
        """
        if self.problem:
            raise ValueError(self.problem)
        files = [self.path / f"{stem}.wav" for stem in STEMS] if self.is_rendered else [self.path]
        files += (
            [self.path / SONG_FILE] if self.is_rendered else [self.labels[n] for n in sorted(self.labels)]
        )
        parts = [content_hash(file) for file in files] + list(self.captions)
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:24]


def find_sources(place: Path, valid_share: float) -> list[Source]:
    """All sources in a folder (at any depth) or a JSONL manifest, sorted by path.

    The split is that of the manifest, or the first folder below `place` that is called train, valid or
    test; else a `valid_share` of all, chosen by the hash of the path, is for validation (at least one of
    several, and never all).
    A file x.txt beside x.wav holds captions, one a line; x.lab beside it chords.

    Raises:
        ValueError: nothing to prepare, or a manifest that cannot be read, naming the line.
    """
    if place.is_dir():
        found = list(_walk(place))
    elif place.is_file():
        found = list(_read_manifest(place))
    else:
        raise ValueError(f"{place} does not exist; expected a folder of music or a manifest (.jsonl)")
    if not found:
        raise ValueError(f"{place} holds no music ({', '.join(READABLE_SUFFIXES)}, or rendered songs)")
    return _with_splits(sorted(found, key=lambda source: str(source.path)), place, valid_share)


def _walk(folder: Path) -> Iterator[Source]:
    songs = {path.parent for path in folder.rglob(SONG_FILE)}
    for song in songs:
        yield Source(song, _split_of(song.relative_to(folder)))
    for path in folder.rglob("*"):
        if path.suffix.lower() in READABLE_SUFFIXES and path.parent not in songs and path.is_file():
            captions, chords = path.with_suffix(".txt"), path.with_suffix(".lab")
            labels = {"chords": chords} if chords.is_file() else {}
            source = Source(path, _split_of(path.relative_to(folder)), labels=labels)
            try:
                lines = captions.read_text(encoding="utf-8").splitlines() if captions.is_file() else []
                source = replace(source, captions=tuple(line.strip() for line in lines if line.strip()))
            except (OSError, UnicodeDecodeError) as error:
                source = replace(source, problem=f"{captions} cannot be read as captions in UTF-8: {error}")
            yield source


def _split_of(path: Path) -> str:
    return path.parts[0] if len(path.parts) > 1 and path.parts[0] in SPLITS else ""


def _read_manifest(manifest: Path) -> Iterator[Source]:
    for number, line in enumerate(manifest.read_bytes().splitlines(), 1):
        if line.strip():
            try:
                yield _manifest_entry(json.loads(line), manifest.parent)
            except (json.JSONDecodeError, TypeError, ValueError) as error:
                raise ValueError(f"{manifest}, line {number}: {error}") from error


def _manifest_entry(values: Any, folder: Path) -> Source:
    if not isinstance(values, dict) or not isinstance(values.get("path"), str):
        raise ValueError('expected an object with "path", a text')
    unknown = sorted(set(values) - _MANIFEST_KEYS)
    if unknown:
        raise ValueError(f"unknown keys {unknown}; expected some of {sorted(_MANIFEST_KEYS)}")
    captions = values.get("captions", [])
    captions = [captions] if isinstance(captions, str) else captions
    if not isinstance(captions, list) or not all(isinstance(caption, str) for caption in captions):
        raise ValueError('"captions" must be a text or a list of texts')
    split = values.get("split", "")
    if split not in ("", *SPLITS):
        raise ValueError(f'"split" must be one of {", ".join(SPLITS)}, got {split!r}')
    duration = values.get("duration")
    if duration is not None and not isinstance(duration, int | float):
        raise ValueError(f'"duration" must be seconds, got {duration!r}')
    labels = {name: folder / values[name] for name in CONTROL_NAMES if values.get(name)}
    return Source(folder / values["path"], split, tuple(captions), labels, duration)


def _with_splits(sources: list[Source], place: Path, valid_share: float) -> list[Source]:
    root = place if place.is_dir() else place.parent
    unassigned = [source for source in sources if not source.split]
    hashes = {source.path: _unit_hash(os.path.relpath(source.path, root)) for source in unassigned}
    chosen = {path for path, value in hashes.items() if value < valid_share}
    has_valid = bool(chosen) or any(source.split == "valid" for source in sources)
    if valid_share > 0 and not has_valid and len(unassigned) > 1:
        chosen = {min(hashes, key=hashes.__getitem__)}
    if len(chosen) == len(sources):
        chosen.discard(max(hashes, key=hashes.__getitem__))
    return [
        source if source.split else replace(source, split="valid" if source.path in chosen else "train")
        for source in sources
    ]


def _unit_hash(text: str) -> float:
    return int(hashlib.sha256(text.encode()).hexdigest()[:12], 16) / 16**12
