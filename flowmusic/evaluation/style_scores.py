"""Style: how like its reference a clip sounds, how little it copies, whether its controls still hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from flowmusic.evaluation.neighbours import cosines, knn_common, knn_overfit
from flowmusic.evaluation.report import HEADLINE_METRICS, SMALLEST_RANGE, Values, markdown_table

MIN_SONGS = 4
N_COMMON = 5
COPIED_METRICS = ("melody_raw_chroma", "chord_overlap")


@dataclass(frozen=True)
class SongStyles:
    """Clip means of embeddings, one row a song, all (N, 200).

    given        the excerpt that is given as style
    other        another excerpt of the same song
    resynthesis  that other excerpt after the codec
    """

    given: np.ndarray
    other: np.ndarray
    resynthesis: np.ndarray


@dataclass(frozen=True)
class Outcome:
    """What came of one way to ask, clip i with the style of song i.

    results      (N, 200) embeddings
    adherence    headline metrics of each clip against the song of its controls (empty without controls)
    copied       melody and chords of each clip against the excerpt that was given, and
    copied_floor against those of other songs (empty without style, or where nothing was listened to)
    """

    name: str
    codebooks: int | None
    results: np.ndarray
    adherence: tuple[Values, ...] = ()
    copied: tuple[Values, ...] = ()
    copied_floor: tuple[Values, ...] = ()


@dataclass(frozen=True)
class StyleRow:
    """Means over the clips of one way to ask; share closed as everywhere, from floor to ceiling."""

    name: str
    codebooks: int | None
    n: int
    similarity: float
    floor: float
    ceiling: float
    original: float
    share_closed: float | None
    knn_common: float
    knn_overfit: float
    knn_same_song: float
    adherence: Values
    copied: Values
    copied_floor: Values


def summarise(outcome: Outcome, songs: SongStyles) -> StyleRow:
    """Similarity to the given excerpt (floor: to those of other songs), neighbours, adherence, likeness.

    Raises:
        ValueError: fewer than 4 songs, or another number of results.
    """
    n = len(songs.given)
    if n < MIN_SONGS or len(outcome.results) != n:
        raise ValueError(
            f"expected at least {MIN_SONGS} songs and a result of each, got {n} and {len(outcome.results)}"
        )
    table = cosines(outcome.results, songs.given)  # (results, songs)
    own, apart = np.eye(n, dtype=bool), ~np.eye(n, dtype=bool)
    score, floor = float(table[own].mean()), float(table[apart].mean())
    ceiling = float(cosines(songs.resynthesis, songs.given)[own].mean())
    overfit, same_song = knn_overfit(outcome.results, songs.given, songs.other)
    k = min(N_COMMON, n - 2)
    return StyleRow(
        name=outcome.name,
        codebooks=outcome.codebooks,
        n=n,
        similarity=score,
        floor=floor,
        ceiling=ceiling,
        original=float(cosines(songs.other, songs.given)[own].mean()),
        share_closed=(score - floor) / (ceiling - floor) if ceiling - floor > SMALLEST_RANGE else None,
        knn_common=knn_common(outcome.results, songs.given, songs.other, k),
        knn_overfit=overfit,
        knn_same_song=same_song,
        adherence=_means(outcome.adherence, tuple(HEADLINE_METRICS.values())),
        copied=_means(outcome.copied, COPIED_METRICS),
        copied_floor=_means(outcome.copied_floor, COPIED_METRICS),
    )


def _means(tables: Sequence[Values], metrics: Sequence[str]) -> Values:
    """Mean of each metric over the clips where it applies."""
    means: Values = {}
    for metric in metrics:
        values = [value for table in tables if (value := table.get(metric)) is not None]
        means[metric] = float(np.mean(values)) if values else None
    return means


def to_markdown(rows: Sequence[StyleRow], heading: str) -> str:
    """Three tables: similarity and neighbours, adherence of the controls, likeness to the style reference."""

    def title(row: StyleRow) -> list[str | float | None]:
        return [row.name, "–" if row.codebooks is None else f"{row.codebooks}"]

    similarity: list[list[str | float | None]] = [
        [*title(row), f"{row.n}", row.similarity, row.floor, row.ceiling, row.original, row.share_closed]
        + [row.knn_common, row.knn_overfit, row.knn_same_song]
        for row in rows
    ]
    header = ["asked with", "codebooks", "n", "similarity", "floor", "ceiling", "original", "share closed"]
    header += ["KNN common", "KNN overfit", "same song nearest"]
    followed: list[list[str | float | None]] = [
        [*title(row), *(row.adherence[metric] for metric in HEADLINE_METRICS.values())]
        for row in rows
        if any(value is not None for value in row.adherence.values())
    ]
    copied: list[list[str | float | None]] = [
        [*title(row), *(value for m in COPIED_METRICS for value in (row.copied[m], row.copied_floor[m]))]
        for row in rows
        if any(value is not None for value in row.copied.values())
    ]
    parts = [heading, "Similarity to the style reference:", markdown_table(header, similarity)]
    if followed:
        parts.append("Adherence to controls of another song:")
        parts.append(markdown_table(["asked with", "codebooks", *HEADLINE_METRICS], followed))
    if copied:
        columns = ["asked with", "codebooks", "melody", "floor", "chords", "floor"]
        parts += ["Melody and chords of the style reference in the result:", markdown_table(columns, copied)]
    return "\n\n".join(parts)
