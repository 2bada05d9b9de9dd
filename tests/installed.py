"""Tests of optional packages: skipped without them, but not where everything is said to be installed."""

from __future__ import annotations

import importlib.util
import os

import pytest

EVERYTHING = "FLOWMUSIC_ALL_INSTALLED"
"""Set by `make test`, which has installed every optional package before."""


def needs(*packages: str) -> pytest.MarkDecorator:
    """Skips a test where a package is missing; with `EVERYTHING` set it runs all the same, and fails."""
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    skipped = bool(missing) and os.environ.get(EVERYTHING, "") in ("", "0")
    return pytest.mark.skipif(skipped, reason=f"{', '.join(missing)} is not installed")
