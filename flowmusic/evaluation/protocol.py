"""The evaluation: take controls from references, generate, listen to the result, compare.

The protocols (`flowmusic.evaluation.trials`) share this code. The score of a control is measured
against the reference that it came from; the *floor* is the same clip against references that had
no part in it; the *ceiling* is the codec's resynthesis of the reference against the reference.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from features.audio import Audio, normalise_peak, read_audio, write_audio
from features.controls import CONTROL_NAMES, Controls
from flowmusic.evaluation.adherence import Extracted, score
from flowmusic.evaluation.listening import ExtractedStore
from flowmusic.evaluation.references import Clip
from flowmusic.evaluation.report import (
    METRIC_CONTROL,
    Result,
    Summary,
    Values,
    append_result,
    read_results,
    summary_tables,
    to_markdown,
    write_text,
)
from flowmusic.evaluation.trials import PROTOCOLS, Trial, floor_sources, plan_trials

RESULTS_FILE, SETTINGS_FILE, REPORT_FILE, TABLE_FILE = (
    "results.jsonl",
    "settings.json",
    "report.json",
    "report.md",
)


class Maker(Protocol):
    """What is evaluated: something that makes sound from controls, and the codec it makes it with."""

    def make(self, controls: Controls, text: str, duration_s: float, seed: int) -> Audio:
        """A clip of `duration_s` seconds that should follow `controls` and `text`."""
        ...

    def resynthesise(self, audio: Audio) -> Audio:
        """What the codec leaves of a recording: the best that any clip could do."""
        ...


@dataclass(frozen=True)
class Settings:
    """What makes two evaluations comparable; kept in the output folder and checked on resuming."""

    model: str
    duration_s: float
    solver: str
    steps: int
    guidance: str
    seed: int
    extractors: str
    references: tuple[str, ...]


@dataclass(frozen=True)
class ExtractedReference:
    """A reference, what is heard in it, and what is heard in the codec's resynthesis of it."""

    clip: Clip
    extracted: Extracted
    resynthesis: Extracted


Progress = Callable[[Iterable[int], str], Iterable[int]]


def quiet(items: Iterable[int], title: str) -> Iterable[int]:
    """No progress bar."""
    return items


def progress_bar(items: Iterable[int], title: str) -> Iterable[int]:
    """A tqdm bar."""
    from tqdm import tqdm

    bar: Iterable[int] = tqdm(items, desc=title, unit="clip")
    return bar


def evaluate(
    maker: Maker,
    clips: Sequence[Clip],
    out: Path,
    settings: Settings,
    store: ExtractedStore,
    protocols: Sequence[str] = PROTOCOLS,
    n_alone: int = 16,
    n_three: int = 16,
    plots: bool = False,
    progress: Progress = quiet,
) -> dict[str, list[Summary]]:
    """Run the protocols and write `results.jsonl`, `report.json`, `report.md` and the clips into `out`.

    A second run with the same settings goes on where the first stopped.

    Raises:
        ValueError: `out` holds results of other settings; too few references.
    """
    trials = plan_trials(clips, protocols, n_alone, n_three, settings.seed)
    check_settings(out, settings)
    references = extract_references(maker, clips, out, store, progress)
    return run_trials(maker, trials, references, out, settings, store, plots, progress)


def extract_references(
    maker: Maker, clips: Sequence[Clip], out: Path, store: ExtractedStore, progress: Progress = quiet
) -> list[ExtractedReference]:
    """Listen to every reference and to the codec's resynthesis of it, which is kept under `out`."""
    return [
        ExtractedReference(
            clips[i], store.extract(clips[i].audio), store.extract(_resynthesis(maker, clips[i], out))
        )
        for i in progress(range(len(clips)), "references")
    ]


def run_trials(
    maker: Maker,
    trials: Sequence[Trial],
    references: Sequence[ExtractedReference],
    out: Path,
    settings: Settings,
    store: ExtractedStore,
    plots: bool = False,
    progress: Progress = quiet,
) -> dict[str, list[Summary]]:
    """Run the trials that `out` does not hold yet, and write the report of all."""
    check_settings(out, settings)
    done = {(result.protocol, result.name) for result in read_results(out / RESULTS_FILE)}
    missing = [trial for trial in trials if (trial.protocol, trial.name) not in done]
    for i in progress(range(len(missing)), "generating"):
        append_result(out / RESULTS_FILE, run_trial(maker, missing[i], references, out, store, plots))
    kept = {(result.protocol, result.name): result for result in read_results(out / RESULTS_FILE)}
    return write_report([kept[trial.protocol, trial.name] for trial in trials], settings, out)


