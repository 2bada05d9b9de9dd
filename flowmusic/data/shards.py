"""Prepared music on disk: shards of many songs each, read excerpt by excerpt.

    DATA/data.json                     what all of it has in common (`DataInfo`)
    DATA/codec/                        codec.json and codec.safetensors: what turns latents into sound
    DATA/<split>/<shard>.safetensors   tensors `<song>/<name>`; a list of its songs in the metadata

Safetensors throughout: an excerpt is read as a slice of a memory-mapped file, so that nothing but the
excerpts of a batch is ever held, any order costs the same, and no pickle is involved.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import zlib
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from features.files import PARTIAL_PREFIX, whole_file
from features.tensor_files import open_tensors, write_tensors
from features.text_files import read_json

SHARD_FORMAT = "flowmusic.shard.2"
DATA_FORMAT = "flowmusic.data.2"
INFO_FILE, CODEC_FOLDER = "data.json", "codec"
SPLITS = ("train", "valid", "test")
_OPEN_SHARDS = 256


@dataclass(frozen=True)
class DataInfo:
    """What all songs of a data folder have in common.

    codec          its name, and of what content (`codec_key`)
    frame_rate     latent frames a second
    latent_dim     channels D of the latents
    control_rate   control frames a second
    text_encoder   what made the text states, with `text_dim` channels
    extractors     names of the extractors by role
    piece_s        longer recordings are cut into pieces of so many seconds
    extracted_s    seconds of a rendered song whose controls were extracted as well
    valid_share    share of the files for validation, where nothing says so
    songs_per_shard
    """

    codec: str
    codec_key: str
    sample_rate: int
    frame_rate: float
    latent_dim: int
    control_rate: float
    text_encoder: str
    text_dim: int
    extractors: dict[str, str]
    piece_s: float = 60.0
    extracted_s: float = 16.0
    valid_share: float = 0.05
    songs_per_shard: int = 64

    def save(self, folder: Path) -> None:
        path = folder / INFO_FILE
        with naming(path), whole_file(path) as partial:
            partial.write_text(json.dumps({"format": DATA_FORMAT} | asdict(self), indent=2) + "\n")

    @classmethod
    def load(cls, folder: Path) -> DataInfo:
        """ValueError, naming the file, where `folder` is not what `flowmusic prepare` writes."""
        path = folder / INFO_FILE
        if not path.is_file():
            raise ValueError(
                f"{folder} holds no prepared data ({INFO_FILE} is missing): run flowmusic prepare"
            )
        values = read_json(path, f"what flowmusic prepare writes ({DATA_FORMAT})")
        known = {field.name for field in fields(cls)}
        is_ours = isinstance(values, dict) and values.pop("format", None) == DATA_FORMAT
        if not is_ours or set(values) != known:
            raise ValueError(f"{path} is not of the format {DATA_FORMAT!r}: prepare the data again")
        return cls(**values)


@dataclass(frozen=True)
class SongEntry:
    """One song of a shard, as its list of songs has it.

    key      of its source, and the number of the piece
    digest   that of its tensors
    sound    hash of its source's sound alone
    """

    key: str
    name: str
    n_frames: int
    extracted_frames: int
    digest: str
    sound: str = ""

    @property
    def source_key(self) -> str:
        return self.key.partition("-")[0]


@dataclass(frozen=True)
class Slices:
    """A tensor on disk: sliced along its first axis it is read, part by part."""

    shape: tuple[int, ...]
    _source: Any

    def __getitem__(self, span: slice) -> Tensor:
        return self._source[span]


def digest(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 over names, types, shapes and values."""
    found = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].contiguous().cpu()
        found.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        found.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return found.hexdigest()[:32]


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Errors of writing become an OSError that names `path`: those of a full disk name no file."""
    try:
        yield
    except OSError as error:
        raise OSError(f"{path} cannot be written: {error}") from error


def write_shard(path: Path, songs: Sequence[tuple[SongEntry, Mapping[str, Tensor]]]) -> None:
    """Write songs with their tensors as one shard, whole or not at all. OSError, naming it, if it cannot."""
    tensors = {
        f"{entry.key}/{name}": tensor.contiguous().clone()
        for entry, values in songs
        for name, tensor in values.items()
    }
    listing = json.dumps([asdict(entry) for entry, _ in songs])
    with naming(path):
        write_tensors(path, tensors, {"format": SHARD_FORMAT, "songs": listing})


def read_listing(path: Path) -> list[SongEntry]:
    """The songs of a shard. ValueError, naming the file, where it is something else."""
    with open_tensors(path, "a shard of prepared data") as file:
        metadata = file.metadata() or {}
    try:
        if metadata.get("format") != SHARD_FORMAT:
            raise ValueError(f"{path} is not a shard of prepared data ({SHARD_FORMAT})")
        return [SongEntry(**entry) for entry in json.loads(metadata["songs"])]
    except (KeyError, TypeError, json.JSONDecodeError) as error:
        raise ValueError(f"{path} cannot be read as a shard of prepared data: {error}") from error


def finished_files(folder: Path, pattern: str) -> list[Path]:
    """Files in `folder` that are whole, sorted: what is being written, or was by a killed process, is not."""
    return sorted(path for path in folder.glob(pattern) if not path.name.startswith((PARTIAL_PREFIX, ".")))


def shard_files(folder: Path, split: str) -> list[Path]:
    """Shards of a split, sorted by name."""
    return finished_files(folder / split, "*.safetensors")


class ShardReader:
    """Reads songs out of shards; keeps the last few files open."""

    def __init__(self) -> None:
        self._open: OrderedDict[Path, Any] = OrderedDict()

    def song(self, path: Path, key: str) -> dict[str, Slices]:
        """Tensors of one song by name, not yet read."""
        file, names = self._file(path)
        return {
            name: Slices(tuple((source := file.get_slice(f"{key}/{name}")).get_shape()), source)
            for name in names.get(key, ())
        }

    def _file(self, path: Path) -> tuple[Any, dict[str, list[str]]]:
        if path not in self._open:
            file = open_tensors(path, "a shard of prepared data")
            names: dict[str, list[str]] = {}
            for full in file.keys():  # noqa: SIM118 - safe_open has no iterator
                key, _, name = full.rpartition("/")
                names.setdefault(key, []).append(name)
            self._open[path] = (file, names)
            if len(self._open) > _OPEN_SHARDS:
                self._open.popitem(last=False)
        self._open.move_to_end(path)
        return self._open[path]

    def __getstate__(self) -> dict[str, Any]:
        """Open files do not travel to the processes of a data loader."""
        return {"_open": OrderedDict()}


PENDING_FOLDER = "pending"

Songs = Sequence[tuple[SongEntry, Mapping[str, Tensor]]]


@dataclass(frozen=True)
class Share:
    """This process does every `count`-th source, from `index` on."""

    index: int = 0
    count: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.index < self.count:
            raise ValueError(f"expected a shard i/n with 0 <= i < n, got {self.index}/{self.count}")

    @classmethod
    def parse(cls, text: str | None, environment: Mapping[str, str] = os.environ) -> Share:
        """'i/n'; None: the task of a SLURM array (sbatch --array=0-7), or everything."""
        if text is not None:
            try:
                index, count = (int(part) for part in text.split("/"))
            except ValueError as error:
                raise ValueError(f"expected a shard such as 0/4, got {text!r}") from error
            return cls(index, count)
        if "SLURM_ARRAY_TASK_ID" in environment:
            first = int(environment.get("SLURM_ARRAY_TASK_MIN", "0"))
            count = int(environment["SLURM_ARRAY_TASK_COUNT"])
            return cls(int(environment["SLURM_ARRAY_TASK_ID"]) - first, count)
        return cls()

    def __str__(self) -> str:
        return f"{self.index}-of-{self.count}"


class ShardStore:
    """The sources that stand in a data folder, and one process's way to add to them.

    Processes of one `count` may run at the same time, and leave each other's files alone. Files of another
    count are those of a run that has ended: what it left half written is removed, and what it had finished
    is taken over, by each process a part of it.
    """

    def __init__(self, folder: Path, share: Share, songs_per_shard: int) -> None:
        self.folder, self.share, self.songs_per_shard = folder, share, songs_per_shard
        self._clean()
        self._adopt()
        self._files: dict[str, Path] = {}  # by key of the source
        self._sounds: dict[str, set[str]] = {}  # keys of the sources of a sound
        self._find()

    def __contains__(self, key: str) -> bool:
        """Whether the source of that key stands in a shard, or waits for one."""
        return key in self._files

    def outdated(self, sound: str, current: set[str]) -> set[str]:
        """Keys of what stands here of a sound with captions or labels that it no longer has.

        ValueError where that may be in the hands of another process.
        """
        found = self._sounds.get(sound, set()) - current
        for key in found:
            if self.share.count > 1 and not self._is_own(self._files[key]):
                raise ValueError(
                    f"its captions or labels differ from those in {self._files[key]}, which another "
                    "process may be using: prepare once without --shard, to replace them"
                )
        return found

    def split_of(self, sound: str, current: set[str]) -> str | None:
        """Where another current source of that sound stands."""
        found = sorted(self._sounds.get(sound, set()) & current)
        return self._files[found[0]].parent.name if found else None

    def add(self, key: str, split: str, songs: Songs) -> None:
        """Keep all that was made of one source. OSError, naming the file, where the disk is full."""
        path = self._pending(split) / f"{key}.safetensors"
        write_shard(path, songs)
        self._note(path, [entry for entry, _ in songs])

    def pack(self, split: str, least: int) -> None:
        """Turn what waits into shards, of `least` sources or more."""
        waiting = finished_files(self._pending(split), "*.safetensors")
        for first in range(0, len(waiting), self.songs_per_shard):
            part = waiting[first : first + self.songs_per_shard]
            if len(part) < least:
                break
            songs = [song for path in part for song in _songs(path, read_listing(path))]
            write_shard(self._next_shard(split), songs)
            for path in part:  # or another process has seen the shard, and removed it
                path.unlink(missing_ok=True)

    def drop(self, keys: set[str]) -> None:
        """Take sources out of the shards of this process, or of all where it is the only one."""
        shards = [path for split in SPLITS for path in shard_files(self.folder, split)] if keys else []
        for path in shards:
            entries = read_listing(path)
            left = [entry for entry in entries if entry.source_key not in keys]
            if len(left) == len(entries) or not (self.share.count == 1 or self._is_own(path)):
                continue
            if left:
                write_shard(path, _songs(path, left))
            else:
                path.unlink()

    def _pending(self, split: str) -> Path:
        return self.folder / PENDING_FOLDER / str(self.share) / split

    def _next_shard(self, split: str) -> Path:
        found = (self.folder / split).glob(f"{self.share}-*.safetensors")
        number = max((int(path.stem.rpartition("-")[2]) for path in found), default=-1) + 1
        return self.folder / split / f"{self.share}-{number:05d}.safetensors"

    def _owner(self, path: Path) -> str:
        found = re.search(r"\d+-of-\d+", str(path.relative_to(self.folder)))
        return found[0] if found else ""

    def _is_own(self, path: Path) -> bool:
        return self._owner(path) == str(self.share)

    def _is_free(self, path: Path) -> bool:
        """Whether `path` is a file of this process, or of one that has ended."""
        count = self._owner(path).rpartition("-")[2]
        return self._is_own(path) or count not in ("", str(self.share.count))

    def _clean(self) -> None:
        for path in self.folder.rglob(f"{PARTIAL_PREFIX}*"):
            if self._is_free(path):
                path.unlink(missing_ok=True)

    def _adopt(self) -> None:
        for path in finished_files(self.folder / PENDING_FOLDER, "*/*/*.safetensors"):
            # every process finds the same files: by their names each takes others
            if self._is_free(path) and zlib.crc32(path.name.encode()) % self.share.count == self.share.index:
                target = self._pending(path.parent.name) / path.name
                target.parent.mkdir(parents=True, exist_ok=True)
                path.replace(target)

    def _find(self) -> None:
        for path in (path for split in SPLITS for path in shard_files(self.folder, split)):
            self._note(path, read_listing(path))
        for path in finished_files(self.folder / PENDING_FOLDER, "*/*/*.safetensors"):
            if path.stem in self._files:  # killed between writing the shard and this
                path.unlink(missing_ok=True)
            elif self._is_own(path):
                self._note(path, read_listing(path))
            else:  # its process may pack it before it could be read here
                self._files[path.stem] = path

    def _note(self, path: Path, entries: Sequence[SongEntry]) -> None:
        for entry in entries:
            self._files[entry.source_key] = path
            if entry.sound:
                self._sounds.setdefault(entry.sound, set()).add(entry.source_key)


def _songs(path: Path, entries: Sequence[SongEntry]) -> Songs:
    """Songs of a shard with their tensors, in memory."""
    reader = ShardReader()
    return [
        (entry, {name: part[:] for name, part in reader.song(path, entry.key).items()}) for entry in entries
    ]
