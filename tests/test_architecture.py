"""The rules of the house that can be read off the source."""

from __future__ import annotations

import ast
import re
import tomllib
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from tests.installed import EVERYTHING, needs

ROOT = Path(__file__).resolve().parents[1]
SOURCES = sorted(path for folder in ("features", "flowmusic") for path in (ROOT / folder).rglob("*.py"))

_LOOSE = ("arguments", "attention", "errors", "model_files", "runtime", "weights")
_BASE = {"features"} | {f"flowmusic.{name}" for name in _LOOSE}
_PARTS = _BASE | {f"flowmusic.{part}" for part in ("codec", "conditioning", "model", "flow", "lm")}
_API = _PARTS | {"flowmusic.composer", "flowmusic.plots", "flowmusic.__version__"}
_JUDGES = _API | {"flowmusic.api"}
_USERS = _JUDGES | {"flowmusic.evaluation"}

ARROWS: dict[str, set[str]] = {
    "features": set(),
    "flowmusic.arguments": set(),
    "flowmusic.attention": set(),
    "flowmusic.errors": set(),
    "flowmusic.model_files": {"features", "flowmusic.weights"},
    "flowmusic.runtime": set(),
    "flowmusic.weights": {"features"},
    "flowmusic.codec": _BASE,
    "flowmusic.conditioning": _BASE | {"flowmusic.codec"},
    "flowmusic.model": _BASE | {"flowmusic.codec", "flowmusic.conditioning"},
    "flowmusic.flow": _BASE | {"flowmusic.codec", "flowmusic.conditioning", "flowmusic.model"},
    "flowmusic.lm": _BASE
    | {"flowmusic.codec", "flowmusic.conditioning", "flowmusic.model.config"}
    | {"flowmusic.flow.schedule", "flowmusic.flow.condition_sets"},  # one engine of guidance for both
    "flowmusic.composer": {"features", "flowmusic.conditioning", "flowmusic.weights"},
    "flowmusic.plots": {"features"},
    "flowmusic.api": _API,
    "flowmusic.evaluation": _JUDGES,
    "flowmusic.batch": _USERS,
    "flowmusic.data": _BASE
    | {"flowmusic.codec", "flowmusic.conditioning", "flowmusic.composer"}
    | {"flowmusic.model.config", "flowmusic.lm.config"},
    "flowmusic.training": _PARTS
    | {"flowmusic.data", "flowmusic.composer", "flowmusic.api.pretrained"}
    | {"flowmusic.plots", "flowmusic.evaluation.adherence"},  # clips of a model in training, drawn and scored
    "flowmusic.studio": _USERS,
    "flowmusic.commands": _USERS
    | {"flowmusic.studio", "flowmusic.batch", "flowmusic.data", "flowmusic.training"},
    "flowmusic.cli": {
        "flowmusic.commands",
        "flowmusic.training",
        "flowmusic.errors",
        "flowmusic.runtime",
        "flowmusic.__version__",
    },
    "flowmusic.__main__": {"flowmusic.cli"},
    "flowmusic": {"flowmusic.api"},
}
"""What each package may import besides itself: a package or module, and all that is in it."""


def _imports(path: Path) -> set[str]:
    """Full names of all that a file imports, at its top, inside functions, for its types or by a registry."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path}: imports are written in full"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            place = re.fullmatch(r"((?:features|flowmusic)(?:\.\w+)+):\w+", node.value)
            found |= {place[1]} if place else set()
    return found


def _package(module: str) -> str:
    """The key of `ARROWS` that a module belongs to."""
    parts = module.split(".")
    return parts[0] if parts[0] == "features" else ".".join(parts[:2])


def _module(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def _against_the_arrows(path: Path) -> set[str]:
    own = _package(_module(path))
    allowed = ARROWS[own] | {own}
    ours = {name for name in _imports(path) if name.startswith(("features", "flowmusic."))}
    return {name for name in ours if not any(f"{name}.".startswith(f"{place}.") for place in allowed)}


def _calls(path: Path) -> list[ast.Call]:
    return [
        node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)
    ]


def test_there_are_sources_to_check() -> None:
    assert len(SOURCES) > 40


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_source_follows_the_house_rules(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    imports = {name.split(".")[0] for name in _imports(path)}
    assert not imports & {"benchmarks", "tests"}
    forbidden = {"pickle", "dill", "joblib", "pytorch_lightning", "torchvision", "torchaudio"}
    assert not imports & forbidden
    if text.strip():
        tree = ast.parse(text)
        assert not [n for n in ast.walk(tree) if isinstance(n, ast.ExceptHandler) and n.type is None], (
            "bare except"
        )


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_one_way(path: Path) -> None:
    assert not _against_the_arrows(path)


def test_every_package_has_its_arrows_and_the_arrows_make_no_ring() -> None:
    assert {_package(_module(path)) for path in SOURCES} == set(ARROWS)
    above = {key: {_package(name) for name in names} & set(ARROWS) - {key} for key, names in ARROWS.items()}
    above.pop("flowmusic")  # its __getattr__ only hands out what flowmusic.api has
    assert set(TopologicalSorter(above).static_order()) == set(above)  # CycleError in a ring


def test_imports_are_found_wherever_they_stand(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text(
        "from typing import TYPE_CHECKING\nimport os.path\n"
        "if TYPE_CHECKING:\n    from flowmusic.api import x\n"
        "def f():\n    import flowmusic.model\n\nPLACES = {'a': 'flowmusic.flow.solver:EULER'}\n"
    )
    assert _imports(tmp_path / "a.py") == {
        "typing.TYPE_CHECKING", "os.path", "flowmusic.api.x", "flowmusic.model", "flowmusic.flow.solver"
    }  # fmt: skip


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
