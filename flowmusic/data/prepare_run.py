"""Preparing a whole collection: shards, resuming, failures, and checking what was written."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from torch import Tensor

from features.files import whole_file
from flowmusic.data.prepare import Preparer
from flowmusic.data.shards import (
    CODEC_FOLDER,
    SPLITS,
    DataInfo,
    ShardReader,
    SongEntry,
    digest,
    read_listing,
    shard_files,
    write_shard,
)
from flowmusic.data.sources import Source

PENDING_FOLDER = "pending"


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


@dataclass(frozen=True)
class Report:
    """What became of the sources of one process."""

    prepared: int
    kept: int
    duplicates: int
    failures: list[tuple[str, str]]

    @property
    def n_sources(self) -> int:
        return self.prepared + self.kept + self.duplicates + len(self.failures)


class Preparation:
    """Writes a data folder. Every source is finished by itself, so that a killed run loses one at most.

    What is done waits in pending/ as one file a source until a shard is full.
    """

    def __init__(
        self, folder: Path, info: DataInfo, preparer: Preparer, share: Share, songs_per_shard: int
    ) -> None:
        self.folder, self.preparer, self.share, self.songs_per_shard = (
            folder,
            preparer,
            share,
            songs_per_shard,
        )
        if (folder / "data.json").is_file() and (found := DataInfo.load(folder)) != info:
            differing = [key for key in asdict(info) if asdict(found)[key] != asdict(info)[key]]
            raise ValueError(
                f"{folder} was prepared with another {', '.join(differing)}: "
                "choose another folder, or the same settings"
            )
        from flowmusic.training.init_from import write_codec

        if not (folder / CODEC_FOLDER / "codec.safetensors").is_file():
            write_codec(preparer.codec, folder / CODEC_FOLDER)
        info.save(folder)

    def run(self, sources: Sequence[Source], progress: Callable[[int, int], None]) -> Report:
        """Prepare this process's share of `sources`; failures are also written to failures-*.jsonl."""
        mine = sources[self.share.index :: self.share.count]
        done = self._done()
        prepared = kept = duplicates = 0
        seen: set[str] = set()
        failures: list[tuple[str, str]] = []
        for number, source in enumerate(mine):
            progress(number, len(mine))
            try:
                key = source.key()
                if key in seen:
                    duplicates += 1
                elif key in done:
                    kept += 1
                else:
                    self._prepare(source, key)
                    prepared += 1
                seen.add(key)
            except (ValueError, FileNotFoundError, KeyError) as error:
                failures.append((str(source.path), " ".join(str(error).split())))
            self._pack(source.split, self.songs_per_shard)
        for split in SPLITS:
            self._pack(split, 1)
        progress(len(mine), len(mine))
        with whole_file(self.folder / f"failures-{self.share}.jsonl") as partial:
            partial.write_text("".join(json.dumps({"path": p, "reason": r}) + "\n" for p, r in failures))
        return Report(prepared, kept, duplicates, failures)

    def _done(self) -> set[str]:
        """Keys of sources that stand in a shard, or wait for one."""
        listed = {
            song.key.partition("-")[0]
            for split in SPLITS
            for path in shard_files(self.folder, split)
            for song in read_listing(path)
        }
        for path in (self.folder / PENDING_FOLDER).rglob("*.safetensors"):
            if path.name.startswith("partial-"):
                continue  # another process is writing it
            if path.stem in listed:  # killed between writing the shard and this
                path.unlink(missing_ok=True)
            listed.add(path.stem)
        return listed

    def _pending(self, split: str) -> Path:
        return self.folder / PENDING_FOLDER / str(self.share) / split

    def _prepare(self, source: Source, key: str) -> None:
        songs = []
        for index, piece in enumerate(self.preparer.pieces(source)):
            n_frames = int(piece.tensors["latents"].shape[0])
            entry = SongEntry(
                f"{key}-{index:03d}", piece.name, n_frames, piece.heard_frames, digest(piece.tensors)
            )
            songs.append((entry, piece.tensors))
        write_shard(self._pending(source.split) / f"{key}.safetensors", songs)

    def _pack(self, split: str, least: int) -> None:
        """Turn what waits into a shard, if that is `least` sources or more."""
        waiting = sorted(self._pending(split).glob("*.safetensors"))
        waiting = [path for path in waiting if not path.name.startswith("partial-")]
        if len(waiting) < max(least, 1):
            return
        reader = ShardReader()
        songs: list[tuple[SongEntry, Mapping[str, Tensor]]] = [
            (entry, {name: part[:] for name, part in reader.song(path, entry.key).items()})
            for path in waiting
            for entry in read_listing(path)
        ]
        number = len(list((self.folder / split).glob(f"{self.share}-*.safetensors")))
        write_shard(self.folder / split / f"{self.share}-{number:05d}.safetensors", songs)
        for path in waiting:
            path.unlink()


@dataclass(frozen=True)
class Checked:
    """What a data folder holds, by split."""

    songs: dict[str, int]
    hours: dict[str, float]
    problems: list[str]


def check_data(folder: Path) -> Checked:
    """Read everything in a data folder and compare it with what it should be."""
    import torch

    info = DataInfo.load(folder)
    songs, hours, problems = {}, {}, []
    for split in SPLITS:
        count, frames = 0, 0
        for path in shard_files(folder, split):
            try:
                entries, reader = read_listing(path), ShardReader()
            except ValueError as error:
                problems.append(str(error))
                continue
            for entry in entries:
                tensors = {name: part[:] for name, part in reader.song(path, entry.key).items()}
                latents = tensors.get("latents")
                if digest(tensors) != entry.digest:
                    problems.append(f"{path}: {entry.name} is not what was written (its digest differs)")
                elif latents is None or tuple(latents.shape) != (entry.n_frames, info.latent_dim):
                    problems.append(
                        f"{path}: {entry.name} has no latents ({entry.n_frames}, {info.latent_dim})"
                    )
                elif not bool(
                    torch.isfinite(latents.float()).all() & torch.isfinite(tensors["text"].float()).all()
                ):
                    problems.append(f"{path}: {entry.name} holds NaN or infinite values")
                count, frames = count + 1, frames + entry.n_frames
        songs[split], hours[split] = count, frames / info.frame_rate / 3600
    waiting = len(list((folder / PENDING_FOLDER).rglob("*.safetensors")))
    if waiting:
        problems.append(
            f"{folder / PENDING_FOLDER} holds {waiting} sources that no shard has: run prepare again"
        )
    if not songs["train"]:
        problems.append(f"{folder / 'train'} holds no music")
    return Checked(songs, hours, problems)
