"""Readers of numbers and names for `argparse`: bounds are checked, and named in the message."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable


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


def named(text: str) -> tuple[str, str]:
    """A reader of NAME=FILE, for `add_argument(type=...)`."""
    name, sign, value = text.partition("=")
    if not sign or not name.strip() or not value.strip():
        raise argparse.ArgumentTypeError(f"expected NAME=FILE, got {text!r}")
    return name.strip(), value
