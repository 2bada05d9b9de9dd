"""Adherence as tables: score, floor, ceiling and the gap closed between them, by each judge."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from features.files import whole_file
from features.text_files import read_text
from flowmusic.evaluation.adherence import HEADLINE, METRICS
from flowmusic.evaluation.estimates import Estimate, gap_closed, mean

SAME, LABELS, SECOND = "same extractors", "exact labels", "second extractors"
"""Who judges: what made the controls, the labels of rendered references, or what had no part in the
controls.
"""

PROTOCOL_TITLES = {
    "all": "All controls and the caption of one reference",
    "three": "Controls of three different references, no text",
}
CEILING_NOTE = (
    "A score above its ceiling (gap closed above 1) is no error: the ceiling is the codec's resynthesis of "
    "the reference, which keeps whatever made the original hard to extract from, while a clip is generated "
    "from the controls themselves and may state them more plainly. These extractors can show no more."
)

Values = dict[str, float | None]


@dataclass(frozen=True)
class Result:
    """Scores of one generated clip: `scores[judge][what][metric]`, None where the metric does not apply.

    what: own      against the references that its controls were taken from (for controls that were not
                   given: against the reference of the trial)
          floor    against other references, averaged
          ceiling  of the codec's resynthesis of those same references
          original of the references themselves, where the judge is their labels
    `key` tells results that were made or judged with other settings apart.
    """

    name: str
    protocol: str
    key: str
    sources: dict[str, str]
    scores: dict[str, dict[str, Values]]


@dataclass(frozen=True)
class Summary:
    """One metric by one judge over the clips of a protocol: those where score, floor and ceiling all apply.

    `not_applicable` clips do not count. `gap_closed` is (score - floor) / (ceiling - floor) of the means.
    """

    metric: str
    judge: str
    not_applicable: int
    score: Estimate
    floor: float | None
    ceiling: float | None
    gap_closed: Estimate
    original: float | None

    @property
    def above_ceiling(self) -> bool:
        return self.score.value is not None and self.ceiling is not None and self.score.value > self.ceiling


def summarise(results: Sequence[Result], metric: str, judge: str = SAME) -> Summary:
    """The figures of one metric by one judge."""
    rows: list[list[float]] = []
    originals = []
    for result in results:
        tables = result.scores.get(judge, {})
        row = [tables.get(what, {}).get(metric) for what in ("own", "floor", "ceiling")]
        if all(value is not None for value in row):
            rows.append([float(value) for value in row if value is not None])
            originals.append(tables.get("original", {}).get(metric))
    score, floor, ceiling = np.array(rows).reshape(-1, 3).T  # (N,) each
    return Summary(
        metric=metric,
        judge=judge,
        not_applicable=len(results) - len(rows),
        score=mean(score),
        floor=mean(floor).value,
        ceiling=mean(ceiling).value,
        gap_closed=gap_closed(score, floor, ceiling),
        original=mean(originals).value,
    )


def summary_tables(results: Sequence[Result]) -> dict[str, list[Summary]]:
    """Summaries by protocol: every metric by every judge that there is."""
    tables: dict[str, list[Summary]] = {}
    for protocol in dict.fromkeys(result.protocol for result in results):
        chosen = [result for result in results if result.protocol == protocol]
        judges = [judge for judge in (SAME, LABELS, SECOND) if any(judge in item.scores for item in chosen)]
        tables[protocol] = [
            summarise(chosen, metric, judge) for metric in METRICS.names() for judge in judges
        ]
    return tables


def to_markdown(tables: dict[str, list[Summary]], heading: str, notes: Sequence[str] = ()) -> str:
    """The tables as text, ready for a README; `notes` stand below the heading."""
    parts = [f"# {heading}", *notes]
    for protocol, summaries in tables.items():
        if not protocol.startswith("alone:"):
            parts += [f"## {PROTOCOL_TITLES[protocol]}", adherence_table(summaries)]
            if any(row.above_ceiling for row in summaries):
                parts.append(CEILING_NOTE)
    alone = {name.removeprefix("alone:"): rows for name, rows in tables.items() if name.startswith("alone:")}
    if alone:
        parts += ["## One control alone, no text: score (floor)", _alone_table(alone)]
    return "\n\n".join(parts) + "\n"


def adherence_table(summaries: Sequence[Summary]) -> str:
    """A row for each metric and judge, with 95 % intervals."""
    header = ["metric", "judge", "n", "score [95 %]", "floor", "ceiling", "gap closed [95 %]", "original"]
    rows: list[list[str | float | None]] = []
    for row in summaries:
        count = f"{row.score.n}" + (f" ({row.not_applicable} n/a)" if row.not_applicable else "")
        rows.append(
            [METRICS.get(row.metric).title, row.judge, count, str(row.score), row.floor, row.ceiling]
            + [str(row.gap_closed), row.original]
        )
    return markdown_table(header, rows)


def _alone_table(alone: dict[str, list[Summary]]) -> str:
    header = ["control given", "n", *(METRICS.get(metric).title for metric in HEADLINE.values())]
    rows: list[list[str | float | None]] = []
    for control, summaries in alone.items():
        by_metric = {row.metric: row for row in summaries if row.judge == SAME}
        cells: list[str | float | None] = [control, f"{by_metric[HEADLINE[control]].score.n}"]
        for name, metric in HEADLINE.items():
            row = by_metric[metric]
            text = "–" if row.floor is None else f"{row.score} ({row.floor:.3f})"
            cells.append(f"**{text}**" if name == control else text)
        rows.append(cells)
    return markdown_table(header, rows)


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str | float | None]]) -> str:
    """A markdown table; numbers with three decimals, None as a dash."""
    cells = [[_cell(value) for value in row] for row in rows]
    widths = [max(len(line[i]) for line in [list(header), *cells]) for i in range(len(header))]
    lines = [list(header), ["-" * width for width in widths], *cells]
    return "\n".join(
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |"
        for line in lines
    )


def _cell(value: str | float | None) -> str:
    if value is None:
        return "–"
    return value if isinstance(value, str) else f"{value:.3f}"


def write_text(path: Path, text: str) -> Path:
    """Write whole or not at all."""
    with whole_file(path) as partial:
        partial.write_text(text, encoding="utf-8", errors="backslashreplace")  # names need not be UTF-8
    return path


def write_lines(text: str, path: Path | None) -> None:
    """To standard output, and to `path` as well where one is given."""
    sys.stdout.write(text.rstrip("\n") + "\n")
    if path is not None:
        write_text(path, text.rstrip("\n") + "\n")


def append_result(path: Path, result: Result) -> None:
    """Add one line of JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(asdict(result)) + "\n")


def read_results(path: Path) -> list[Result]:
    """The lines of `append_result`; a last line that was cut short is removed from the file.

    Raises:
        ValueError: a line in the middle cannot be read, naming file and line.
    """
    if not path.is_file():
        return []
    lines = read_text(path, "the results of an evaluation", True).splitlines(keepends=True)
    if lines and not lines[-1].endswith("\n"):
        # The run was stopped while writing: that clip is done again.
        lines.pop()
        write_text(path, "".join(lines))
    results = []
    for number, line in enumerate(lines, 1):
        try:
            results.append(Result(**json.loads(line)))
        except (json.JSONDecodeError, TypeError) as error:
            raise ValueError(f"{path}, line {number}, is not an evaluation result: {error}") from error
    return results
