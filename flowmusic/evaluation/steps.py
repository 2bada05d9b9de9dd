"""Adherence and fidelity against the number of evaluations of the model, for every solver of fixed step.

python -m flowmusic.evaluation.steps --references corpus/test --n 32 --out steps
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from features import choices
from flowmusic.evaluation.command import (
    SECONDS,
    FlowMaker,
    add_sampling,
    load_model,
    run_and_show,
    settings_for,
)

if TYPE_CHECKING:
    from flowmusic.api.model import FlowMusic
    from flowmusic.evaluation.embeddings import EmbeddedClip, EmbeddingStore
    from flowmusic.evaluation.listening import ExtractedStore
    from flowmusic.evaluation.protocol import ExtractedReference, Settings
    from flowmusic.evaluation.references import Clip

EVALUATIONS = "4,8,16,32"
TABLE_FILE, NUMBERS_FILE = "steps.md", "steps.json"


@dataclass(frozen=True)
class Setting:
    """One way to solve the equation with a number of evaluations."""

    solver: str
    evaluations: int
    steps: int
    time_shift: float

    @property
    def name(self) -> str:
        return f"{self.solver}-{self.evaluations}-shift{self.time_shift:g}"


@dataclass(frozen=True)
class Row:
    """What a setting gave: the means of the headline metrics and the Fréchet distances."""

    solver: str
    evaluations: int
    steps: int
    time_shift: float
    n: int
    chord_overlap: float | None
    drum_onset_f1: float | None
    melody_raw_chroma: float | None
    frechet_across: float
    frechet_whole: float | None


def plan(solvers: Sequence[str], evaluations: Sequence[int], shifts: Sequence[float]) -> list[Setting]:
    """Every combination in which a whole number of steps takes exactly so many evaluations.

    Raises:
        ValueError: an unknown solver or one of adaptive step, or no combination at all.
    """
    from flowmusic.flow.solver import STAGES

    unknown = [name for name in solvers if name not in STAGES]
    if unknown:
        raise ValueError(f"{unknown[0]!r} is no solver of fixed step; expected some of {', '.join(STAGES)}")
    settings = [
        Setting(solver, count, count // STAGES[solver], shift)
        for solver in solvers
        for count in evaluations
        for shift in shifts
        if count >= STAGES[solver] and count % STAGES[solver] == 0
    ]
    if not settings:
        raise ValueError(f"no solver of {', '.join(solvers)} can use {list(evaluations)} evaluations")
    return settings


def with_time_shift(model: FlowMusic, time_shift: float) -> FlowMusic:
    """The same model with another grid of times (`flowmusic.flow.solver.time_grid`)."""
    from flowmusic.api.model import FlowMusic

    defaults = replace(model.model.defaults, time_shift=time_shift)
    return FlowMusic(replace(model.model, defaults=defaults), model.extractors)


def run_setting(
    model: FlowMusic,
    setting: Setting,
    references: Sequence[ExtractedReference],
    originals: Sequence[EmbeddedClip],
    out: Path,
    settings: Settings,
    store: ExtractedStore,
    embeddings: EmbeddingStore,
) -> Row:
    """Generate, listen and embed; `out` keeps what was done."""
    from flowmusic.evaluation.embeddings import embed_files
    from flowmusic.evaluation.fidelity import measure
    from flowmusic.evaluation.protocol import progress_bar, run_trials
    from flowmusic.evaluation.trials import plan_trials

    maker = FlowMaker(
        with_time_shift(model, setting.time_shift), setting.steps, setting.solver, settings.guidance
    )
    trials = plan_trials([item.clip for item in references], ("all",), 0, 0, settings.seed)
    ours = replace(
        settings, solver=f"{setting.solver}, time shift {setting.time_shift:g}", steps=setting.steps
    )
    tables = run_trials(maker, trials, references, out, ours, store, progress=progress_bar)
    score = {row.metric: row.score for row in tables["all"]}
    clips = embed_files(out / "clips" / "all", embeddings, [item.name for item in originals])
    distance = measure(setting.name, clips, originals)
    return Row(
        **asdict(setting),
        n=len(references),
        chord_overlap=score["chord_overlap"],
        drum_onset_f1=score["drum_onset_f1"],
        melody_raw_chroma=score["melody_raw_chroma"],
        frechet_across=distance.across,
        frechet_whole=distance.whole,
    )


def to_markdown(rows: Sequence[Row], baseline: tuple[float, float], guidance: str) -> str:
    """The table; `baseline` is the distance across the references' halves and across the resynthesis."""
    from flowmusic.evaluation.report import markdown_table

    header = ["solver", "evaluations", "steps", "time shift", "n", "chords", "drums", "melody"]
    header += ["Fréchet, across halves", "all against all"]
    cells: list[list[str | float | None]] = [
        [row.solver, f"{row.evaluations}", f"{row.steps}", f"{row.time_shift:g}", f"{row.n}"]
        + [row.chord_overlap, row.drum_onset_f1, row.melody_raw_chroma, row.frechet_across, row.frechet_whole]
        for row in rows
    ]
    return (
        f"Guidance {guidance}. Fréchet distance across halves of the references {baseline[0]:.3f}, "
        f"of the codec's resynthesis {baseline[1]:.3f}.\n\n{markdown_table(header, cells)}"
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="steps", description="Few steps: adherence and Fréchet distance.")
    parser.add_argument(
        "--references", nargs="+", required=True, type=Path, help="sound files, songs, folders"
    )
    parser.add_argument("--out", type=Path, required=True, help="folder of clips and tables; resumes in it")
    parser.add_argument("--n", type=int, default=32, help="references, spread evenly (32; at least 4)")
    parser.add_argument("--duration", type=SECONDS, default=10.0, help="seconds of each clip (10)")
    parser.add_argument("--evaluations", default=EVALUATIONS, help=f"of the model ({EVALUATIONS})")
    parser.add_argument("--solvers", default="euler,midpoint,heun,rk4", help="of fixed step (all four)")
    parser.add_argument(
        "--shifts", default="1", help="time shifts of the grid, such as 0.5,1,2 (1: equal steps)"
    )
    add_sampling(parser, solver=False)
    parser.add_argument("--separator", choices=choices.SEPARATORS, default="embedded")
    return parser


