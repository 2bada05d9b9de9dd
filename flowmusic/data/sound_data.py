"""Training data of the codec and of the drum separator: random excerpts of sound files."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from flowmusic.data.excerpts import ExcerptSampler, StemSampler, list_songs, list_sources
from flowmusic.data.order import seed_of
from flowmusic.data.stepped import SteppedData

_SPLIT_SEEDS = {"train": 0, "valid": 1, "test": 2}


@dataclass(frozen=True)
class SoundBatch:
    """sound: mono (B, S), or stems (B, 2, 1, S) of drums and rest."""

    number: int
    sound: Tensor

    @property
    def size(self) -> int:
        return self.sound.shape[0]

    def to(self, device: torch.device) -> SoundBatch:
        return replace(self, sound=self.sound.to(device))


class SoundData(SteppedData):
    """Excerpts of songs (the sum of their stems) and recordings, for `DecoderTraining`.

    songs, recordings   folders with train/ and valid/: rendered songs, and wav files
    recordings_share    share of excerpts that come from recordings
    sample_rate         of the codec (linked to it), and of all files
    """

    def __init__(
        self,
        songs: Path,
        recordings: Path | None = None,
        recordings_share: float = 0.35,
        excerpt_s: float = 4.0,
        batch_size: int = 8,
        sample_rate: int = 32000,
        seed: int = 0,
        streams: int | None = None,
        workers: int = 0,
        valid_batches: int = 4,
    ) -> None:
        super().__init__(batch_size, seed, streams, workers, valid_batches)
        self.songs, self.recordings = Path(songs), None if recordings is None else Path(recordings)
        self.recordings_share, self.excerpt_s, self.sample_rate = recordings_share, excerpt_s, sample_rate
        self._sources: dict[str, tuple[list[Path], list[Path]]] = {}

    def open_split(self, split: str) -> None:
        recordings = self.recordings and self.recordings / split
        found = list_sources(recordings, self.sample_rate) if recordings and recordings.is_dir() else []
        self._sources[split] = (list_sources(self.songs / split, self.sample_rate), found)

    def sampler(self, split: str, seed: int, stream: int = 0) -> ExcerptSampler:
        """Draws from the sources of one stream."""
        songs, recordings = self._sources[split]
        return ExcerptSampler(
            songs[stream :: self.streams] or songs,
            recordings[stream :: self.streams] or recordings,
            self.recordings_share,
            seed,
        )

    def draw_batch(self, split: str, number: int, streams: list[int]) -> SoundBatch:
        rows = []
        for stream in streams:
            sampler = self.sampler(split, seed_of(self.seed, _SPLIT_SEEDS[split], stream, number), stream)
            rows += [sampler.draw(self.excerpt_s) for _ in range(self.batch_size // len(streams))]
        return SoundBatch(number, torch.from_numpy(np.stack(rows).mean(axis=1)))


class StemData(SteppedData):
    """Excerpts of drums and of all else, for `SeparatorTraining`.

    songs          folder with train/ and valid/ of rendered songs
    remix_share    share of items whose drums and rest are of two songs
    silent_share   share of items without drums; half as many are without the rest
    sample_rate    of the separator (linked to it), and of all stems
    """

    def __init__(
        self,
        songs: Path,
        excerpt_s: float = 3.0,
        batch_size: int = 4,
        remix_share: float = 0.5,
        silent_share: float = 0.08,
        sample_rate: int = 32000,
        seed: int = 0,
        streams: int | None = None,
        workers: int = 0,
        valid_batches: int = 4,
    ) -> None:
        super().__init__(batch_size, seed, streams, workers, valid_batches)
        self.songs, self.excerpt_s, self.sample_rate = Path(songs), excerpt_s, sample_rate
        self.remix_share, self.silent_share = remix_share, silent_share
        self._songs: dict[str, list[Path]] = {}

    def open_split(self, split: str) -> None:
        self._songs[split] = list_songs(self.songs / split, self.sample_rate)

    def draw_batch(self, split: str, number: int, streams: list[int]) -> SoundBatch:
        rows = []
        for stream in streams:
            songs = self._songs[split][stream :: self.streams] or self._songs[split]
            sampler = StemSampler(songs, self.excerpt_s, self.remix_share, self.silent_share)
            rng = np.random.default_rng(seed_of(self.seed, _SPLIT_SEEDS[split], stream, number))
            rows += [sampler.draw(rng) for _ in range(self.batch_size // len(streams))]
        return SoundBatch(number, torch.from_numpy(np.stack(rows)))
