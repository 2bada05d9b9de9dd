"""The adherence protocol: take controls from references, generate, extract from the clips, compare.

all      drums, melody and chords of one reference, with its caption if it has one
alone:X  control X alone, without text: the other metrics should stay near their floor
three    the controls of three different references at once, without text

The score of a control is measured against the reference that it came from; the *floor* is the same clip
against references that had no part in it; the *ceiling* is the codec's resynthesis of the reference against
the reference.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from features.audio import Audio
from features.controls import CONTROL_NAMES, Controls
from features.extracted import Extracted
from flowmusic.api.request import Request
from flowmusic.evaluation.adherence import HEADLINE, METRICS, score
from flowmusic.evaluation.clip_store import ClipStore, digest, request_key
from flowmusic.evaluation.references import Clip
from flowmusic.evaluation.report import (
    LABELS,
    SAME,
    SECOND,
    Result,
    Summary,
    Values,
    append_result,
    read_results,
    summary_tables,
)

RESULTS_FILE = "results.jsonl"
PROTOCOLS = ("all", "alone", "three")
MAX_FLOOR_SHIFTS = 4


class Extraction(Protocol):
    """Audio -> what extractors find in it (`ExtractedStore`, `SecondExtractors`)."""

    def extract(self, audio: Audio) -> Extracted: ...


@dataclass(frozen=True)
class Judges:
    """Who extracts, and what tells their versions apart: those that make the controls, and second ones."""

    extractors: Extraction
    version: str
    second: Extraction | None = None


@dataclass(frozen=True)
class Trial:
    """One clip to generate: the index of each given control's reference; `anchor` stands for the others."""

    name: str
    protocol: str
    anchor: int
    sources: dict[str, int]
    text: str
    seed: int

    def source(self, control: str) -> int:
        return self.sources.get(control, self.anchor)


@dataclass(frozen=True)
class ExtractedReference:
    """A reference and the codec's resynthesis of it, as each judge extracts from them.

    `originals` and `resyntheses` are by judge; `LABELS` has its originals alone.
    """

    clip: Clip
    originals: Mapping[str, Extracted]
    resyntheses: Mapping[str, Extracted]

    @property
    def controls(self) -> Controls:
        return self.originals[SAME].controls


@dataclass(frozen=True)
class Evaluation:
    """An evaluation in a folder: its clips, `results.jsonl` and tables; run again, it goes on.

    Args:
        sampling: fields of every clip's request (steps, solver, guidance); what is left out is the model's.
    """

    store: ClipStore
    judges: Judges
    sampling: Mapping[str, Any] = field(default_factory=dict)

    @property
    def results_path(self) -> Path:
        return self.store.folder.parent / RESULTS_FILE

    def request(self, trial: Trial, references: Sequence[ExtractedReference]) -> Request:
        """What a trial asks for."""
        return Request(
            text=trial.text or None,
            controls=controls_of(trial, references),
            duration=references[trial.anchor].clip.audio.duration_s,
            seed=trial.seed,
            **self.sampling,
        )

    def extract_references(self, clips: Sequence[Clip], progress: Progress) -> list[ExtractedReference]:
        """Extract from every reference and from the codec's resynthesis of it."""
        found = []
        for i in progress(range(len(clips)), "references"):
            clip = clips[i]
            resynthesis = self.store.resynthesis(clip.name, clip.audio)
            originals, resyntheses = self._judged(clip.audio), self._judged(resynthesis)
            if clip.labels is not None:
                originals[LABELS] = clip.labels
            found.append(ExtractedReference(clip, originals, resyntheses))
        return found

    def _judged(self, audio: Audio) -> dict[str, Extracted]:
        found = {SAME: self.judges.extractors.extract(audio)}
        if self.judges.second is not None:
            found[SECOND] = self.judges.second.extract(audio)
        return found

    def run(
        self,
        trials: Sequence[Trial],
        references: Sequence[ExtractedReference],
        progress: Progress,
        plots: bool,
    ) -> list[Result]:
        """The results of the trials, in order; those that the folder holds under the same key are kept."""
        requests = [self.request(trial, references) for trial in trials]
        keys = [
            self._key(request, trial, references) for request, trial in zip(requests, trials, strict=True)
        ]
        kept = {(item.protocol, item.name, item.key): item for item in read_results(self.results_path)}
        results = []
        for i in progress(range(len(trials)), "generating"):
            trial = trials[i]
            if (found := kept.get((trial.protocol, trial.name, keys[i]))) is None:
                name = f"{trial.protocol.replace(':', '-')}/{trial.name}"
                audio = self.store.clip(name, requests[i])
                estimates = self._judged(audio)
                found = judge(trial, estimates, references, keys[i])
                append_result(self.results_path, found)
                if plots:
                    path = self.store.path(name, requests[i]).with_suffix(".png")
                    _plot(path, trial, references, estimates[SAME], audio)
            results.append(found)
        return results

    def _key(self, request: Request, trial: Trial, references: Sequence[ExtractedReference]) -> str:
        """What tells a result apart: how the clip is made, who judges it, and against which references."""
        involved = [trial.source(control) for control in CONTROL_NAMES]
        involved += floor_sources(trial, len(references))
        clip = request_key(self.store.maker.version, request)
        return digest([clip, self.judges.version, [references[i].clip for i in involved]])


