"""What the page computes is tested by node's own runner; what it brings along is what it says it is."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent
STATIC = HERE.parents[1] / "flowmusic/studio/static"
MODULES = sorted(STATIC.glob("*.js"))


def node() -> str:
    """Node where it is installed, else the one that playwright brings along."""
    from playwright._impl._driver import compute_driver_executable

    return shutil.which("node") or str(compute_driver_executable()[0])


def test_modules_that_compute() -> None:
    tests = sorted(str(path) for path in (HERE / "js").glob("*.test.mjs"))
    command = [node(), "--test", "--test-reporter", "tap", *tests]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    assert re.search(r"^# pass [1-9]", done.stdout, re.MULTILINE)


def test_vendored_files_are_those_that_are_named() -> None:
    rows = dict(
        re.findall(r"\| `([^`]+)` \| `([0-9a-f]{64})` \|", (STATIC / "vendor/VENDORED.md").read_text("utf-8"))
    )
    files = {
        path.relative_to(STATIC / "vendor").as_posix(): path
        for path in (STATIC / "vendor/wavesurfer").iterdir()
    }
    assert {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in files.items()} == rows


@pytest.mark.parametrize(
    "path", [*MODULES, STATIC / "index.html", STATIC / "style.css"], ids=lambda path: path.name
)
def test_nothing_is_asked_of_another_host_or_styled_inline(path: Path) -> None:
    text = path.read_text("utf-8").replace("http://www.w3.org/2000/svg", "")
    assert not re.findall(r"https?://|@import|[\"']//", text)
    assert not re.findall(r"setAttribute\(\"style\"|\sstyle=|\son\w+=\"|<script>(?!<)|\beval\(", text)


def test_modules_that_are_imported_exist() -> None:
    for path in MODULES:
        for name in re.findall(r"from \"(\./[^\"]+)\"", path.read_text("utf-8")):
            assert (STATIC / name).is_file(), f"{path.name} imports {name}"
