"""Registries: built-in names, registered ones, and those of installed packages."""

from __future__ import annotations

import subprocess
import sys
from importlib import metadata

import pytest

from features.choices import SEPARATORS
from features.registry import Registry


def registry() -> Registry[object]:
    return Registry("things", "thing", {"pi": "math:pi", "nowhere": "no_such_module:thing"})


def test_built_in_objects_are_imported_when_they_are_asked_for() -> None:
    import math

    things = registry()
    assert tuple(things) == ("pi", "nowhere") and "nowhere" in things
    assert things.get("pi") == math.pi
    with pytest.raises(ModuleNotFoundError):
        things.get("nowhere")


def test_registered_objects_come_last_and_take_no_name_twice() -> None:
    things = registry()
    assert things.register("own", 3) == 3
    assert things.names() == ("pi", "nowhere", "own") and things.get("own") == 3
    with pytest.raises(ValueError, match="there is a thing 'own' already"):
        things.register("own", 4)
    with pytest.raises(ValueError, match="there is a thing 'pi' already"):
        things.register("pi", 4)


def test_packages_are_searched_once_and_only_for_a_name_that_is_not_known(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[str] = []

    def entry_points(group: str) -> list[metadata.EntryPoint]:
        asked.append(group)
        return [
            metadata.EntryPoint("tau", "math:tau", group),
            metadata.EntryPoint("pi", "math:e", group),  # a package cannot take the place of a built-in one
        ]

    monkeypatch.setattr(metadata, "entry_points", entry_points)
    things = registry()
    assert things.get("pi") == pytest.approx(3.14159, abs=1e-4) and not asked
    assert things.get("tau") == pytest.approx(6.28318, abs=1e-4)
    assert things.names() == ("pi", "nowhere", "tau") and asked == ["flowmusic.things"]


@pytest.mark.parametrize("name", ["", "os:system", "math:pi", "features.separators:NoSeparator"])
def test_a_name_is_looked_up_and_never_imported(name: str) -> None:
    with pytest.raises(ValueError, match=r"unknown thing .*; expected one of pi, nowhere"):
        registry().get(name)


def test_names_cost_no_import_of_what_they_stand_for() -> None:
    code = "import sys, features.choices; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    assert tuple(SEPARATORS) == ("bundled", "htdemucs", "none")
