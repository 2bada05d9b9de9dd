"""Preparing a whole collection: shards, resuming, failures, and checking what was written."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from features.files import whole_file
from flowmusic.data.prepare import Preparer
from flowmusic.data.shard_store import PENDING_FOLDER, ShardStore, Share, Songs
from flowmusic.data.shards import (
    CODEC_FOLDER,
    INFO_FILE,
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
    """What became of the sources of one process; `replaced` older ones had other captions or labels."""

    prepared: int
    kept: int
    duplicates: int
    replaced: int
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
        info = replace(info, piece_s=preparer.piece_s, extracted_s=preparer.extracted_s)
        if (folder / INFO_FILE).is_file():
            found = asdict(DataInfo.load(folder))
            differing = [key for key, value in asdict(info).items() if found[key] not in (value, None)]
            if differing:
                raise ValueError(
                    f"{folder} was prepared with another {', '.join(differing)}: "
                    "choose another folder, or the same settings"
                )
        from flowmusic.codec.files import write_codec

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
        outdated: set[str] = set()
        failures: list[tuple[str, str]] = []
        for number, source in enumerate(mine):
            progress(number, len(mine))
            if source.same_as is not None:
                duplicates += 1
                continue
            try:
                key, sound = source.keys()
                current = {key, *source.siblings}
                older = self._store.outdated(sound, current)
                songs = None if key in self._store else self._songs(source, key, sound)
            except Exception as error:  # one file, whatever it does to an extractor, does not end the run
                failures.append((str(source.path), _reason(error)))
                continue
            outdated |= older
            if songs is None:
                kept += 1
                continue
            split = self._store.split_of(sound, current) or source.split
            self._store.add(key, split, songs)
            self._store.pack(split, self._store.songs_per_shard)
            prepared += 1
        for split in SPLITS:
            self._store.pack(split, 1)
        self._store.drop(outdated)
        progress(len(mine), len(mine))
        self._write_failures(failures)
        return Report(prepared, kept, duplicates, len(outdated), failures)

    def _write_failures(self, failures: list[tuple[str, str]]) -> None:
        report = self.folder / f"failures-{self.share}.jsonl"
        with naming(report), whole_file(report) as partial:
            partial.write_text("".join(json.dumps({"path": p, "reason": r}) + "\n" for p, r in failures))

    def _songs(self, source: Source, key: str, sound: str) -> Songs:
        songs = []
        for index, piece in enumerate(self.preparer.pieces(source)):
            n_frames = int(piece.tensors["latents"].shape[0])
            content = digest(piece.tensors)
            entry = SongEntry(
                f"{key}-{index:03d}", piece.name, n_frames, piece.extracted_frames, content, sound
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
