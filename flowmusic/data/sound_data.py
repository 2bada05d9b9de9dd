"""Random excerpts of rendered songs (stems are summed) and recordings, in stereo."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import soundfile
import torch
from torch import Tensor

from flowmusic.composer.score import STEMS
from flowmusic.data.order import seed_of
from flowmusic.data.stepped import SteppedData

REST_STEMS = tuple(stem for stem in STEMS if stem != "drums")


def list_songs(folder: Path, sample_rate: int) -> list[Path]:
    """Folders of rendered songs (those with song.json) in `folder`, sorted.

    FileNotFoundError without any; ValueError, naming the file, where a stem is not at `sample_rate`, or of
    more than two channels.
    """
    return _checked(_songs(folder), f"{folder} holds no rendered songs (*/song.json)", sample_rate)


def list_sources(folder: Path, sample_rate: int) -> list[Path]:
    """Song folders (those with song.json) and wav files directly in `folder`, sorted; errors as above."""
    found = _songs(folder) + sorted(path for path in folder.glob("*.wav") if not path.name.startswith("."))
    return _checked(found, f"{folder} holds neither rendered songs (*/song.json) nor wav files", sample_rate)


def _songs(folder: Path) -> list[Path]:
    return sorted(path.parent for path in folder.glob("[!.]*/song.json"))


def _files(source: Path) -> list[Path]:
    """Sounds whose sum is a source."""
    return [source / f"{stem}.wav" for stem in STEMS] if source.is_dir() else [source]


def _checked(sources: list[Path], if_none: str, sample_rate: int) -> list[Path]:
    """The sources, once their headers say what training expects: else it would find out at a random step."""
    if not sources:
        raise FileNotFoundError(if_none)
    for file in (file for source in sources for file in _files(source)):
        try:
            info = soundfile.info(file)
        except soundfile.LibsndfileError as error:
            raise ValueError(f"{file} cannot be read as sound: {error.error_string}") from error
        if info.samplerate != sample_rate or info.channels > 2:
            kind = {1: "mono", 2: "stereo"}.get(info.channels, f"{info.channels} channels")
            raise ValueError(
                f"{file} is {kind} at {info.samplerate} Hz; training expects mono or stereo sound at "
                f"{sample_rate} Hz, the model's config.sample_rate: convert it"
            )
    return sources


def read_excerpt(
    source: Path, start_s: float | None, excerpt_s: float, rng: np.random.Generator | None
) -> np.ndarray:
    """Excerpt of a song folder or wav file, padded with silence to its length; (2, S) float32."""
    files = _files(source)
    info = soundfile.info(files[0])
    n_samples = round(excerpt_s * info.samplerate)
    latest = max(info.frames - n_samples, 0)
    start = (
        int(rng.integers(latest + 1))
        if start_s is None and rng is not None
        else round((start_s or 0.0) * info.samplerate)
    )
    mix = np.zeros((2, n_samples), dtype=np.float32)
    for file in files:
        piece, _ = soundfile.read(
            file, frames=n_samples, start=min(start, info.frames), dtype="float32", always_2d=True
        )
        mix[:, : len(piece)] += piece.T
    return mix


class ExcerptSampler:
    """Draws excerpts with random gain; `recordings_share` of them from recordings."""

    def __init__(self, songs: list[Path], recordings: list[Path], recordings_share: float, seed: int) -> None:
        self.songs, self.recordings = songs, recordings
        self.recordings_share = recordings_share if recordings else 0.0
        self.reseed(seed)

    def reseed(self, seed: int) -> None:
        """Every training step seeds anew, so that a resumed run draws what an unbroken one would."""
        self.rng = np.random.default_rng(seed)

    def draw(self, excerpt_s: float) -> np.ndarray:
        """(2, S) float32; longer recordings are not drawn more often than short ones."""
        pool = self.recordings if self.rng.random() < self.recordings_share else self.songs
        source = pool[int(self.rng.integers(len(pool)))]
        gain = 10.0 ** (self.rng.uniform(-6.0, 3.0) / 20)
        return np.clip(read_excerpt(source, None, excerpt_s, self.rng) * gain, -1.0, 1.0).astype(np.float32)


class StemSampler:
    """Draws (drums, rest) excerpts: of one song or of two, at random gains, some without one of them."""

    def __init__(self, songs: list[Path], excerpt_s: float, remix_share: float, silent_share: float) -> None:
        self.songs, self.excerpt_s = songs, excerpt_s
        self.remix_share, self.silent_share = remix_share, silent_share

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        """Stems (2, 1, S) of drums and rest; their sum stays within [-1, 1]."""
        song = self.songs[int(rng.integers(len(self.songs)))]
        other = self.songs[int(rng.integers(len(self.songs)))]
        remixed = rng.random() < self.remix_share
        drums, rest = self._stems(song, rng)
        if remixed:
            rest = self._stems(other, rng)[1]
        gains = 10.0 ** (rng.uniform((-8.0, -6.0), (4.0, 4.0)) / 20.0)
        stems = np.stack([drums * gains[0], rest * gains[1]])[:, None].astype(np.float32)  # (2, 1, S)
        chance = rng.random()
        if chance < self.silent_share:
            stems[0] = 0.0
        elif chance < 1.5 * self.silent_share:
            stems[1] = 0.0
        return np.asarray(stems / max(1.0, float(np.abs(stems.sum(0)).max())))

    def _stems(self, song: Path, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        info = soundfile.info(song / "drums.wav")
        start_s = float(rng.uniform(0.0, max(0.0, info.duration - self.excerpt_s)))
        drums, *rest = (
            read_excerpt(song / f"{stem}.wav", start_s, self.excerpt_s, None).mean(axis=0)
            for stem in ("drums", *REST_STEMS)
        )
        return drums, np.sum(rest, axis=0)


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
        return replace(self, sound=self.sound.to(device, non_blocking=True))

    def pin_memory(self) -> SoundBatch:
        return replace(self, sound=self.sound.pin_memory())


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
