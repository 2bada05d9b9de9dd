"""Holes filled in recordings: what is kept, the borders, the controls and the level inside, as numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from features.audio import Audio
from features.controls import CONTROL_NAMES
from flowmusic.api.editing import BORDER_FADE_S
from flowmusic.evaluation.listening import ExtractedStore
from flowmusic.evaluation.protocol import ExtractedReference, judge
from flowmusic.evaluation.references import MIN_CLIP_S, Clip
from flowmusic.evaluation.report import (
    HEADLINE_METRICS,
    METRIC_TITLES,
    Result,
    Summary,
    markdown_table,
    summarise,
)
from flowmusic.evaluation.seams import (
    SeamRow,
    Stratum,
    away_from_joins,
    cut,
    seam_row,
    seam_table,
    spectral_change,
)
from flowmusic.evaluation.trials import Trial

METRICS = tuple(HEADLINE_METRICS[control] for control in ("chords", "drums", "melody"))


@dataclass(frozen=True)
class Filled:
    """A reference, the clip with a hole filled in it, and the reference after the codec: equally long."""

    name: str
    original: Audio
    made: Audio
    resynthesis: Audio

    @property
    def hole(self) -> tuple[float, float]:
        """Its first and last second."""
        return hole_of(self.original.duration_s)


@dataclass(frozen=True)
class Mean:
    """Mean and standard error over `n` clips; None without any."""

    n: int
    mean: float | None
    standard_error: float | None


@dataclass(frozen=True)
class Report:
    """What came of `n` holes.

    `kept_difference` is the largest of any kept sample of any clip, full scale 1. `levels` are
    differences in LU to the original's same span: of the hole, and of the codec's resynthesis.
    """

    n: int
    kept_difference: float
    adherence: tuple[Summary, ...]
    seams: tuple[SeamRow, ...]
    levels: dict[str, Mean]


def hole_of(duration_s: float) -> tuple[float, float]:
    """The middle third, in seconds. ValueError where that is too short to be listened to."""
    if duration_s < 3 * MIN_CLIP_S:
        raise ValueError(f"expected a duration of at least {3 * MIN_CLIP_S:g} s, got {duration_s:g}")
    return duration_s / 3, 2 * duration_s / 3


def kept_difference(item: Filled) -> float:
    """Largest difference of a kept sample to the original's, without the fades at the hole's borders."""
    start_s, end_s = item.hole
    spans = ((0.0, start_s - BORDER_FADE_S), (end_s + BORDER_FADE_S, item.original.duration_s))
    pairs = [(cut(item.made, *span).samples, cut(item.original, *span).samples) for span in spans]
    return max(float(np.abs(made - original).max(initial=0.0)) for made, original in pairs)


def hole_results(items: Sequence[Filled], store: ExtractedStore) -> list[Result]:
    """Scores of the holes' sound, cut out and heard as clips of their own, with floor and ceiling."""
    references = [
        ExtractedReference(
            Clip(item.name, cut(item.original, *item.hole), item.hole[0], "", None),
            store.extract(cut(item.original, *item.hole)),
            store.extract(cut(item.resynthesis, *item.hole)),
        )
        for item in items
    ]
    sources = [dict.fromkeys(CONTROL_NAMES, i) for i in range(len(items))]
    trials = [Trial(item.name, "all", i, sources[i], text="", seed=0) for i, item in enumerate(items)]
    extracted = [store.extract(cut(item.made, *item.hole)) for item in items]
    return [judge(trial, estimate, references) for trial, estimate in zip(trials, extracted, strict=True)]


def hole_seams(items: Sequence[Filled], frame_rate: float) -> list[SeamRow]:
    """The borders in the results and, where there is none, at the same instants of the originals."""
    against_original: list[Stratum] = []
    against_result: list[Stratum] = []
    original_alone: list[Stratum] = []
    for item in items:
        borders = [round(time_s * frame_rate) for time_s in item.hole]
        made, original = (spectral_change(sound, frame_rate) for sound in (item.made, item.original))
        in_made = away_from_joins(made, borders, [], borders, frame_rate)
        everywhere = away_from_joins(original, borders, [], [], frame_rate)
        against_original.append(Stratum(in_made.borders, everywhere.others))
        against_result.append(in_made)
        original_alone.append(everywhere)
    return [
        seam_row("result, against the original", against_original),
        seam_row("result, against the rest of it", against_result),
        seam_row("original itself, same instants", original_alone),
    ]


def loudness_lufs(audio: Audio) -> float:
    """Integrated loudness (ITU-R BS.1770-4); -inf for silence."""
    import pyloudnorm

    return float(pyloudnorm.Meter(audio.sample_rate).integrated_loudness(audio.mono()))


def level_differences(items: Sequence[Filled]) -> dict[str, list[float]]:
    """LU of the hole, and of the codec's resynthesis, less the original's same span; silence is left out."""
    levels: dict[str, list[float]] = {"hole": [], "resynthesis": []}
    for item in items:
        original, made, resynthesis = (
            loudness_lufs(cut(sound, *item.hole)) for sound in (item.original, item.made, item.resynthesis)
        )
        if all(math.isfinite(level) for level in (original, made, resynthesis)):
            levels["hole"].append(made - original)
            levels["resynthesis"].append(resynthesis - original)
    return levels


def _mean(values: Sequence[float]) -> Mean:
    if not values:
        return Mean(0, None, None)
    error = float(np.std(values, ddof=1) / math.sqrt(len(values))) if len(values) > 1 else None
    return Mean(len(values), float(np.mean(values)), error)


def report(items: Sequence[Filled], store: ExtractedStore, frame_rate: float) -> Report:
    """All figures of the holes; `frame_rate` is that of the latents, in Hz."""
    results = hole_results(items, store)
    return Report(
        n=len(items),
        kept_difference=max(kept_difference(item) for item in items),
        adherence=tuple(summarise(results, metric) for metric in METRICS),
        seams=tuple(hole_seams(items, frame_rate)),
        levels={what: _mean(values) for what, values in level_differences(items).items()},
    )


def to_markdown(table: Report, heading: str) -> str:
    """The tables."""
    header = ["inside the hole", "n", "score", "± s.e.", "floor", "ceiling", "share closed"]
    adherence: list[list[str | float | None]] = [
        [METRIC_TITLES[row.metric], f"{row.n}"]
        + [row.score, row.standard_error, row.floor, row.ceiling, row.share_closed]
        for row in table.adherence
    ]
    levels: list[list[str | float | None]] = [
        [what, f"{item.n}", item.mean, item.standard_error] for what, item in table.levels.items()
    ]
    parts = [
        f"# {heading}",
        f"Largest difference of a kept sample in {table.n} clips: {table.kept_difference:g} of full scale.",
        markdown_table(header, adherence),
        "## Borders",
        seam_table(table.seams),
        "## Level",
        markdown_table(["against the original's same span", "n", "LU", "± s.e."], levels),
    ]
    return "\n\n".join(parts) + "\n"
