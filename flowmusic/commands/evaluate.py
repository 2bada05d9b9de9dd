"""`flowmusic evaluate`: how well a model follows its controls, and fidelity and novelty of its clips."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flowmusic.api.request import OF_A_LANGUAGE_MODEL
from flowmusic.arguments import number, whole_number
from flowmusic.commands.options import add_dtype, add_extractors, add_request

if TYPE_CHECKING:
    from flowmusic.api.model import FlowMusic
    from flowmusic.evaluation.protocol import Evaluation
    from flowmusic.evaluation.references import Clip

DEFAULT_PROTOCOLS = "all,alone,three"
TABLE_FILE, NUMBERS_FILE = "report.md", "report.json"
SECONDS = number("seconds", 2, 600)
"""Reads the length of a clip that extractors take controls from."""

EPILOG = """The references' controls are extracted from their sound; the same extractors judge the clips.
Floor: each clip against other references. Ceiling: the codec's resynthesis of the reference. Where the
references are rendered songs their exact labels judge as well. The folder keeps every clip and result under
a key of all that made it; a second run continues where the first stopped.

examples:
  flowmusic evaluate --references corpus/test --n 32 --out evaluation
  flowmusic evaluate --references albums/ --protocols all --fidelity --checkpoint runs/model --out
  evaluation"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of an evaluation."""
    parser.description = "Measure how well a model follows drums, melody and chords of unseen references."
    parser.epilog = EPILOG
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    some = whole_number("references", 1, 100_000)
    add_references(parser, n=32)
    parser.add_argument(
        "--protocols",
        type=_protocols,
        default=DEFAULT_PROTOCOLS,
        help="some of all (with the reference's caption), alone and three (both without text) "
        f"(default: {DEFAULT_PROTOCOLS})",
    )
    parser.add_argument(
        "--n-alone", type=some, default=16, help="number of references for one control alone (default: 16)"
    )
    parser.add_argument(
        "--n-three", type=some, default=16, help="number of references for three songs at once (default: 16)"
    )
    add_sampling(parser)
    add_extractors(parser)
    parser.add_argument(
        "--second-extractors",
        action="store_true",
        help="also judge by extractors that had no part in the controls: basic-pitch and madmom where "
        "installed, librosa's onsets",
    )
    parser.add_argument(
        "--fidelity",
        action="store_true",
        help="also the Fréchet distance of the clips of protocol all to the references (at least 4)",
    )
    parser.add_argument(
        "--training",
        type=Path,
        nargs="+",
        metavar="PATH",
        help="also the nearest neighbours of these clips in the sounds that were trained on",
    )
    parser.add_argument(
        "--plots", action="store_true", help="also draw asked against extracted for every clip"
    )


def _protocols(text: str) -> list[str]:
    """A reader of names separated by commas, for `add_argument(type=...)`."""
    names = [name.strip() for name in text.split(",")]
    if not set(names) <= set(DEFAULT_PROTOCOLS.split(",")):
        raise argparse.ArgumentTypeError(f"expected some of {DEFAULT_PROTOCOLS}, got {text!r}")
    return names


def add_references(parser: argparse.ArgumentParser, n: int, duration_s: float = 10.0) -> None:
    """--references, --n, --duration and --out."""
    parser.add_argument(
        "--references",
        type=Path,
        nargs="+",
        required=True,
        metavar="PATH",
        help="sound files, corpus songs, or folders of them",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("evaluation"),
        help="folder of clips and results (default: evaluation)",
    )
    some = whole_number("references", 1, 100_000)
    parser.add_argument(
        "--n", type=some, default=n, help=f"most references, spread evenly over all (default: {n})"
    )
    parser.add_argument(
        "--duration",
        type=SECONDS,
        default=duration_s,
        metavar="SECONDS",
        help=f"length of each clip in seconds (default: {duration_s:g})",
    )


_SAMPLING = ("steps", "solver", "guidance", *OF_A_LANGUAGE_MODEL)
"""Fields of a request that say how clips are sampled."""


def add_sampling(parser: argparse.ArgumentParser, solver: bool = True) -> None:
    """How clips are sampled, --seed and --checkpoint; without `solver` no --steps and --solver."""
    parser.set_defaults(steps=None, solver=None)
    add_request(parser, [name for name in _SAMPLING if solver or name not in ("steps", "solver")])
    seed = whole_number("a seed", 0, 2**31)  # leaves room to count on from it
    parser.add_argument(
        "--seed",
        type=seed,
        default=0,
        help="random seed of the first clip; the others count on from it (default: 0)",
    )
    parser.add_argument(
        "--checkpoint", metavar="MODEL", help="a model's folder or hub id (default: the bundled model)"
    )
    add_dtype(parser)


def sampling_of(args: argparse.Namespace) -> dict[str, Any]:
    """Fields of a request that `add_sampling` set, but for the seed.

    Raises:
        ValueError: values that no request can have.
    """
    from flowmusic.api.request import Request

    given = {name: getattr(args, name) for name in _SAMPLING}
    sampling = {name: value for name, value in given.items() if value is not None}
    Request(text="checked before any work", duration=args.duration, seed=args.seed, **sampling)
    return sampling


