"""What there is to prepare: sound files of a folder, lines of a manifest, or rendered songs."""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from features.audio import READABLE_SUFFIXES
from features.cache import content_hash
from features.controls import CONTROL_NAMES
from features.folders import is_sound, visible_files, warn_of_unread
from features.text_files import TextFileError, parse_json, read_lines, unprintable
from flowmusic.composer.score import STEMS
from flowmusic.data.shards import SPLITS

SONG_FILE = "song.json"
_MANIFEST_KEYS = {"path", "duration", "captions", "split", *CONTROL_NAMES}


@dataclass(frozen=True)
class Source:
    """One recording or rendered song.

    path       a sound file, or the folder of a rendered song
    labels     files of symbols (.lab, .mid, .csv) by control, instead of what is extracted
    duration_s what a manifest says, to be checked; None: nothing
    problem    why it cannot be used, where that was found already
    same_as    an earlier source with this very content, which is prepared in place of this one
    siblings   keys of all sources with this sound, where there are several
    """

    path: Path
    split: str
    captions: tuple[str, ...] = ()
    labels: Mapping[str, Path] = field(default_factory=dict)
    duration_s: float | None = None
    problem: str = ""
    same_as: Path | None = None
    siblings: tuple[str, ...] = ()

    @property
    def is_rendered(self) -> bool:
        return os.path.isdir(self.path)  # noqa: PTH112 - Path.is_dir raises where it may not look

    @property
    def sound_files(self) -> list[Path]:
        return [self.path / f"{stem}.wav" for stem in STEMS] if self.is_rendered else [self.path]

    def keys(self) -> tuple[str, str]:
        """Hashes of all content that what is prepared of it depends on, and of its sound alone.

        Names of files play no part. ValueError or OSError where a part of it cannot be read.
        """
        if self.problem:
            raise ValueError(self.problem)
        sound = [content_hash(file) for file in self.sound_files]
        symbols = (
            [self.path / SONG_FILE] if self.is_rendered else [self.labels[n] for n in sorted(self.labels)]
        )
        return _hash(sound + [content_hash(file) for file in symbols] + list(self.captions)), _hash(sound)


