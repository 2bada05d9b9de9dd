"""Embeddings of clips, kept on disk by content: what fidelity, novelty and style are measured in."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from features.audio import Audio, read_audio
from features.cache import FeatureCache
from features.extract import content_key
from features.recordings import in_phase
from flowmusic.evaluation.musicnn import PATCH_HOP, VERSION, embed, load_musicnn
from flowmusic.evaluation.references import FoundReference, read_song_mix

if TYPE_CHECKING:
    from flowmusic.evaluation.musicnn import Musicnn

EMBEDDING = "musicnn (MagnaTagATune), penultimate layer, patches of 3 s every 1.5 s"


@dataclass(frozen=True)
class EmbeddedClip:
    """The embeddings (N, 200) of a clip's patches."""

    name: str
    patches: np.ndarray

    @property
    def mean(self) -> np.ndarray:
        """The clip as one point, (200,)."""
        return np.asarray(self.patches.mean(axis=0))


class EmbeddingStore:
    """musicnn and what it said before: `cache` keeps every result by the content of the sound."""

    def __init__(self, cache: FeatureCache | None = None) -> None:
        self.cache = cache or FeatureCache()
        self._network: Musicnn | None = None

    def embed(self, audio: Audio, hop: int = PATCH_HOP) -> np.ndarray:
        """(N, 200), see `flowmusic.evaluation.musicnn.embed`."""

        def compute() -> dict[str, torch.Tensor]:
            if self._network is None:
                self._network = load_musicnn()
            return {"patches": torch.from_numpy(embed(self._network, audio, hop)[0])}

        version = f"{VERSION}.hop{hop}"
        kept = self.cache.get_or_compute(content_key(audio), "musicnn", version, compute)
        return np.asarray(kept["patches"].numpy())

    def clip(self, name: str, audio: Audio, hop: int = PATCH_HOP) -> EmbeddedClip:
        return EmbeddedClip(name, self.embed(audio, hop))


def read_whole(reference: FoundReference) -> Audio:
    """All of a sound file or a corpus song's mix, mono."""
    audio = read_song_mix(reference.path) if reference.is_song else read_audio(reference.path)
    return Audio(in_phase(str(reference.path), audio).mono()[None], audio.sample_rate)


def bar(items: Sequence[str], title: str) -> Iterable[str]:
    """A progress bar."""
    from tqdm import tqdm

    shown: Iterable[str] = tqdm(items, desc=title, unit="clip")
    return shown


def stack(clips: Sequence[EmbeddedClip]) -> np.ndarray:
    """All patches of all clips, (N, 200)."""
    return np.concatenate([clip.patches for clip in clips])
