"""Long clips of several references' controls: what to make, what came of it, and the tables."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from features.audio import Audio
from features.controls import CONTROL_CHANNELS, CONTROL_NAMES, Controls
from features.frames import frames_in
from flowmusic.evaluation.report import HEADLINE_METRICS, Result, Summary, Values, markdown_table, summarise
from flowmusic.evaluation.seams import (
    AWAY_S,
    REACH,
    SeamRow,
    at_joins,
    away_from_joins,
    block_borders,
    seam_row,
    seam_table,
    spectral_change,
    together,
    window_borders,
)

CONTROLS = ("chords", "drums", "melody")
"""Columns of the table, each by its headline metric."""


@dataclass(frozen=True)
class LongClip:
    """The references whose controls make a long clip, in order."""

    name: str
    order: tuple[int, ...]
    seed: int


@dataclass(frozen=True)
class Difference:
    """Long less short: mean over the `n` references to which the metric applies."""

    metric: str
    n: int
    mean: float | None
    standard_error: float | None


@dataclass(frozen=True)
class Report:
    """Headline metrics by control, of clips alone and of pieces of long ones, and the borders."""

    short: dict[str, Summary]
    long: dict[str, Summary]
    differences: dict[str, Difference]
    seams: tuple[SeamRow, ...]


def plan_long(n: int, per_clip: int, seeds: int = 1, seed: int = 0) -> list[LongClip]:
    """Long clips of every `per_clip` references in a row, `seeds` times, each time begun one later.

    ValueError unless `n` is a multiple of `per_clip`, that is at least 2, and `seeds` at least 1.
    """
    if per_clip < 2 or seeds < 1:
        raise ValueError(
            f"expected at least 2 references a clip and 1 seed, got {per_clip} references and {seeds} seeds"
        )
    if n < per_clip or n % per_clip:
        raise ValueError(f"expected {per_clip} references or a multiple of that, got {n}")
    groups = n // per_clip
    return [
        LongClip(
            name=f"long{group:02d}-seed{turn}",
            order=tuple(group * per_clip + (place + turn) % per_clip for place in range(per_clip)),
            seed=seed + n + turn * groups + group,
        )
        for turn in range(seeds)
        for group in range(groups)
    ]


def join_controls(parts: Sequence[Controls]) -> Controls:
    """One after another in time; a control that a part lacks is absent for so long.

    Raises:
        ValueError: no parts, or parts of different frame rates.
    """
    rates = sorted({part.frame_rate for part in parts})
    if len(rates) != 1:
        raise ValueError(f"controls to be joined must have one frame rate, got {rates}")
    fields: dict[str, torch.Tensor] = {}
    for name in CONTROL_NAMES:
        if any(part.get(name) is not None for part in parts):
            fields[name] = torch.cat([_frames(part, name) for part in parts])
            fields[f"{name}_mask"] = torch.cat([part.mask(name) for part in parts])
    return Controls(sum(part.n_frames for part in parts), rates[0], **fields)


def _frames(part: Controls, name: str) -> torch.Tensor:
    value = part.get(name)
    return torch.zeros(part.n_frames, CONTROL_CHANNELS[name]) if value is None else value


def averaged(results: Sequence[Result]) -> Result:
    """Several results for one reference as one: their mean, None where a metric does not apply."""

    def mean(tables: Sequence[Values]) -> Values:
        found = {key: [value for item in tables if (value := item[key]) is not None] for key in tables[0]}
        return {key: float(np.mean(values)) if values else None for key, values in found.items()}

    own, floor = mean([item.own for item in results]), mean([item.floor for item in results])
    return replace(results[0], own=own, floor=floor)


def difference(metric: str, long: Sequence[Result], short: Sequence[Result]) -> Difference:
    """Long less short, reference by reference; both lists hold the same references in one order."""
    pairs = [(a.own[metric], b.own[metric]) for a, b in zip(long, short, strict=True)]
    gaps = np.array([a - b for a, b in pairs if a is not None and b is not None])
    if gaps.size == 0:
        return Difference(metric, 0, None, None)
    error = float(gaps.std(ddof=1) / math.sqrt(gaps.size)) if gaps.size > 1 else None
    return Difference(metric, gaps.size, float(gaps.mean()), error)


def report(short: Sequence[Result], pieces: dict[int, list[Result]], seams: Sequence[SeamRow]) -> Report:
    """`short` by reference, `pieces` of long clips by number of the reference that they should follow."""
    done = sorted(pieces)
    long = [averaged(pieces[i]) for i in done]
    metrics = {control: HEADLINE_METRICS[control] for control in CONTROLS}
    return Report(
        short={control: summarise(short, metric) for control, metric in metrics.items()},
        long={control: summarise(long, metric) for control, metric in metrics.items()},
        differences={
            control: difference(metric, long, [short[i] for i in done]) for control, metric in metrics.items()
        },
        seams=tuple(seams),
    )


def seams_of(clips: Sequence[Audio], piece_s: float, frame_rate: float, what: str) -> list[SeamRow]:
    """Borders of windows and of decoded blocks in clips whose controls meet every `piece_s` seconds."""
    windows, blocks, joined = [], [], []
    reach = math.ceil(AWAY_S * frame_rate)  # a block is faded in somewhere within half a second
    for clip in clips:
        change = spectral_change(clip, frame_rate)
        n_frames = frames_in(clip.duration_s, frame_rate)
        joins = [round(i * piece_s * frame_rate) for i in range(1, round(clip.duration_s / piece_s))]
        of_windows, spread = together(window_borders(n_frames, frame_rate), frame_rate)
        of_blocks = block_borders(n_frames, frame_rate)
        every = sorted({*of_windows, *of_blocks})
        windows.append(away_from_joins(change, of_windows, joins, every, frame_rate, REACH + spread))
        blocks.append(away_from_joins(change, of_blocks, joins, every, frame_rate, reach))
        joined.append(at_joins(change, of_blocks, joins, every, frame_rate, reach))
    kinds = {"windows": windows, "blocks": blocks, "blocks at joins": joined}
    return [seam_row(f"{kind}, {what}", strata) for kind, strata in kinds.items()]


def to_markdown(table: Report, heading: str, short: str, long: str) -> str:
    """The tables; `short` and `long` name the two lengths."""
    header = ["clips", "n (chords/drums/melody)"]
    header += [title for control in CONTROLS for title in (control, "± s.e.")]
    rows = [
        _row(short, table.short, "score", "standard_error"),
        _row(f"{long}, cut", table.long, "score", "standard_error"),
        _row("difference", table.differences, "mean", "standard_error"),
        _row(f"floor of {short}", table.short, "floor"),
        _row(f"floor of {long}", table.long, "floor"),
        _row("ceiling", table.short, "ceiling"),
    ]
    seams = seam_table(table.seams)
    return f"# {heading}\n\n{markdown_table(header, rows)}\n\n## Borders\n\n{seams}\n"


def _row(
    name: str, values: dict[str, Summary] | dict[str, Difference], key: str, error: str | None = None
) -> list[str | float | None]:
    cells: list[str | float | None] = [name, "/".join(str(values[control].n) for control in CONTROLS)]
    for control in CONTROLS:
        item = values[control]
        cells += [getattr(item, key), None if error is None else getattr(item, error)]
    return cells
