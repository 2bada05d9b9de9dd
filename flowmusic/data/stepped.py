"""A LightningDataModule whose batches are numbered: batch i is a pure function of the seed and i."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any, Protocol, TypeVar

import lightning.pytorch as pl
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

BatchT = TypeVar("BatchT", bound="Batch")


class Batch(Protocol):
    """What a data module yields: its number, how many items it has, and a way to another device."""

    @property
    def number(self) -> int: ...

    @property
    def size(self) -> int: ...

    def to(self: BatchT, device: torch.device) -> BatchT:
        """The same on a device; from pinned memory without waiting for the copy."""
        ...

    def pin_memory(self: BatchT) -> BatchT:
        """The same in memory that a GPU copies from by itself; torch's DataLoader calls it."""
        ...


class _Drawn(Dataset[Any]):
    """Batch i of a split is `data.draw_batch(split, i, streams)`."""

    def __init__(self, data: SteppedData, split: str, streams: list[int]) -> None:
        self.data, self.split, self.streams = data, split, streams

    def __getitem__(self, number: int) -> Batch:
        return self.data.draw_batch(self.split, number, self.streams)


class _Numbers(Sampler[int]):
    """first, first + 1, ... without an end, or up to `last`."""

    def __init__(self, first: int, last: int | None = None) -> None:
        self.first, self.last = first, last

    def __iter__(self) -> Iterator[int]:
        return itertools.count(self.first) if self.last is None else iter(range(self.first, self.last))


class _Counted(_Numbers):
    def __len__(self) -> int:
        return (self.last or 0) - self.first


class SteppedData(pl.LightningDataModule):
    """Base of the data modules: numbered batches, streams spread over processes, exact resuming.

    batch_size      items a process gets in each batch
    streams         into how many streams the data are cut, each with shards of its own; the default is one a
                    process. Set it to keep the order of the data when the number of processes changes.
    workers         processes that draw batches ahead of training, 0: none
    valid_batches   batches (numbers 0, 1, ...) of the validation split: always the same
    """

    def __init__(
        self, batch_size: int, seed: int, streams: int | None, workers: int, valid_batches: int
    ) -> None:
        super().__init__()
        for name, value, least in (("batch_size", batch_size, 1), ("workers", workers, 0)):
            if value < least:
                raise ValueError(f"data: {name} must be at least {least}, got {value}")
        self.batch_size, self.seed, self.workers = batch_size, seed, workers
        self.valid_batches, self._streams = valid_batches, streams
        self.next_batch = 0
        self._copied_world = (0, 1)

    # What a data module adds --------------------------------------------------------------------

    def draw_batch(self, split: str, number: int, streams: list[int]) -> Batch:
        """Batch `number`: `batch_size / len(streams)` items of each stream, in this order."""
        raise NotImplementedError

    def open_split(self, split: str) -> None:
        """Look at the data of a split. ValueError where it cannot give a single batch."""
        raise NotImplementedError

    def describe(self) -> dict[str, Any]:
        """Plain values about the data, for checkpoints."""
        return {}

    # Streams ------------------------------------------------------------------------------------

    @property
    def _world(self) -> tuple[int, int]:
        """The rank of this process, and how many there are."""
        trainer = self.trainer
        return self._copied_world if trainer is None else (trainer.global_rank, trainer.world_size)

    def __getstate__(self) -> dict[str, Any]:
        """What the worker processes of a data loader get: all but the trainer, which cannot be pickled."""
        return self.__dict__ | {"trainer": None, "_copied_world": self._world}

    @property
    def streams(self) -> int:
        return self._streams or self._world[1]

    @property
    def own_streams(self) -> list[int]:
        """Streams of this process."""
        rank, size = self._world
        if self.streams % size or self.batch_size % (self.streams // size):
            raise ValueError(
                f"data: {self.streams} streams must be a multiple of the {size} processes, and batch_size "
                f"{self.batch_size} a multiple of the streams of each"
            )
        return list(range(self.streams))[rank::size]

    # Lightning ----------------------------------------------------------------------------------

    def setup(self, stage: str) -> None:
        for split in {"fit": ("train", "valid"), "test": ("test",)}.get(stage, ("valid",)):
            if split != "valid" or self.valid_batches > 0:
                self.open_split(split)

    def train_dataloader(self) -> DataLoader[Any]:
        return self._loader("train", _Numbers(self.next_batch))

    def val_dataloader(self) -> DataLoader[Any]:
        return self._loader("valid", _Counted(0, self.valid_batches))

    def test_dataloader(self) -> DataLoader[Any]:
        return self._loader("test", _Counted(0, self.valid_batches))

    def predict_dataloader(self) -> DataLoader[Any]:
        return self.val_dataloader()

    def _loader(self, split: str, numbers: Sampler[int]) -> DataLoader[Any]:
        streams = self.own_streams
        workers = self.workers if split == "train" else 0
        pinned = self.trainer is not None and self.trainer.strategy.root_device.type == "cuda"
        return DataLoader(
            _Drawn(self, split, streams),
            batch_size=None,
            sampler=numbers,
            num_workers=workers,
            pin_memory=pinned,
        )

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, dataloader_idx: int) -> Batch:
        return batch.to(device)

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        if self.trainer is not None and self.trainer.training:
            self.next_batch = batch.number + 1
        return batch

    def state_dict(self) -> dict[str, Any]:
        return {"next_batch": self.next_batch, "order": self._order()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        if state_dict["order"] != self._order():
            raise ValueError(
                f"the checkpoint's data were drawn with {state_dict['order']}, now with {self._order()}: "
                "keep them to go on, or start anew from its weights with --model.init_args.init_from"
            )
        self.next_batch = state_dict["next_batch"]

    def _order(self) -> dict[str, int]:
        """All that the order of the data depends on."""
        return {"batch": self.batch_size * self._world[1], "streams": self.streams, "seed": self.seed}
