"""Is the training set copied? Nearest neighbours of generated clips in it, beside those of unseen references.

    python -m flowmusic.evaluation.novelty --references corpus/test --evaluations evaluation \\
        --training corpus/train recordings/train --out novelty.md
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from flowmusic.evaluation.embeddings import (
    EMBEDDING,
    EmbeddedClip,
    EmbeddingStore,
    bar,
    embed_files,
    embed_references,
    read_whole,
)
from flowmusic.evaluation.fidelity import read_evaluation
from flowmusic.evaluation.musicnn import PATCH_FRAMES
from flowmusic.evaluation.neighbours import Nearest, nearest_in
from flowmusic.evaluation.references import find_references

N_CLOSEST = 3


@dataclass(frozen=True)
class Novelty:
    """Similarity of clips to the nearest patch of the training set.

    `above` is the share of clips that are nearer to it than 95 % of the unseen references are.
    """

    name: str
    n: int
    mean: float
    median: float
    p95: float
    largest: float
    above: float


def summarise(name: str, nearest: Sequence[Nearest], limit: float) -> Novelty:
    """Figures of a set of clips; `limit` is the references' 95th percentile."""
    values = np.array([item.similarity for item in nearest])
    return Novelty(
        name=name,
        n=len(values),
        mean=float(values.mean()),
        median=float(np.median(values)),
        p95=float(np.percentile(values, 95)),
        largest=float(values.max()),
        above=float((values > limit).mean()),
    )


def embed_training(paths: Sequence[Path], store: EmbeddingStore, n: int | None = None) -> list[EmbeddedClip]:
    """Whole songs and recordings of the training set in patches of 3 s without overlap; at most `n`."""
    found = {item.name: item for item in find_references(paths, n)}
    return [
        store.clip(name, read_whole(found[name]), PATCH_FRAMES) for name in bar(list(found), "training set")
    ]


def compare(
    references: Sequence[EmbeddedClip],
    generated: dict[str, list[EmbeddedClip]],
    training: Sequence[EmbeddedClip],
) -> tuple[list[Novelty], dict[str, list[Nearest]]]:
    """A row for the references and for each set of clips, and each set's closest pairs.

    Raises:
        ValueError: no training clips.
    """
    unseen = nearest_in(references, training)
    limit = float(np.percentile([item.similarity for item in unseen], 95))
    found = {"references": unseen, **{name: nearest_in(clips, training) for name, clips in generated.items()}}
    rows = [summarise(name, nearest, limit) for name, nearest in found.items()]
    closest = {
        name: sorted(nearest, key=lambda item: -item.similarity)[:N_CLOSEST]
        for name, nearest in found.items()
    }
    return rows, closest


def to_markdown(rows: Sequence[Novelty], closest: dict[str, list[Nearest]], n_training: int) -> str:
    from flowmusic.evaluation.report import markdown_table

    header = ["clips", "n", "mean", "median", "95th percentile", "largest", "above the references' 95th"]
    cells: list[list[str | float | None]] = [
        [row.name, f"{row.n}", row.mean, row.median, row.p95, row.largest, row.above] for row in rows
    ]
    pairs: list[list[str | float | None]] = [
        [name, item.name, item.neighbour, item.similarity]
        for name, items in closest.items()
        for item in items
    ]
    return (
        f"Cosine of a clip's patch to the nearest of {n_training} training songs. Embedding: {EMBEDDING}.\n\n"
        f"{markdown_table(header, cells)}\n\nThe closest pairs, to listen to:\n\n"
        f"{markdown_table(['clips', 'clip', 'training song', 'cosine'], pairs)}"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """`python -m flowmusic.evaluation.novelty`."""
    from flowmusic.evaluation.report import write_lines, write_text

    parser = argparse.ArgumentParser(prog="novelty", description="Nearest neighbours in the training set.")
    parser.add_argument("--references", nargs="+", required=True, type=Path, help="as in the evaluations")
    parser.add_argument("--evaluations", nargs="+", required=True, metavar="[LABEL=]FOLDER")
    parser.add_argument("--training", nargs="+", required=True, type=Path, help="all that training heard")
    parser.add_argument("--n", type=int, help="the first n references of each evaluation only (all)")
    parser.add_argument("--n-training", type=int, help="at most so many training songs, for a trial (all)")
    parser.add_argument(
        "--out", type=Path, help="write the table here (.md) and its numbers beside it (.json)"
    )
    options = parser.parse_args(arguments)
    try:
        store = EmbeddingStore()
        evaluations = [read_evaluation(text) for text in options.evaluations]
        names = evaluations[0].references[: options.n]
        references = embed_references(options.references, store, names, evaluations[0].duration_s)
        generated = {
            item.label: embed_files(item.folder / "clips" / "all", store, item.references[: options.n])
            for item in evaluations
        }
        training = embed_training(options.training, store, options.n_training)
        rows, closest = compare(references, generated, training)
    except ValueError as error:
        parser.error(str(error))
    write_lines(to_markdown(rows, closest, len(training)), options.out)
    if options.out is not None:
        pairs = {name: [asdict(item) for item in items] for name, items in closest.items()}
        values = {"embedding": EMBEDDING, "rows": [asdict(row) for row in rows], "closest": pairs}
        write_text(options.out.with_suffix(".json"), json.dumps(values, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