def controls_of(trial: Trial, references: Sequence[ExtractedReference]) -> Controls:
    """The controls of a trial's sources, on the frames of its anchor."""
    controls = Controls(references[trial.anchor].controls.n_frames)
    for name, index in trial.sources.items():
        controls = controls.combine(references[index].controls.only(name).fit(controls.n_frames))
    return controls


def evaluate(
    evaluation: Evaluation,
    clips: Sequence[Clip],
    protocols: Sequence[str] = PROTOCOLS,
    n_alone: int = 16,
    n_three: int = 16,
    seed: int = 0,
    progress: Progress | None = None,
    plots: bool = False,
) -> dict[str, list[Summary]]:
    """Run the protocols; the tables by protocol. Clips and results are kept in the evaluation's folder.

    Raises:
        ValueError: an unknown protocol, or too few references.
    """
    trials = plan_trials(clips, protocols, n_alone, n_three, seed)
    references = evaluation.extract_references(clips, progress or quiet)
    return summary_tables(evaluation.run(trials, references, progress or quiet, plots))


def plan_trials(
    clips: Sequence[Clip], protocols: Sequence[str], n_alone: int, n_three: int, seed: int
) -> list[Trial]:
    """The clips to generate, in order; `n_alone` and `n_three` at most for those protocols.

    Raises:
        ValueError: an unknown protocol, or too few references (two; four for `three`).
    """
    unknown = sorted(set(protocols) - set(PROTOCOLS))
    if unknown:
        raise ValueError(f"unknown protocol {', '.join(unknown)}; expected some of {', '.join(PROTOCOLS)}")
    n = len(clips)
    needed = 4 if "three" in protocols else 2
    if n < needed:
        raise ValueError(f"expected at least {needed} references (the floor needs a different one), got {n}")
    trials: list[Trial] = []
    if "all" in protocols:
        for i, clip in enumerate(clips):
            trials.append(Trial(clip.name, "all", i, dict.fromkeys(CONTROL_NAMES, i), clip.caption, seed + i))
    if "alone" in protocols:
        for control in CONTROL_NAMES:
            for i in _spread(n, n_alone):
                name = f"{clips[i].name}-{control}"
                trials.append(Trial(name, f"alone:{control}", i, {control: i}, "", seed + i))
    if "three" in protocols:
        third = max(1, n // 3)
        for i in _spread(n, n_three):
            sources = {name: (i + k * third) % n for k, name in enumerate(CONTROL_NAMES)}
            trials.append(Trial(f"{clips[i].name}-three", "three", i, sources, "", seed + i))
    return trials


def _spread(n: int, n_wanted: int) -> list[int]:
    return sorted({round(i) for i in np.linspace(0, n - 1, min(n, n_wanted))})


def floor_sources(trial: Trial, n: int) -> list[int]:
    """References that had no part in a trial, for its floor: the same shifts round the list for all trials.

    Each shift is a derangement of the list, so over all trials of a protocol every reference is
    used equally often.
    """
    used = {trial.anchor, *trial.sources.values()}
    shifts = [1 + k * (n - 1) // MAX_FLOOR_SHIFTS for k in range(MAX_FLOOR_SHIFTS)]
    candidates = dict.fromkeys((trial.anchor + shift) % n for shift in (*shifts, *range(1, n)))
    free = [i for i in candidates if i not in used]
    return free[: min(MAX_FLOOR_SHIFTS, n - 1)]


def judge(
    trial: Trial, estimates: Mapping[str, Extracted], references: Sequence[ExtractedReference], key: str = ""
) -> Result:
    """Scores of a trial's clip by every judge, with floor and ceiling.

    `estimates` are what the extractors found in the clip, by judge; exact labels are compared with what the
    first extractors found. Second extractors judge what the first found in the reference: onsets that
    librosa finds in a song without drums are no drum part.
    """
    others = [references[i] for i in floor_sources(trial, len(references))]
    sources = {control: references[trial.source(control)] for control in CONTROL_NAMES}
    scores: dict[str, dict[str, Values]] = {}
    for name in (SAME, SECOND, LABELS):
        if not all(name in item.originals for item in references):
            continue
        by = SAME if name == LABELS else name  # who extracts from the clip
        originals = {control: item.originals[name] for control, item in sources.items()}
        floors = [score(item.originals[name], estimates[by]) for item in others]
        scores[name] = {
            "own": _by_control(originals, dict.fromkeys(CONTROL_NAMES, estimates[by])),
            "floor": {metric: _mean([table[metric] for table in floors]) for metric in METRICS.names()},
            "ceiling": _by_control(originals, {c: item.resyntheses[by] for c, item in sources.items()}),
        }
        if name == LABELS:
            scores[name]["original"] = _by_control(
                originals, {control: item.originals[by] for control, item in sources.items()}
            )
        if name == SECOND:
            applies = scores[SAME]["own"]
            own = scores[name]["own"].items()
            scores[name]["own"] = {
                metric: None if applies[metric] is None else value for metric, value in own
            }
    names = {control: references[index].clip.name for control, index in trial.sources.items()}
    return Result(trial.name, trial.protocol, key, names, scores)


def _by_control(references: Mapping[str, Extracted], estimates: Mapping[str, Extracted]) -> Values:
    """Each metric from the pair of its own control; None where there is no such reference."""
    values: Values = {}
    for name in METRICS.names():
        metric = METRICS.get(name)
        control = metric.control
        applies = control in references
        values[name] = metric.measure(references[control], estimates[control]) if applies else None
    return values


def _mean(values: Sequence[float | None]) -> float | None:
    """Mean of the values where the metric applies; None where it never does."""
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def _plot(
    path: Path, trial: Trial, references: Sequence[ExtractedReference], extracted: Extracted, audio: Audio
) -> None:
    from flowmusic.plots.figures import plot_controls

    # Only where all controls have one source is there one reference to set beside the result.
    own = set(trial.sources.values()) == {trial.anchor}
    reference = references[trial.anchor].originals[SAME] if own else None
    values = None if reference is None else score(reference, extracted)
    scores = None if values is None else {name: values.get(metric) for name, metric in HEADLINE.items()}
    plot_controls(controls_of(trial, references), extracted, audio, path, trial.name, reference, scores)


Progress = Callable[[Iterable[int], str], Iterable[int]]


def quiet(items: Iterable[int], title: str) -> Iterable[int]:
    """No progress bar."""
    return items


def progress_bar(items: Iterable[int], title: str) -> Iterable[int]:
    """A tqdm bar."""
    from tqdm import tqdm

    bar: Iterable[int] = tqdm(items, desc=title, unit="clip")
    return bar