def run_trial(
    maker: Maker,
    trial: Trial,
    references: Sequence[ExtractedReference],
    out: Path,
    store: ExtractedStore,
    plots: bool = False,
) -> Result:
    """Generate one clip, write it under `out`, listen to it and score it."""
    anchor = references[trial.anchor]
    controls = Controls(anchor.extracted.controls.n_frames)
    for name, index in trial.sources.items():
        controls = controls.combine(references[index].extracted.controls.only(name).fit(controls.n_frames))
    audio = maker.make(controls, trial.text, anchor.extracted.duration_s, trial.seed)
    path = clip_path(out, trial.protocol, trial.name)
    write_audio(path, audio.samples, audio.sample_rate)
    # What was written is what is judged: 16 bits and all.
    written = read_audio(path)
    extracted = store.extract(written)
    if plots:
        from flowmusic.plots.figures import plot_controls

        # Only where all controls have one source is there one hearing to set beside the result.
        reference = anchor.extracted if set(trial.sources.values()) == {trial.anchor} else None
        plot_controls(controls, extracted, written, path.with_suffix(".png"), trial.name, reference)
    return judge(trial, extracted, references)


def clip_path(out: Path, protocol: str, name: str) -> Path:
    return out / "clips" / protocol.replace(":", "-") / f"{name}.wav"


def judge(trial: Trial, estimate: Extracted, references: Sequence[ExtractedReference]) -> Result:
    """Scores of what is heard in a trial's clip, with floor and ceiling."""
    others = floor_sources(trial, len(references))
    labels: dict[str, Values] = {}
    sources = {name: references[trial.source(name)] for name in CONTROL_NAMES}
    if all(item.clip.labels is not None for item in references):
        labels = {
            "own": _by_control({name: _score(item.clip.labels, estimate) for name, item in sources.items()}),
            "floor": _mean([_score(references[i].clip.labels, estimate) for i in others]),
            "ceiling": _by_control(
                {name: _score(item.clip.labels, item.resynthesis) for name, item in sources.items()}
            ),
            "original": _by_control(
                {name: _score(item.clip.labels, item.extracted) for name, item in sources.items()}
            ),
        }
    return Result(
        name=trial.name,
        protocol=trial.protocol,
        sources={name: references[index].clip.name for name, index in trial.sources.items()},
        own=_by_control({name: _score(item.extracted, estimate) for name, item in sources.items()}),
        floor=_mean([_score(references[i].extracted, estimate) for i in others]),
        ceiling=_by_control(
            {name: _score(item.extracted, item.resynthesis) for name, item in sources.items()}
        ),
        labels=labels,
    )


def _score(reference: Extracted | None, estimate: Extracted) -> Values:
    if reference is None:
        raise ValueError("expected a reference with labels, got one without")
    return score(reference, estimate).as_dict()


def _by_control(scores: dict[str, Values]) -> Values:
    """Each metric from the scores against the reference of its own control."""
    return {metric: scores[control][metric] for metric, control in METRIC_CONTROL.items()}


def _mean(tables: Sequence[Values]) -> Values:
    """Mean of each metric over the tables where it applies; None where it never does."""
    means: Values = {}
    for metric in METRIC_CONTROL:
        values = [value for table in tables if (value := table[metric]) is not None]
        means[metric] = float(np.mean(values)) if values else None
    return means


def _resynthesis(maker: Maker, clip: Clip, out: Path) -> Audio:
    """The codec's version of a clip, from `out` if it was made before."""
    path = clip_path(out, "resynthesis", clip.name)
    if not path.is_file():
        audio = maker.resynthesise(clip.audio)
        # A codec may overshoot full scale, which 16 bits cannot hold.
        loud = float(np.abs(audio.samples).max(initial=0.0)) > 1.0
        write_audio(path, normalise_peak(audio.samples) if loud else audio.samples, audio.sample_rate)
    return read_audio(path)


def check_settings(out: Path, settings: Settings) -> None:
    """Write the settings, or see that they are those of what `out` holds already: ValueError if not."""
    path = out / SETTINGS_FILE
    wanted = json.loads(json.dumps(asdict(settings)))
    if path.is_file():
        kept = json.loads(path.read_text(encoding="utf-8"))
        differing = sorted(key for key in {*wanted, *kept} if wanted.get(key) != kept.get(key))
        if differing:
            raise ValueError(
                f"{out} holds an evaluation with other settings ({', '.join(differing)} differ); "
                "give another folder, or remove this one"
            )
        return
    write_text(path, json.dumps(wanted, indent=2) + "\n")


def write_report(results: Sequence[Result], settings: Settings, out: Path) -> dict[str, list[Summary]]:
    """The tables as JSON and as markdown."""
    tables = summary_tables(results)
    values = {protocol: [asdict(row) for row in rows] for protocol, rows in tables.items()}
    write_text(
        out / REPORT_FILE, json.dumps({"settings": asdict(settings), "tables": values}, indent=2) + "\n"
    )
    heading = (
        f"Adherence: {len(settings.references)} references of {settings.duration_s:g} s, "
        f"model {settings.model}, {settings.solver} {settings.steps}, guidance {settings.guidance}"
    )
    write_text(out / TABLE_FILE, to_markdown(tables, heading))
    return tables
