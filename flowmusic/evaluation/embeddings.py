"""Embeddings of clips, kept on disk by content: what fidelity, novelty and style are measured in."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from features.audio import Audio, read_audio
from features.cache import FeatureCache
from features.extract import content_key
from flowmusic.evaluation.musicnn import PATCH_HOP, VERSION, embed, load_musicnn
from flowmusic.evaluation.references import FoundReference, find_references, load_clip, read_song_mix

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
    return Audio(audio.mono()[None], audio.sample_rate)


def embed_files(
    folder: Path, store: EmbeddingStore, names: Sequence[str] | None = None
) -> list[EmbeddedClip]:
    """The sound files of a folder, in the order of `names` where given.

    Raises:
        ValueError: no such folder, or a name without a file.
    """
    found = {item.name: item for item in find_references([folder])}
    missing = [name for name in names or () if name not in found]
    if missing:
        raise ValueError(f"{folder} has no clip {missing[0]!r}; expected one of each reference")
    return [store.clip(name, read_whole(found[name])) for name in bar(names or sorted(found), folder.name)]


def embed_references(
    paths: Sequence[Path], store: EmbeddingStore, names: Sequence[str], duration_s: float
) -> list[EmbeddedClip]:
    """The excerpts that an evaluation took its controls from, by the names of its references.

    Raises:
        ValueError: a name that is not among the references in `paths`.
    """
    found = {item.name: item for item in find_references(paths)}
    missing = [name for name in names if name not in found]
    if missing:
        raise ValueError(f"--references holds no {missing[0]!r}, which the evaluation was made with")
    loaded = (load_clip(found[name], duration_s) for name in bar(names, "references"))
    return [store.clip(clip.name, clip.audio) for clip in loaded]


def bar(items: Sequence[str], title: str) -> Iterable[str]:
    """A progress bar."""
    from tqdm import tqdm

    shown: Iterable[str] = tqdm(items, desc=title, unit="clip")
    return shown


def stack(clips: Sequence[EmbeddedClip]) -> np.ndarray:
    """All patches of all clips, (N, 200)."""
    return np.concatenate([clip.patches for clip in clips])
