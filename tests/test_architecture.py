"""The rules of the house that can be read off the source."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path

import pytest

from tests.installed import EVERYTHING, needs

ROOT = Path(__file__).resolve().parents[1]
SOURCES = sorted(path for folder in ("features", "flowmusic") for path in (ROOT / folder).rglob("*.py"))
MAX_LINES = 300


def _imports(path: Path) -> set[str]:
    """Top-level names of all modules that a file imports, at its top or inside functions."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            found.add(node.module.split(".")[0])
    return found


def _calls(path: Path) -> list[ast.Call]:
    return [
        node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)
    ]


def test_there_are_sources_to_check() -> None:
    assert len(SOURCES) > 40


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_source_follows_the_house_rules(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    imports = _imports(path)
    assert text.count("\n") <= MAX_LINES, f"split it: {text.count(chr(10))} lines"
    if path.is_relative_to(ROOT / "features"):
        assert "flowmusic" not in imports, "features/ must not import flowmusic"
    forbidden = {"pickle", "dill", "joblib", "pytorch_lightning", "torchvision", "torchaudio"}
    assert not imports & forbidden
    if text.strip():
        tree = ast.parse(text)
        assert not [n for n in ast.walk(tree) if isinstance(n, ast.ExceptHandler) and n.type is None], (
            "bare except"
        )


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_is_unpickled(path: Path) -> None:
    for call in _calls(path):
        name = ast.unparse(call.func)
        keywords = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
        if name == "torch.load":
            assert keywords.get("weights_only") == "True", (
                f"line {call.lineno}: torch.load without weights_only"
            )
        if name in ("np.load", "numpy.load"):
            assert keywords.get("allow_pickle", "False") == "False", f"line {call.lineno}"


def test_the_package_has_no_pinned_or_unwanted_dependency() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    requirements = list(project["dependencies"])
    for extra in project["optional-dependencies"].values():
        requirements += extra
    assert not [text for text in requirements if "==" in text], "pins belong in constraints.txt"
    pins = (ROOT / "constraints.txt").read_text(encoding="utf-8").lower().splitlines()
    names = {line.split("==")[0] for line in pins if "==" in line}
    assert not names & {"torchvision", "torchaudio"}
    assert not [name for name in names if name.startswith("nvidia")]
    for text in requirements:
        name = text.split(">")[0].split("[")[0].strip().lower().replace("_", "-")
        assert name in {pin.replace("_", "-") for pin in names}, f"{name} has no pin in constraints.txt"


def test_versions_in_use_are_the_pinned_ones_where_it_matters() -> None:
    """Lightning 2.6.2 and 2.6.3 were malicious: nothing older than 2.6.6 may come in."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert "lightning>=2.6.6,<2.7" in project["optional-dependencies"]["train"]


def test_assets_are_packaged() -> None:
    tool = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]
    for package in ("features", "flowmusic"):
        assert "assets/**/*" in tool["setuptools"]["package-data"][package]
        assert (ROOT / package / "py.typed").is_file()


@pytest.mark.parametrize(
    "name", ["README.md", "Makefile", "tools/make_venv.sh", "flowmusic/commands/doctor.py"]
)
def test_the_oldest_python_is_the_same_everywhere(name: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    oldest = project["requires-python"].removeprefix(">=")
    said = re.findall(r"Python (\d+\.\d+)", (ROOT / name).read_text(encoding="utf-8"))
    assert said and set(said) == {oldest}


def test_an_optional_package_may_not_be_missing_where_all_is_installed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for said, skipped in (("", True), ("0", True), ("1", False)):
        monkeypatch.setenv(EVERYTHING, said)
        assert needs("no_such_package").args == (skipped,)
    assert f"{EVERYTHING}=1" in (ROOT / "Makefile").read_text(encoding="utf-8")
