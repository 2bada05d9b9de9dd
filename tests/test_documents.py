"""Commands in the documents are commands, names of code in them exist, and their links lead somewhere."""

from __future__ import annotations

import pkgutil
import re
import shlex
from pathlib import Path

import pytest

from flowmusic.cli import LIGHTNING_COMMANDS, _parser

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "flowmusic/assets/default/README.md",
    *sorted((ROOT / "docs").glob("*.md")),
]
PRESENT = [path for path in DOCUMENTS if path.name != "earlier-figures.md"]
"""Documents of the code as it is: earlier figures name the commands of their own commits."""

GROUPS = re.findall(r"\| `(flowmusic\.\w+)` \|", (ROOT / "docs/extending.md").read_text("utf-8"))
"""Groups of entry points have names like those of modules."""

PRIVATE_WORDS = re.compile(
    r"\bshare closed\b|\bof the way\b|\bears?\b|\bheard\b|\bthe box\b|\bbox's\b|\bgoes_on\b|\btold\b|\bpace\b"
)


def _commands(text: str) -> list[str]:
    """The flowmusic commands in the shell blocks of a document, without comments, continued lines joined."""
    blocks = re.findall(r"^```sh\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    return [line.strip() for line in lines if line.strip().startswith("flowmusic ")]


@pytest.mark.parametrize("path", PRESENT, ids=lambda path: path.name)
def test_commands_parse(path: Path) -> None:
    for command in _commands(path.read_text(encoding="utf-8")):
        words = shlex.split(command, comments=True)[1:]
        if words[0] not in LIGHTNING_COMMANDS:
            _parser(words).parse_args(words)


@pytest.mark.parametrize("path", PRESENT, ids=lambda path: path.name)
def test_names_of_code_exist(path: Path) -> None:
    for name in re.findall(
        r"(?:`|::: )((?:flowmusic|features)\.[a-z][\w.]*)", path.read_text(encoding="utf-8")
    ):
        name = name.rstrip(".")
        assert _exists(name) or name in GROUPS, f"{path.name} names {name}"


def _exists(name: str) -> bool:
    """Whether a dotted name is a module, or an attribute of one."""
    try:
        pkgutil.resolve_name(name)
    except (ImportError, AttributeError):
        return False
    return True


def test_groups_of_entry_points_are_those_of_the_registries() -> None:
    rows = re.findall(
        r"\| `([\w.]+)` \| `(flowmusic\.\w+)` \|", (ROOT / "docs/extending.md").read_text("utf-8")
    )
    assert len(rows) >= 6
    for registry, group in rows:
        assert pkgutil.resolve_name(registry).group == group


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_to_files(path: Path) -> None:
    elsewhere = {"contributing.md": "CONTRIBUTING.md"}
    for link in re.findall(r"\]\(([^)\s#:]+)(?:#[^)]*)?\)", path.read_text(encoding="utf-8")):
        assert (path.parent / link).exists() or link in elsewhere, f"{path.name} links to {link}"


@pytest.mark.parametrize("path", PRESENT, ids=lambda path: path.name)
def test_words_are_those_of_the_field(path: Path) -> None:
    found = PRIVATE_WORDS.findall(path.read_text(encoding="utf-8"))
    assert not found, f"{path.name}: {found}"
