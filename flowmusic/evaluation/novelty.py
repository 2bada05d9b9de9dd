"""Is the training set copied? Its nearest neighbours of generated clips beside those of unseen references."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from flowmusic.evaluation.embeddings import EMBEDDING, EmbeddedClip, EmbeddingStore, bar, read_whole, stack
from flowmusic.evaluation.estimates import Estimate, mean
from flowmusic.evaluation.musicnn import PATCH_FRAMES
from flowmusic.evaluation.references import find_references
from flowmusic.evaluation.report import markdown_table

N_CLOSEST = 3


@dataclass(frozen=True)
class Nearest:
    """The most similar pair of patches of a clip and of a pool: cosine, and the pool's clip."""

    name: str
    similarity: float
    neighbour: str


@dataclass(frozen=True)
class Novelty:
    """Similarity of clips to the nearest patch of the training set.

    `above` is the share of clips that are nearer to it than 95 % of the unseen references are. `closest` are
    the pairs to listen to.
    """

    name: str
    similarity: Estimate
    largest: float
    above: Estimate
    closest: tuple[Nearest, ...]


def nearest_in(clips: Sequence[EmbeddedClip], pool: Sequence[EmbeddedClip]) -> list[Nearest]:
    """For each clip the patch of the pool that any of its own patches is most similar to.

    Raises:
        ValueError: an empty pool.
    """
    from sklearn.neighbors import NearestNeighbors

    if not pool:
        raise ValueError("expected at least one clip to look for neighbours among, got none")
    owner = np.repeat(np.arange(len(pool)), [len(item.patches) for item in pool])
    index = NearestNeighbors(n_neighbors=1, metric="cosine").fit(stack(pool))
    found = []
    for clip in clips:
        distances, patches = index.kneighbors(clip.patches)  # (N, 1) each
        best = int(distances[:, 0].argmin())
        similarity = 1.0 - float(distances[best, 0])
        found.append(Nearest(clip.name, similarity, pool[owner[patches[best, 0]]].name))
    return found


def embed_training(paths: Sequence[Path], store: EmbeddingStore, n: int | None = None) -> list[EmbeddedClip]:
    """Whole songs and recordings of the training set in patches of 3 s without overlap; at most `n`."""
    found = {item.name: item for item in find_references(paths, n)}
    return [
        store.clip(name, read_whole(found[name]), PATCH_FRAMES) for name in bar(list(found), "training set")
    ]


def compare(
    sets: Mapping[str, Sequence[EmbeddedClip]],
    references: Sequence[EmbeddedClip],
    training: Sequence[EmbeddedClip],
) -> list[Novelty]:
    """A row for the references and one for each set of clips.

    Raises:
        ValueError: no training clips.
    """
    found = {name: nearest_in(clips, training) for name, clips in {"references": references, **sets}.items()}
    limit = float(np.percentile([item.similarity for item in found["references"]], 95))
    return [
        Novelty(
            name=name,
            similarity=mean(item.similarity for item in nearest),
            largest=max(item.similarity for item in nearest),
            above=mean(float(item.similarity > limit) for item in nearest),
            closest=tuple(sorted(nearest, key=lambda item: -item.similarity)[:N_CLOSEST]),
        )
        for name, nearest in found.items()
    ]


def to_markdown(rows: Sequence[Novelty], n_training: int) -> str:
    """The table, and the pairs to listen to."""
    header = ["clips", "n", "mean [95 %]", "largest", "above the references' 95th percentile [95 %]"]
    cells: list[list[str | float | None]] = [
        [row.name, f"{row.similarity.n}", str(row.similarity), row.largest, str(row.above)] for row in rows
    ]
    pairs: list[list[str | float | None]] = [
        [row.name, item.name, item.neighbour, item.similarity] for row in rows for item in row.closest
    ]
    return (
        f"Cosine of a clip's patch to the nearest of {n_training} training songs. Embedding: {EMBEDDING}.\n\n"
        f"{markdown_table(header, cells)}\n\nThe closest pairs, to listen to:\n\n"
        f"{markdown_table(['clips', 'clip', 'training song', 'cosine'], pairs)}"
    )
