"""Fréchet distance of generated clips to unseen references, in an embedding that nothing was trained with.

The distance of small sets is biased upwards, so every row has the same size: the references are split into
two halves, and the clips made from one half are compared with the references of the other, both ways.

    python -m flowmusic.evaluation.fidelity --references corpus/test --evaluations evaluation
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
    embed_files,
    embed_references,
    stack,
)
from flowmusic.evaluation.frechet import distance_of

MIN_REFERENCES = 4


@dataclass(frozen=True)
class Fidelity:
    """Fréchet distances of a set of clips, one for each reference and in the same order.

    across   clips of one half against the references of the other, mean of both ways
    whole    all clips against all references (None for the references themselves)
    """

    name: str
    n_clips: int
    n_patches: int
    across: float
    whole: float | None


@dataclass(frozen=True)
class Evaluation:
    """What `flowmusic evaluate` left in a folder."""

    label: str
    folder: Path
    duration_s: float
    references: tuple[str, ...]


def measure(name: str, clips: Sequence[EmbeddedClip], references: Sequence[EmbeddedClip]) -> Fidelity:
    """Distances of clips to references; clip i was made from reference i.

    Raises:
        ValueError: lists of different length, or fewer than 4 references.
    """
    if len(clips) != len(references):
        raise ValueError(f"expected one clip for each of {len(references)} references, got {len(clips)}")
    if len(references) < MIN_REFERENCES:
        raise ValueError(
            f"expected at least {MIN_REFERENCES} references to split into halves, got {len(references)}"
        )
    ways = [(clips[half::2], references[1 - half :: 2]) for half in (0, 1)]
    across = float(np.mean([distance_of(stack(ours), stack(theirs)) for ours, theirs in ways]))
    itself = clips is references
    whole = None if itself else distance_of(stack(clips), stack(references))
    return Fidelity(name, len(clips), sum(len(clip.patches) for clip in clips), across, whole)


def read_evaluation(text: str) -> Evaluation:
    """`[LABEL=]FOLDER` of an evaluation.

    Raises:
        ValueError: a folder without an evaluation, naming it.
    """
    label, sign, place = text.partition("=")
    folder = Path(place if sign else label)
    path = folder / "settings.json"
    if not path.is_file():
        raise ValueError(f"{folder} holds no evaluation (settings.json); run `flowmusic evaluate` first")
    settings = json.loads(path.read_text(encoding="utf-8"))
    name = label if sign else folder.name
    return Evaluation(name, folder, float(settings["duration_s"]), tuple(settings["references"]))


def compare(
    evaluations: Sequence[Evaluation], references: Sequence[Path], store: EmbeddingStore, n: int | None
) -> list[Fidelity]:
    """Rows: the references' own halves, the codec's resynthesis, then each evaluation's clips.

    Raises:
        ValueError: evaluations of different references or durations.
    """
    first = evaluations[0]
    for other in evaluations[1:]:
        if (other.references, other.duration_s) != (first.references, first.duration_s):
            raise ValueError(f"{other.folder} and {first.folder} were made from different references")
    names = first.references[:n]
    originals = embed_references(references, store, names, first.duration_s)
    resynthesis = embed_files(first.folder / "clips" / "resynthesis", store, names)
    rows = [measure("references", originals, originals), measure("resynthesis", resynthesis, originals)]
    for item in evaluations:
        clips = embed_files(item.folder / "clips" / "all", store, names)
        rows.append(measure(item.label, clips, originals))
    return rows


def to_markdown(rows: Sequence[Fidelity]) -> str:
    from flowmusic.evaluation.report import markdown_table

    header = ["clips", "n", "3 s patches", "Fréchet, across halves", "Fréchet, all against all"]
    cells: list[list[str | float | None]] = [
        [row.name, f"{row.n_clips}", f"{row.n_patches}", row.across, row.whole] for row in rows
    ]
    return f"Embedding: {EMBEDDING}.\n\n{markdown_table(header, cells)}"


def main(arguments: Sequence[str] | None = None) -> int:
    """`python -m flowmusic.evaluation.fidelity`."""
    from flowmusic.evaluation.report import write_lines, write_text

    parser = argparse.ArgumentParser(prog="fidelity", description="Fréchet distance to unseen references.")
    parser.add_argument("--references", nargs="+", required=True, type=Path, help="as in the evaluations")
    parser.add_argument(
        "--evaluations",
        nargs="+",
        required=True,
        metavar="[LABEL=]FOLDER",
        help="what `flowmusic evaluate` wrote; several make a curve over training",
    )
    parser.add_argument("--n", type=int, help="the first n references only (all)")
    parser.add_argument(
        "--out", type=Path, help="write the table here (.md) and its numbers beside it (.json)"
    )
    options = parser.parse_args(arguments)
    try:
        evaluations = [read_evaluation(text) for text in options.evaluations]
        rows = compare(evaluations, options.references, EmbeddingStore(), options.n)
    except ValueError as error:
        parser.error(str(error))
    write_lines(to_markdown(rows), options.out)
    if options.out is not None:
        values = {"embedding": EMBEDDING, "rows": [asdict(row) for row in rows]}
        write_text(options.out.with_suffix(".json"), json.dumps(values, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
