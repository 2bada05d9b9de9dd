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
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from features.files import PARTIAL_PREFIX, whole_file

SHARD_FORMAT = "flowmusic.shard.1"
DATA_FORMAT = "flowmusic.data.1"
INFO_FILE, CODEC_FOLDER = "data.json", "codec"
SPLITS = ("train", "valid", "test")
_OPEN_SHARDS = 64


@dataclass(frozen=True)
class DataInfo:
    """What all songs of a data folder have in common.

    codec          its name, and of what content (`codec_key`)
    frame_rate     latent frames a second
    latent_dim     channels D of the latents
    control_rate   control frames a second
    text_encoder   what made the text states, with `text_dim` channels
    listeners      extractors by role
    piece_s        longer recordings are cut into pieces of so many seconds
    heard_s        seconds of a rendered song that the extractors listened to as well; older data have None
                   for both
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
    piece_s: float | None = None
    extracted_s: float | None = None

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
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise ValueError(f"{path} cannot be read as JSON: {error}") from error
        known = {field.name for field in fields(cls)}
        needed = known - {"piece_s", "extracted_s"}
        is_ours = isinstance(values, dict) and values.pop("format", None) == DATA_FORMAT
        if not is_ours or not needed <= set(values) <= known:
            raise ValueError(f"{path} is not of the format {DATA_FORMAT!r}: prepare the data again")
        return cls(**values)


@dataclass(frozen=True)
class SongEntry:
    """One song of a shard, as its list of songs has it.

    key      of its source, and the number of the piece
    digest   that of its tensors
    sound    hash of its source's sound alone; empty in older data
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
        tensor = tensors[name].contiguous()
        found.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        found.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return found.hexdigest()[:32]


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Errors of writing become an OSError that names `path`: those of a full disk name no file."""
    from safetensors import SafetensorError

    try:
        yield
    except (SafetensorError, OSError) as error:
        raise OSError(f"{path} cannot be written: {error}") from error


def write_shard(path: Path, songs: Sequence[tuple[SongEntry, Mapping[str, Tensor]]]) -> None:
    """Write songs with their tensors as one shard, whole or not at all. OSError, naming it, if it cannot."""
    from safetensors.torch import save_file

    tensors = {
        f"{entry.key}/{name}": tensor.contiguous().clone()
        for entry, values in songs
        for name, tensor in values.items()
    }
    listing = json.dumps([asdict(entry) for entry, _ in songs])
    with naming(path), whole_file(path) as partial:
        save_file(tensors, partial, {"format": SHARD_FORMAT, "songs": listing})


def read_listing(path: Path) -> list[SongEntry]:
    """The songs of a shard. ValueError, naming the file, where it is something else."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="pt") as file:
            metadata = file.metadata() or {}
        if metadata.get("format") != SHARD_FORMAT:
            raise ValueError(f"{path} is not a shard of prepared data ({SHARD_FORMAT})")
        return [SongEntry(**entry) for entry in json.loads(metadata["songs"])]
    except (SafetensorError, OSError, KeyError, TypeError, json.JSONDecodeError) as error:
        raise ValueError(f"{path} cannot be read as a shard of prepared data: {error}") from error


def finished_files(folder: Path, pattern: str) -> list[Path]:
    """Files in `folder` that are whole, sorted: what is being written, or was by a killed process, is not."""
    return sorted(path for path in folder.glob(pattern) if not path.name.startswith(PARTIAL_PREFIX))


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
        from safetensors import safe_open

        if path not in self._open:
            file = safe_open(str(path), framework="pt")
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
