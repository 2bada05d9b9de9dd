"""Tables of results: means with their standard error, floor, ceiling and the share closed."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from features.files import whole_file

METRIC_CONTROL = {
    "chord_overlap": "chords",
    "chord_iou": "chords",
    "drum_onset_f1": "drums",
    "melody_chroma_cosine": "melody",
    "melody_raw_pitch": "melody",
    "melody_raw_chroma": "melody",
}
METRIC_TITLES = {
    "chord_overlap": "chords, overlap (maj/min)",
    "chord_iou": "chords, IoU",
    "drum_onset_f1": "drums, onset F1 (50 ms)",
    "melody_chroma_cosine": "melody, one-hot chroma cosine",
    "melody_raw_pitch": "melody, raw pitch accuracy",
    "melody_raw_chroma": "melody, raw chroma accuracy",
}
HEADLINE_METRICS = {"drums": "drum_onset_f1", "melody": "melody_raw_chroma", "chords": "chord_overlap"}
SMALLEST_RANGE = 0.02
"""A ceiling closer than this to the floor leaves no share to speak of."""

Values = dict[str, float | None]


@dataclass(frozen=True)
class Result:
    """Scores of one generated clip, each by metric name; None where the reference has nothing to follow.

    own      against the references its controls were taken from (for controls that were not given:
             against the reference of the trial)
    floor    against other references, averaged
    ceiling  of the codec's resynthesis against those same references
    labels   own, floor, ceiling and "original" (the extractors on the reference itself) against exact labels
    """

    name: str
    protocol: str
    sources: dict[str, str]
    own: Values
    floor: Values
    ceiling: Values
    labels: dict[str, Values]


@dataclass(frozen=True)
class Summary:
    """One metric over the clips of a protocol, on those where score, floor and ceiling all apply.

    `n` clips count, `not_applicable` do not. `share_closed` = (score - floor) / (ceiling - floor)
    of the means; None where floor and ceiling meet.
    """

    metric: str
    n: int
    not_applicable: int
    score: float | None
    standard_error: float | None
    floor: float | None
    ceiling: float | None
    share_closed: float | None
    original: float | None = None


def summarise(results: Sequence[Result], metric: str, exact: bool = False) -> Summary:
    """Means of one metric, against the extractors' hearing or (`exact`) against the labels."""
    rows: list[list[float]] = []
    keys = ("own", "floor", "ceiling", "original") if exact else ("own", "floor", "ceiling")
    for result in results:
        tables = result.labels if exact else {key: getattr(result, key) for key in keys}
        row = [tables.get(key, {}).get(metric) for key in keys]
        if all(value is not None for value in row):
            rows.append([float(value) for value in row if value is not None])
    left_out = len(results) - len(rows)
    if not rows:
        return Summary(metric, 0, left_out, None, None, None, None, None)
    values = np.array(rows)  # (N, keys)
    score, floor, ceiling, *original = (float(mean) for mean in values.mean(axis=0))
    error = float(values[:, 0].std(ddof=1) / math.sqrt(len(rows))) if len(rows) > 1 else None
    share = (score - floor) / (ceiling - floor) if ceiling - floor > SMALLEST_RANGE else None
    return Summary(metric, len(rows), left_out, score, error, floor, ceiling, share, *original)


def summary_tables(results: Sequence[Result]) -> dict[str, list[Summary]]:
    """Summaries of every protocol that was run; `<protocol>/labels` where exact labels exist."""
    tables: dict[str, list[Summary]] = {}
    for protocol in dict.fromkeys(result.protocol for result in results):
        chosen = [result for result in results if result.protocol == protocol]
        tables[protocol] = [summarise(chosen, metric) for metric in METRIC_TITLES]
        if any(result.labels for result in chosen):
            tables[f"{protocol}/labels"] = [summarise(chosen, metric, exact=True) for metric in METRIC_TITLES]
    return tables


def to_markdown(tables: dict[str, list[Summary]], heading: str) -> str:
    """The tables as text, ready for a README."""
    parts = [f"# {heading}"]
    for protocol, summaries in tables.items():
        if not protocol.startswith("alone:"):
            parts += [f"## {_protocol_title(protocol)}", _protocol_table(summaries)]
    alone = {
        protocol.removeprefix("alone:"): rows for protocol, rows in tables.items() if _is_alone(protocol)
    }
    if alone:
        parts += ["## One control alone: score (floor)", _alone_table(alone)]
    return "\n\n".join(parts) + "\n"


def _is_alone(protocol: str) -> bool:
    return protocol.startswith("alone:") and not protocol.endswith("/labels")


def _protocol_title(protocol: str) -> str:
    name, _, kind = protocol.partition("/")
    title = {"all": "All controls from one reference", "three": "Controls from three different references"}[
        name
    ]
    return f"{title}, against exact labels" if kind else f"{title}, against what is heard in the reference"


def _protocol_table(summaries: Sequence[Summary]) -> str:
    exact = any(row.original is not None for row in summaries)
    header = [
        "metric",
        "n",
        "score",
        "± s.e.",
        "floor",
        "ceiling",
        "share closed",
        *(["original"] if exact else []),
    ]
    rows: list[list[str | float | None]] = []
    for row in summaries:
        count = f"{row.n}" + (f" ({row.not_applicable} n/a)" if row.not_applicable else "")
        cells: list[str | float | None] = [METRIC_TITLES[row.metric], count, row.score, row.standard_error]
        rows.append([*cells, row.floor, row.ceiling, row.share_closed, *([row.original] if exact else [])])
    return markdown_table(header, rows)


def _alone_table(alone: dict[str, list[Summary]]) -> str:
    header = ["control given", *(METRIC_TITLES[metric] for metric in HEADLINE_METRICS.values())]
    rows: list[list[str | float | None]] = []
    for control, summaries in alone.items():
        by_metric = {row.metric: row for row in summaries}
        cells: list[str | float | None] = [control]
        for name, metric in HEADLINE_METRICS.items():
            row = by_metric[metric]
            text = "–" if row.score is None else f"{row.score:.3f} ({row.floor:.3f})"
            cells.append(f"**{text}**" if name == control else text)
        rows.append(cells)
    return markdown_table(header, rows)


def mean_of(results: Iterable[object], figure: str) -> float | None:
    """Mean of an attribute over the results that have it (not None); None where none has."""
    values = [value for result in results if (value := getattr(result, figure)) is not None]
    return float(np.mean(values)) if values else None


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
        partial.write_text(text, encoding="utf-8")
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
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
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
