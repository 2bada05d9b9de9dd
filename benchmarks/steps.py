"""How few evaluations of the model do, and with which solver and grid of times?

    python -m benchmarks.steps --references corpus/valid --n 32 --out steps
    python -m benchmarks.steps --references corpus/valid --n 32 --solvers euler --shifts 0.5,1,2 --out shifts

Adherence (headline metrics, protocol `all`) and Fréchet distance for each solver of fixed step. An
evaluation is one look at the velocity under all condition sets; a step takes one with Euler, two with
midpoint and Heun, four with rk4. A time shift above 1 takes smaller steps near the noise. Settings are
chosen on `valid`; `test` is for reports.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

from benchmarks.common import Bench, load_clips, options_of
from flowmusic.api.model import FlowMusic
from flowmusic.evaluation import fidelity
from flowmusic.evaluation.adherence import HEADLINE
from flowmusic.evaluation.clip_store import ClipStore, FlowMaker
from flowmusic.evaluation.embeddings import EmbeddingStore
from flowmusic.evaluation.protocol import Evaluation, Judges, plan_trials, progress_bar
from flowmusic.evaluation.report import markdown_table, summarise
from flowmusic.flow.solvers import SOLVERS


@dataclass(frozen=True)
class Setting:
    """One way to solve the equation with a number of evaluations."""

    solver: str
    evaluations: int
    steps: int
    time_shift: float


def plan(solvers: Sequence[str], evaluations: Sequence[int], shifts: Sequence[float]) -> list[Setting]:
    """Every combination in which a whole number of steps takes exactly so many evaluations.

    Raises:
        ValueError: an unknown solver or one of adaptive step, or no combination at all.
    """
    fixed = [name for name in SOLVERS.names() if SOLVERS.get(name).stages > 0]
    unknown = [name for name in solvers if name not in fixed]
    if unknown:
        raise ValueError(f"{unknown[0]!r} is no solver of fixed step; expected some of {', '.join(fixed)}")
    settings = [
        Setting(solver, count, count // SOLVERS.get(solver).stages, shift)
        for solver in solvers
        for count in evaluations
        for shift in shifts
        if count >= SOLVERS.get(solver).stages and count % SOLVERS.get(solver).stages == 0
    ]
    if not settings:
        raise ValueError(f"no solver of {', '.join(solvers)} can use {list(evaluations)} evaluations")
    return settings


def with_time_shift(model: FlowMusic, time_shift: float) -> FlowMusic:
    """The same model with another grid of times (`flowmusic.flow.solver.time_grid`)."""
    defaults = replace(model.model.defaults, time_shift=time_shift)
    return FlowMusic(replace(model.model, defaults=defaults), model.extractors)


def main(arguments: Sequence[str] | None = None) -> None:
    """Write `steps.md` and `steps.json` anew after each setting."""
    parser = options_of(__doc__, n=32, solver=False)
    parser.add_argument("--evaluations", default="4,8,16,32", help="of the model (4,8,16,32)")
    parser.add_argument("--solvers", default="euler,midpoint,heun,rk4", help="of fixed step (all four)")
    parser.add_argument("--shifts", default="1", help="time shifts, such as 0.5,1,2 (1: equal steps)")
    options = parser.parse_args(arguments)
    counts, shifts = (
        [float(word) for word in text.split(",")] for text in (options.evaluations, options.shifts)
    )
    settings = plan(options.solvers.split(","), [int(count) for count in counts], shifts)
    bench = Bench.of(options, f"Few steps: {options.n} references of {options.duration:g} s")
    clips = load_clips(options)
    judges = Judges(bench.extracted, bench.extracted.version)
    references = Evaluation(bench.store, judges).extract_references(clips, progress_bar)
    trials = plan_trials(clips, ("all",), 0, 0, bench.seed)
    embeddings = EmbeddingStore()
    originals = [embeddings.clip(clip.name, clip.audio) for clip in clips]
    codec = [embeddings.clip(clip.name, bench.store.resynthesis(clip.name, clip.audio)) for clip in clips]
    rows: list[list[str | float | None]] = [
        [row.name, "", "", "", "", "", "", str(row.across), row.whole]
        for row in fidelity.compare({"resynthesis": codec}, originals)
    ]
    numbers: list[dict[str, object]] = []
    for setting in settings:
        store = ClipStore(FlowMaker(with_time_shift(bench.model, setting.time_shift)), bench.store.folder)
        sampling = bench.sampling | {"solver": setting.solver, "steps": setting.steps}
        evaluation = Evaluation(store, judges, sampling)
        results = evaluation.run(trials, references, progress_bar, plots=False)
        scores = {control: summarise(results, metric).score for control, metric in HEADLINE.items()}
        made = [
            embeddings.clip(
                trial.name, store.clip(f"all/{trial.name}", evaluation.request(trial, references))
            )
            for trial in trials
        ]
        distance = fidelity.measure(setting.solver, made, originals)
        row = [setting.solver, f"{setting.evaluations}", f"{setting.steps}", f"{setting.time_shift:g}"]
        row += [str(scores[control]) for control in ("chords", "drums", "melody")]
        rows.append([*row, str(distance.across), distance.whole])
        figures = {control: asdict(score) for control, score in scores.items()}
        numbers.append({**asdict(setting), **figures, "fidelity": asdict(distance)})
        header = ["solver", "evaluations", "steps", "time shift", "chords [95 %]", "drums [95 %]"]
        header += ["melody [95 %]", "Fréchet, across halves [95 %]", "all against all"]
        bench.write("steps", markdown_table(header, rows), numbers)
    bench.show("steps")


if __name__ == "__main__":
    main()
