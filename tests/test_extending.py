"""docs/extending.md is true: its files are written, their entry points installed, and its code runs."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path

import pytest
import yaml

from flowmusic.model.config import FlowConfig

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "docs/extending.md").read_text(encoding="utf-8")
SECTIONS = {part.partition("\n")[0]: part for part in re.split(r"^## ", TEXT, flags=re.MULTILINE)[1:]}
PARTS = {
    "A control": "my_package/brightness.py",
    "A codec": "my_package/blocks.py",
    "A text encoder": "my_package/letters.py",
    "An extractor": "my_package/percussive.py",
    "A solver": "my_package/ralston.py",
    "A metric": "my_package/density.py",
    "A part of a script": None,
}


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)


def files(text: str) -> dict[str, str]:
    """The blocks that begin with the name of their file, by it."""
    found = {}
    for block in blocks(text, "python"):
        name, _, content = block.partition("\n")
        if re.fullmatch(r"# \w+/\w+\.py", name):
            found[name[2:]] = content
    return found


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for PYTHONPATH in which my_package stands as pip would install it."""
    folder = tmp_path_factory.mktemp("site")
    for name, content in files(TEXT).items():
        if name.startswith("my_package/"):
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text(content, encoding="utf-8")
    project = tomllib.loads("\n".join(blocks(TEXT, "toml")))["project"]
    entries = "".join(
        f"[{group}]\n" + "".join(f"{name} = {place}\n" for name, place in parts.items())
        for group, parts in project["entry-points"].items()
    )
    about = folder / "my_package-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: my_package\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(entries, encoding="utf-8")
    return folder


def test_every_kind_of_part_has_its_example() -> None:
    assert list(SECTIONS) == list(PARTS)
    assert [name for name in files(TEXT) if name.startswith("my_package/")] == [
        f for f in PARTS.values() if f
    ]


@pytest.mark.parametrize("section", PARTS)
def test_the_code_of_each_example_runs(section: str, package: Path, tmp_path: Path) -> None:
    """In a process of its own: what it registers is no concern of other tests."""
    uses = [b for b in blocks(SECTIONS[section], "python") if not b.startswith("# ")]
    assert len(uses) == 1 and "assert" in uses[0]
    search = os.pathsep.join((str(package), str(ROOT)))
    done = subprocess.run(
        [sys.executable, "-c", uses[0]],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": search},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_files_and_lines_of_this_repository_are_as_they_are_shown() -> None:
    shown = {name: text for name, text in files(TEXT).items() if not name.startswith("my_package/")}
    assert list(shown) == ["features/dynamics.py"]
    assert shown["features/dynamics.py"] == (ROOT / "features/dynamics.py").read_text(encoding="utf-8")
    lines = 0
    for block in blocks(TEXT, "python"):
        if place := re.match(r"# in (\S+)\n", block):
            assert block[place.end() :] in (ROOT / place[1]).read_text(encoding="utf-8")
            lines += block.count("\n") - 1
    assert 1 <= lines <= 3


def test_the_registries_of_the_table_exist_and_have_these_groups() -> None:
    rows = re.findall(r"^\| [\w ]+ \| `([\w.]+)` \| `(flowmusic\.\w+)` \|", TEXT, flags=re.MULTILINE)
    assert len(rows) == 8
    for place, group in rows:
        module, _, name = place.rpartition(".")
        assert getattr(import_module(module), name).group == group
    tables = re.findall(r"its line would be `\"\w+\": \"[\w.:]+\",` in the\s+table", TEXT)
    assert len(tables) == 5


def test_the_yaml_of_a_model_is_read() -> None:
    settings = yaml.safe_load(blocks(TEXT, "yaml")[0])
    module, _, name = settings["class_path"].rpartition(".")
    assert hasattr(import_module(module), name)
    config = FlowConfig.from_dict(settings["init_args"]["config"])
    assert config.controls == ("drums", "melody", "chords", "dynamics")
