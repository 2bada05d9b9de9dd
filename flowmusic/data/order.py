"""Which excerpts make up which batch: a pure function of seed, stream and batch number.

Nothing has to be remembered to go on after a crash but the number of the next batch, and what a
stream draws does not depend on how many processes share the streams.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from flowmusic.data.shards import SongEntry

_MASK = 2**63 - 1
SHARDS_AT_ONCE = 64


def seed_of(*numbers: int) -> int:
    """One well-mixed seed in [0, 2^63) out of several small numbers."""
    words = np.random.SeedSequence([number & _MASK for number in numbers]).generate_state(2, np.uint32)
    return (int(words[0]) << 32 | int(words[1])) & _MASK


def generator_of(*numbers: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed_of(*numbers))


@dataclass(frozen=True)
class Place:
    """A song in a shard."""

    shard: Path
    song: SongEntry


@dataclass(frozen=True)
class Excerpt:
    """Latent frames [start, start + n_frames) of a song."""

    place: Place
    start: int


def split_shards(sizes: Sequence[int], streams: int) -> list[list[int]]:
    """Indices of shards for each stream, so that their sizes are about even: the largest first, always to
    the stream that has least. ValueError where there are fewer shards than streams."""
    if len(sizes) < streams:
        raise ValueError(
            f"{streams} streams of data need at least {streams} shards, there are {len(sizes)}: use fewer "
            "processes, or prepare again with fewer --songs-per-shard"
        )
    parts: list[list[int]] = [[] for _ in range(streams)]
    totals = [0] * streams
    for index in sorted(range(len(sizes)), key=lambda i: (-sizes[i], i)):
        least = min(range(streams), key=lambda s: (totals[s], s))
        parts[least].append(index)
        totals[least] += sizes[index]
    return parts


class EpochOrder:
    """Excerpts of one stream in random order; an epoch cuts every song into excerpts that do not overlap.

    places, lengths   songs and how many of their latent frames may be used
    shards_at_once    shards, in random order, that an epoch draws from at a time: so that of thousands on a
                      shared file system each is opened once an epoch, not for every excerpt
    In each epoch a song is cut from another random offset. Batches are drawn from one endless row of
    epochs: batch i takes positions [i * size, (i + 1) * size).
    """

    def __init__(
        self,
        places: Sequence[Place],
        lengths: Sequence[int],
        n_frames: int,
        seed: int,
        shards_at_once: int = SHARDS_AT_ONCE,
    ) -> None:
        self.places, self.n_frames, self.seed, self.shards_at_once = places, n_frames, seed, shards_at_once
        numbers = {shard: number for number, shard in enumerate(dict.fromkeys(p.shard for p in places))}
        self._shards, self._n_shards = torch.tensor([numbers[p.shard] for p in places]), len(numbers)
        self._lengths = torch.tensor(lengths, dtype=torch.long)
        self._slots = self._lengths // n_frames
        self.n_excerpts = int(self._slots.sum())
        self._epochs: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}

    def excerpt(self, position: int) -> Excerpt:
        """The one at a position of the endless row."""
        epoch, index = divmod(position, self.n_excerpts)
        songs, starts = self._epoch(epoch)
        return Excerpt(self.places[int(songs[index])], int(starts[index]))

    def batch(self, number: int, size: int) -> list[Excerpt]:
        return [self.excerpt(position) for position in range(number * size, (number + 1) * size)]

    def _epoch(self, epoch: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Song index and start of every excerpt of an epoch, shuffled."""
        if epoch not in self._epochs:
            generator = generator_of(self.seed, epoch)
            slack = self._lengths - self._slots * self.n_frames
            offsets = (torch.rand(len(slack), generator=generator) * (slack + 1)).long()
            songs = torch.repeat_interleave(torch.arange(len(slack)), self._slots)
            first = torch.repeat_interleave(self._slots.cumsum(0) - self._slots, self._slots)
            starts = offsets[songs] + (torch.arange(len(songs)) - first) * self.n_frames
            order = torch.randperm(len(songs), generator=generator)
            if self._n_shards > self.shards_at_once:
                turn = torch.randperm(self._n_shards, generator=generator) // self.shards_at_once
                order = order[turn[self._shards[songs[order]]].argsort(stable=True)]
            self._epochs = {epoch: (songs[order], starts[order])}  # batches move on: one is kept
        return self._epochs[epoch]
