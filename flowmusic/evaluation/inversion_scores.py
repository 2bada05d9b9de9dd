"""Figures of pseudo-words: what learning one did to the loss, and how like its recording the clips sound."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from flowmusic.evaluation.neighbours import cosines
from flowmusic.evaluation.report import SMALLEST_RANGE, markdown_table

WORD = "<song>"


@dataclass(frozen=True)
class Learnt:
    """How a word was learnt: loss of fixed excerpts before and at its best, steps, wall-clock seconds."""

    start_loss: float
    best_loss: float
    steps: int
    seconds: float


@dataclass(frozen=True)
class WayRow:
    """Means over all clips of one way to ask; share closed as everywhere, from floor to ceiling."""

    name: str
    n: int
    similarity: float
    floor: float
    ceiling: float
    share_closed: float | None


@dataclass(frozen=True)
class WordRow:
    """One reference: its word, and the similarity of its clips by the way they were asked for."""

    name: str
    learnt: Learnt
    similarity: dict[str, float]
    ceiling: float


def way_row(name: str, results: np.ndarray, compared: np.ndarray, resynthesis: np.ndarray) -> WayRow:
    """Clips' embeddings (K seeds, N, D) against those of the references' excerpts (N, D).

    Floor: against the excerpts of the other references. Ceiling: other excerpts of the same references after
    the codec, `resynthesis` (N, D).

    Raises:
        ValueError: fewer than 2 references, or shapes that do not fit.
    """
    if len(compared) < 2 or results.shape[1:] != compared.shape or resynthesis.shape != compared.shape:
        raise ValueError(
            f"expected at least 2 references and as many clips of each seed, got {results.shape}, "
            f"{compared.shape} and {resynthesis.shape}"
        )
    tables = np.stack([cosines(row, compared) for row in results])  # (K, clips, references)
    own = np.eye(len(compared), dtype=bool)
    score, floor = float(tables[:, own].mean()), float(tables[:, ~own].mean())
    ceiling = float(cosines(resynthesis, compared)[own].mean())
    share = (score - floor) / (ceiling - floor) if ceiling - floor > SMALLEST_RANGE else None
    return WayRow(name, results.shape[0] * results.shape[1], score, floor, ceiling, share)


def word_rows(
    names: Sequence[str],
    learnt: Sequence[Learnt],
    results: Mapping[str, np.ndarray],
    compared: np.ndarray,
    resynthesis: np.ndarray,
) -> list[WordRow]:
    """A row for each reference; results (K, N, D) by way, the others as in `way_row`."""

    def own(embeddings: np.ndarray) -> np.ndarray:
        return np.diagonal(cosines(embeddings, compared))  # (N,)

    ceiling = own(resynthesis)
    scores = {way: np.mean([own(row) for row in values], axis=0) for way, values in results.items()}
    return [
        WordRow(name, item, {way: float(score[i]) for way, score in scores.items()}, float(ceiling[i]))
        for i, (name, item) in enumerate(zip(names, learnt, strict=True))
    ]


def to_markdown(ways: Sequence[WayRow], words: Sequence[WordRow], heading: str) -> str:
    """Two tables: the ways to ask, and the words."""
    similarity: list[list[str | float | None]] = [
        [row.name, f"{row.n}", row.similarity, row.floor, row.ceiling, row.share_closed] for row in ways
    ]
    header = ["asked with", "clips", "similarity", "floor", "ceiling", "share closed"]
    learnt: list[list[str | float | None]] = []
    for row in words:
        line: list[str | float | None] = [row.name]
        line += [f"{row.learnt.start_loss:.4f}", f"{row.learnt.best_loss:.4f}"]
        line += [f"{row.learnt.steps}", f"{row.learnt.seconds:.0f}"]
        learnt.append([*line, *(row.similarity[way.name] for way in ways), row.ceiling])
    columns = [
        "reference",
        "loss before",
        "after",
        "steps",
        "seconds",
        *(row.name for row in ways),
        "ceiling",
    ]
    return "\n\n".join(
        [
            heading,
            "Similarity to an excerpt of the reference that neither word nor style saw:",
            markdown_table(header, similarity),
            "The words, and the similarity of the clips of each reference:",
            markdown_table(columns, learnt),
        ]
    )
