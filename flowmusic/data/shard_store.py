"""What one process writes into a data folder: finished sources wait in pending/ until a shard is full."""

from __future__ import annotations

import os
import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from features.files import PARTIAL_PREFIX
from flowmusic.data.shards import (
    SPLITS,
    ShardReader,
    SongEntry,
    finished_files,
    read_listing,
    shard_files,
    write_shard,
)

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
