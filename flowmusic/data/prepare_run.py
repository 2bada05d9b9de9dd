"""Preparing a whole collection: shards, resuming, failures, and checking what was written."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from features.files import whole_file
from flowmusic.data.prepare import Preparer
from flowmusic.data.shard_store import PENDING_FOLDER, ShardStore, Share, Songs
from flowmusic.data.shards import (
    CODEC_FOLDER,
    SPLITS,
    DataInfo,
    ShardReader,
    SongEntry,
    digest,
    finished_files,
    naming,
    read_listing,
    shard_files,
)
from flowmusic.data.sources import Source


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
    """Writes a data folder. Every source is finished by itself, so that a killed run loses one at most."""

    def __init__(
        self, folder: Path, info: DataInfo, preparer: Preparer, share: Share, songs_per_shard: int
    ) -> None:
        self.folder, self.preparer, self.share = folder, preparer, share
        if (folder / "data.json").is_file() and (found := DataInfo.load(folder)) != info:
            differing = [key for key in asdict(info) if asdict(found)[key] != asdict(info)[key]]
            raise ValueError(
                f"{folder} was prepared with another {', '.join(differing)}: "
                "choose another folder, or the same settings"
            )
        from flowmusic.training.init_from import write_codec

        if not (folder / CODEC_FOLDER / "codec.safetensors").is_file():
            with naming(folder / CODEC_FOLDER):
                write_codec(preparer.codec, folder / CODEC_FOLDER)
        info.save(folder)
        self._store = ShardStore(folder, share, songs_per_shard)

    def run(self, sources: Sequence[Source], progress: Callable[[int, int], None]) -> Report:
        """Prepare this process's share of `sources`; failures are also written to failures-*.jsonl.

        OSError, naming the file, where something cannot be written: a full disk is no fault of a source.
        """
        mine = sources[self.share.index :: self.share.count]
        prepared = kept = duplicates = 0
        seen: set[str] = set()
        failures: list[tuple[str, str]] = []
        for number, source in enumerate(mine):
            progress(number, len(mine))
            try:
                key = source.key()
                songs = [] if key in seen or key in self._store else self._songs(source, key)
            except Exception as error:  # one file, whatever it does to an extractor, does not end the run
                failures.append((str(source.path), _reason(error)))
                continue
            if songs:
                self._store.add(key, source.split, songs)
                self._store.pack(source.split, self._store.songs_per_shard)
            prepared += bool(songs)
            duplicates += key in seen
            kept += not songs and key not in seen
            seen.add(key)
        for split in SPLITS:
            self._store.pack(split, 1)
        progress(len(mine), len(mine))
        report = self.folder / f"failures-{self.share}.jsonl"
        with naming(report), whole_file(report) as partial:
            partial.write_text("".join(json.dumps({"path": p, "reason": r}) + "\n" for p, r in failures))
        return Report(prepared, kept, duplicates, failures)

    def _songs(self, source: Source, key: str) -> Songs:
        songs = []
        for index, piece in enumerate(self.preparer.pieces(source)):
            n_frames = int(piece.tensors["latents"].shape[0])
            entry = SongEntry(
                f"{key}-{index:03d}", piece.name, n_frames, piece.heard_frames, digest(piece.tensors)
            )
            songs.append((entry, piece.tensors))
        return songs


def _reason(error: Exception) -> str:
    """The message of an error on one line, with its kind where that is not what this program says."""
    message = " ".join(str(error).split())
    return (
        message
        if isinstance(error, (ValueError, OSError))
        else f"{type(error).__name__}: {message}".rstrip(": ")
    )


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
    waiting = len(finished_files(folder / PENDING_FOLDER, "*/*/*.safetensors"))
    if waiting:
        problems.append(
            f"{folder / PENDING_FOLDER} holds {waiting} sources that no shard has: run prepare again"
        )
    if not songs["train"]:
        problems.append(f"{folder / 'train'} holds no music")
    return Checked(songs, hours, problems)