def load_model(args: argparse.Namespace, sampling: Mapping[str, Any]) -> FlowMusic:
    """The model of --checkpoint. ValueError where its clips cannot be sampled as they should be."""
    from flowmusic.api.dtype import AUTO
    from flowmusic.api.model import FlowMusic
    from flowmusic.api.prepared import open_request
    from flowmusic.api.request import Request

    model = FlowMusic.from_pretrained(args.checkpoint, dtype=args.dtype or AUTO)
    open_request(model.limits, Request(text="checked before any work", duration=args.duration, **sampling))
    return model


def heading_of(title: str, model: FlowMusic, args: argparse.Namespace) -> str:
    """One line that says what was evaluated, and how it was sampled."""
    defaults = model.model.defaults
    how = f"{args.solver or defaults.solver} {args.steps or defaults.steps}"
    if model.limits.draws_tokens:
        drawn = defaults.sampling.having(args.temperature, args.top_k, args.top_p)
        how = ", ".join(
            f"{name.replace('_', '-')} {'/'.join(f'{value:g}' for value in values)}"
            for name, values in asdict(drawn).items()
        )
        how += f", refine {defaults.refine if args.refine is None else args.refine:g}"
    return (
        f"{title}, model {model.model.name} ({model.model.fingerprint}), {how}, "
        f"guidance {args.guidance or defaults.guidance}, seed {args.seed}"
    )


def run(args: argparse.Namespace) -> int:
    """Evaluate as `args` say and write the tables to standard output."""
    from features.events import ExtractedStore
    from features.extract import Extractors
    from flowmusic.api.output import check_folder
    from flowmusic.evaluation.clip_store import ClipStore, FlowMaker
    from flowmusic.evaluation.protocol import Evaluation, Judges, evaluate, progress_bar
    from flowmusic.evaluation.references import find_references, load_clip
    from flowmusic.evaluation.report import to_markdown, write_lines, write_text
    from flowmusic.evaluation.second_extractors import SecondExtractors

    if (args.fidelity or args.training) and "all" not in args.protocols:
        raise ValueError("--fidelity and --training measure the clips of protocol all: add it to --protocols")
    check_folder(args.out / TABLE_FILE)
    sampling = sampling_of(args)
    found = find_references(args.references, args.n)
    model = load_model(args, sampling)
    clips = [load_clip(item, args.duration) for item in found]
    extractors = Extractors(args.separator, args.melody_extractor, args.chord_recogniser)
    store = ExtractedStore(args.out / "extracted", extractors)
    second = SecondExtractors(args.out / "extracted") if args.second_extractors else None
    version = "|".join((store.version, *([second.version] if second else [])))
    judges = Judges(store, version, second)
    evaluation = Evaluation(ClipStore(FlowMaker(model), args.out / "clips"), judges, sampling)
    tables = evaluate(
        evaluation, clips, args.protocols, args.n_alone, args.n_three, args.seed, progress_bar, args.plots
    )
    heading = heading_of(f"Adherence: {len(clips)} references of {args.duration:g} s", model, args)
    text = to_markdown(tables, heading, [second.note] if second else [])
    numbers: dict[str, Any] = {
        "heading": heading,
        "references": [clip.name for clip in clips],
        "tables": {protocol: [asdict(row) for row in rows] for protocol, rows in tables.items()},
    }
    if args.fidelity or args.training:
        more, values = _likeness(evaluation, clips, args)
        text, numbers = text + more, numbers | values
    write_text(args.out / NUMBERS_FILE, json.dumps(numbers, indent=2) + "\n")
    write_lines(text, args.out / TABLE_FILE)
    return 0


def _likeness(
    evaluation: Evaluation, clips: Sequence[Clip], args: argparse.Namespace
) -> tuple[str, dict[str, Any]]:
    """Tables and numbers of fidelity and novelty: the clips of protocol all, and the codec's resynthesis."""
    from flowmusic.evaluation import fidelity, novelty
    from flowmusic.evaluation.embeddings import EmbeddingStore
    from flowmusic.evaluation.protocol import plan_trials, progress_bar

    embeddings = EmbeddingStore()
    references = evaluation.extract_references(clips, progress_bar)
    trials = plan_trials(clips, ("all",), 0, 0, args.seed)
    requests = [evaluation.request(trial, references) for trial in trials]
    pairs = list(zip(trials, requests, strict=True))
    sets = {
        "resynthesis": [
            embeddings.clip(clip.name, evaluation.store.resynthesis(clip.name, clip.audio)) for clip in clips
        ],
        "generated": [
            embeddings.clip(trial.name, evaluation.store.clip(f"all/{trial.name}", request))
            for trial, request in pairs
        ],
    }
    originals = [embeddings.clip(clip.name, clip.audio) for clip in clips]
    text, values = "", {}
    if args.fidelity:
        rows = fidelity.compare(sets, originals)
        text += f"\n## Fidelity\n\n{fidelity.to_markdown(rows)}\n"
        values["fidelity"] = [asdict(row) for row in rows]
    if args.training:
        training = novelty.embed_training(args.training, embeddings)
        novel = novelty.compare({"generated": sets["generated"]}, originals, training)
        text += f"\n## Novelty\n\n{novelty.to_markdown(novel, len(training))}\n"
        values["novelty"] = [asdict(row) for row in novel]
    return text, values