def find_sources(place: Path, valid_share: float) -> list[Source]:
    """All sources in a folder (at any depth) or a JSONL manifest, sorted by path.

    The split is that of the manifest, or the first folder below `place` that is called train, valid or
    test; else a `valid_share` of all, chosen by the hash of the path, is for validation (at least one of
    several, and never all). The same sound under several names goes where the first of them goes.
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
    files = visible_files(folder)
    warn_of_unread(folder, files)
    songs = {path.parent for path in files if path.name == SONG_FILE}
    for song in songs:
        yield Source(song, _split_of(song.relative_to(folder)))
    for path in files:
        if is_sound(path) and path.parent not in songs:
            captions, chords = path.with_suffix(".txt"), path.with_suffix(".lab")
            labels = {"chords": chords} if chords.is_file() else {}
            source = Source(path, _split_of(path.relative_to(folder)), labels=labels)
            try:
                lines = read_lines(captions, "captions, one a line", True) if captions.is_file() else []
                source = replace(source, captions=tuple(line.strip() for line in lines if line.strip()))
            except TextFileError as error:
                source = replace(source, problem=str(error))
            yield source


def _split_of(path: Path) -> str:
    return path.parts[0] if len(path.parts) > 1 and path.parts[0] in SPLITS else ""


def _read_manifest(manifest: Path) -> Iterator[Source]:
    for number, line in enumerate(read_lines(manifest, "a manifest (JSON lines) or a folder of music"), 1):
        if line.strip():
            try:
                yield _manifest_entry(parse_json(line), manifest.parent)
            except ValueError as error:
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
    if character := unprintable("".join(captions)):
        raise ValueError(f'"captions" must be texts without control characters, got {character}')
    split = values.get("split", "")
    if split not in ("", *SPLITS):
        raise ValueError(f'"split" must be one of {", ".join(SPLITS)}, got {split!r}')
    duration = values.get("duration")
    if duration is not None and not (isinstance(duration, int | float) and _is_length(duration)):
        raise ValueError(f'"duration" must be seconds, got {duration!r}')
    labels = {name: _file(values, name, folder) for name in CONTROL_NAMES if values.get(name)}
    return Source(_file(values, "path", folder), split, tuple(captions), labels, duration)


def _is_length(seconds: float) -> bool:
    return not isinstance(seconds, bool) and 0 < seconds < math.inf


def _file(values: Mapping[str, Any], name: str, folder: Path) -> Path:
    path = values[name]
    try:
        if not isinstance(path, str) or b"\0" in os.fsencode(path):
            raise ValueError(f'"{name}" must be the path of a file, got {path!r}')
    except UnicodeEncodeError as error:
        raise ValueError(f'"{name}" must be the path of a file, got {path!r}') from error
    return folder / path


def _with_splits(sources: list[Source], place: Path, valid_share: float) -> list[Source]:
    root = place if place.is_dir() else place.parent
    groups = same_content([source.sound_files for source in sources])
    splits = [next((sources[i].split for i in group if sources[i].split), "") for group in groups]
    hashes = {
        number: _unit_hash(os.path.relpath(sources[group[0]].path, root))
        for number, group in enumerate(groups)
        if not splits[number]
    }
    chosen = {number for number, value in hashes.items() if value < valid_share}
    if valid_share > 0 and not chosen and "valid" not in splits and len(hashes) > 1:
        chosen = {min(hashes, key=hashes.__getitem__)}
    if len(chosen) == len(groups):
        chosen.discard(max(hashes, key=hashes.__getitem__))
    found = list(sources)
    for number, group in enumerate(groups):
        split = splits[number] or ("valid" if number in chosen else "train")
        for i, source in zip(group, _introduced([sources[i] for i in group]), strict=True):
            found[i] = replace(source, split=split)
    return found


def _introduced(group: list[Source]) -> list[Source]:
    """Sources of one sound, each with what it has to know of the others."""
    if len(group) == 1:
        return group
    keys = [_key(source) for source in group]
    first = [group[keys.index(key)] if key else source for key, source in zip(keys, group, strict=True)]
    return [
        replace(source, siblings=tuple(keys), same_as=None if earlier is source else earlier.path)
        for source, earlier in zip(group, first, strict=True)
    ]


def _key(source: Source) -> str:
    """Empty where the source cannot be read."""
    try:
        return source.keys()[0]
    except (ValueError, OSError):
        return ""


def _hash(parts: list[str]) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:24]


def _unit_hash(text: str) -> float:
    return int(hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()[:12], 16) / 16**12


_SAMPLE_BYTES = 4096


def same_content(items: Sequence[Sequence[Path]]) -> list[list[int]]:
    """Indices of `items`, each a few files, in groups that hold the same bytes; sorted.

    Only what has equal sizes is opened, and only what is alike in the middle is read. An item that
    cannot be read is like no other.
    """
    groups = [list(range(len(items)))] if items else []
    for identify in (_sizes, _middles, _hashes):
        groups = [part for group in groups for part in _apart(group, items, identify)]
    return sorted(groups)


def _apart(
    group: list[int], items: Sequence[Sequence[Path]], identify: Callable[[Sequence[Path]], Hashable]
) -> list[list[int]]:
    if len(group) < 2:
        return [group]
    parts: dict[Hashable, list[int]] = {}
    for index in group:
        try:
            parts.setdefault(identify(items[index]), []).append(index)
        except OSError:
            parts[index] = [index]
    return list(parts.values())


def _sizes(files: Sequence[Path]) -> Hashable:
    return tuple(path.stat().st_size for path in files)


def _middles(files: Sequence[Path]) -> Hashable:
    """Some bytes of each; beginnings and ends are often silent alike."""
    found = []
    for path in files:
        with path.open("rb") as file:
            file.seek(path.stat().st_size // 2)
            found.append(file.read(_SAMPLE_BYTES))
    return tuple(found)


def _hashes(files: Sequence[Path]) -> Hashable:
    return tuple(content_hash(path) for path in files)
