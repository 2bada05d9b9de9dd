"""Nearest neighbours among embeddings: how new a clip is, and whether a style reference was copied."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from flowmusic.evaluation.embeddings import EmbeddedClip


@dataclass(frozen=True)
class Nearest:
    """The most similar pair of patches of a clip and of a pool: cosine, and the pool's clip."""

    name: str
    similarity: float
    neighbour: str


def unit(vectors: np.ndarray) -> np.ndarray:
    """Rows (N, D) scaled to length 1."""
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.asarray(vectors / np.maximum(lengths, 1e-12))


def cosines(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Cosine of every row of (N, D) with every row of (M, D), (N, M)."""
    return np.asarray(unit(first) @ unit(second).T)


def nearest_in(clips: Sequence[EmbeddedClip], pool: Sequence[EmbeddedClip]) -> list[Nearest]:
    """For each clip the patch of the pool that any of its own patches is most similar to.

    Raises:
        ValueError: an empty pool.
    """
    if not pool:
        raise ValueError("expected at least one clip to look for neighbours among, got none")
    everything = unit(np.concatenate([item.patches for item in pool]))
    owner = np.repeat(np.arange(len(pool)), [len(item.patches) for item in pool])
    found = []
    for clip in clips:
        similarity = (unit(clip.patches) @ everything.T).max(axis=0)  # (patches of the pool,)
        best = int(similarity.argmax())
        found.append(Nearest(clip.name, float(similarity[best]), pool[owner[best]].name))
    return found


def knn_common(results: np.ndarray, references: np.ndarray, pool: np.ndarray, k: int = 5) -> float:
    """How much result and style reference share: the mean overlap of their `k` nearest neighbours.

    After arXiv 2407.12563, with the cosine of clip means. Result i and reference i (N, D) are looked
    up in pool (M, D) without its row i, which is of the reference's own song.

    Raises:
        ValueError: shapes that do not fit, or a pool of fewer than k + 1.
    """
    if results.shape != references.shape or len(pool) < len(results) or len(pool) < k + 1:
        raise ValueError(
            f"expected as many results as references and a pool of at least {k + 1} that begins with "
            f"their songs, got {results.shape}, {references.shape} and {pool.shape}"
        )
    shared = []
    for i, (ours, theirs) in enumerate(zip(cosines(results, pool), cosines(references, pool), strict=True)):
        ours[i] = theirs[i] = -np.inf
        shared.append(len({*np.argsort(-ours)[:k]} & {*np.argsort(-theirs)[:k]}) / k)
    return float(np.mean(shared))


def knn_overfit(results: np.ndarray, references: np.ndarray, others: np.ndarray) -> tuple[float, float]:
    """How often the excerpt that was given is a result's nearest neighbour; how often another of its song.

    After arXiv 2407.12563. The neighbours of result i are looked for among all references (N, D) and, for
    each, another excerpt of the same song (others, N, D). A result that shares the style without copying
    is as often nearest to the one as to the other; chance is 1 / (2 N) for each.

    Raises:
        ValueError: shapes that differ.
    """
    if not results.shape == references.shape == others.shape:
        raise ValueError(
            f"expected three arrays of one shape, got {results.shape}, {references.shape}, {others.shape}"
        )
    n = len(results)
    nearest = cosines(results, np.concatenate([references, others])).argmax(axis=1)
    itself, same_song = nearest == np.arange(n), nearest == n + np.arange(n)
    return float(itself.mean()), float(same_song.mean())