def _numbers(text: str, what: str) -> list[float]:
    try:
        return [float(word) for word in text.split(",")]
    except ValueError as error:
        raise ValueError(f"--{what} must be numbers separated by commas, got {text!r}") from error


def load_clips(options: argparse.Namespace) -> list[Clip]:
    """The references' excerpts."""
    from flowmusic.evaluation.references import find_references, load_clip

    return [load_clip(item, options.duration) for item in find_references(options.references, options.n)]


def run(options: argparse.Namespace) -> list[Row]:
    """All settings in turn; the tables are written anew after each."""
    from features.cache import FeatureCache
    from features.extract import Extractors
    from flowmusic.evaluation.embeddings import EmbeddingStore, embed_files
    from flowmusic.evaluation.fidelity import measure
    from flowmusic.evaluation.listening import Ears, ExtractedStore
    from flowmusic.evaluation.protocol import extract_references, progress_bar

    counts = [int(value) for value in _numbers(options.evaluations, "evaluations")]
    wanted = plan(options.solvers.split(","), counts, _numbers(options.shifts, "shifts"))
    model = load_model(options)
    clips = load_clips(options)
    ears = Ears.of(Extractors(options.separator))
    settings = settings_for(model, options, ears.version, (clip.name for clip in clips))
    store = ExtractedStore(options.out / "extracted", ears)
    embeddings = EmbeddingStore(FeatureCache(options.out / "embedded"))
    references = extract_references(FlowMaker(model), clips, options.out, store, progress_bar)
    originals = [embeddings.clip(clip.name, clip.audio) for clip in clips]
    resynthesis = embed_files(options.out / "clips" / "resynthesis", embeddings, settings.references)
    baseline = (
        measure("references", originals, originals).across,
        measure("resynthesis", resynthesis, originals).across,
    )
    rows: list[Row] = []
    for setting in wanted:
        folder = options.out / setting.name
        rows.append(run_setting(model, setting, references, originals, folder, settings, store, embeddings))
        _write(options.out, rows, baseline, settings)
    return rows


def _write(out: Path, rows: Sequence[Row], baseline: tuple[float, float], settings: Settings) -> None:
    from flowmusic.evaluation.report import write_text

    write_text(out / TABLE_FILE, to_markdown(rows, baseline, settings.guidance) + "\n")
    numbers = {"settings": asdict(settings), "baseline": baseline, "rows": [asdict(row) for row in rows]}
    write_text(out / NUMBERS_FILE, json.dumps(numbers, indent=2) + "\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """`python -m flowmusic.evaluation.steps`."""
    return run_and_show(_parser(), run, TABLE_FILE, arguments)


if __name__ == "__main__":
    raise SystemExit(main())
