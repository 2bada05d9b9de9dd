"""One sentence for a setting that jsonargparse or Lightning refuses, out of reports of many lines."""

from __future__ import annotations

import re
from collections.abc import Sequence

from flowmusic.training.precision import PRECISIONS

_KEY = re.compile(r'Parser key "([^"]+)":')
_CLASS = re.compile(r"Problem with given class_path '([^']+)':")
_EXPECTED = re.compile(r"Expected (?:an? )?(<class '\w+'>|typing\.Literal\[.*\])")
_GIVEN = re.compile(r"(?:Got|Given) value: (.+)")
_MISSING = re.compile(r"(?:Requirement|Module)\w* '([^']+)' (?:not met|not available)")
_NOISE = (
    "Does not validate against any of the Union",
    "Subtypes:",
    "Errors:",
    "Given value",
    "Expected a path but",
    "Not a valid subclass of",
    "Subclass types expect",
    "a class path (str)",
    "a dict with",
)
_TYPES = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "str": "a text",
    "NoneType": "null",
    "dict": "a table",
    "list": "a list",
}
_LONGEST = 240


def one_sentence(report: str, argv: Sequence[str] = ()) -> str:
    """Which setting is wrong, what was expected and what came.

    jsonargparse tells of a value that may be of several types why it is none of them, with all that was
    given, in up to a hundred lines: of the types their names are kept, of a class that cannot be made why.
    `argv` are the arguments of the command, which name the setting where the report does not.
    """
    lines = [line.strip().removeprefix("- ") for line in report.splitlines()]
    lines = [line for line in lines if line and not line.startswith(_NOISE)]
    if not any(pattern.search(report) for pattern in (_KEY, _CLASS, _EXPECTED)):
        return _short(" ".join(lines) or " ".join(report.split()))
    keys, place, maker = [], 0, ""
    made = next((index for index, line in enumerate(lines) if _CLASS.match(line)), None)
    for place, line in enumerate(lines):
        if key := _KEY.match(line):
            keys.append(key[1])
            lines[place] = rest = line[key.end() :].strip()
            if not rest:
                continue
        if (found := _CLASS.match(lines[place])) and place >= (made or 0):
            maker = found[1]
            lines[place] = rest = lines[place][found.end() :].strip()
            if not rest:
                continue
        if made is None or place >= made:
            break
    option = ".".join(keys) or _option_of(maker, argv)
    reason = _reason(lines[place:], report, option)
    named = f"{maker} cannot be made: " if maker and not reason.startswith("expected") else ""
    return _short(f"{option}: {named}{reason}" if option else f"{named}{reason}")


def _reason(lines: Sequence[str], report: str, option: str) -> str:
    line = lines[0] if lines else "it cannot be used"
    if missing := _MISSING.search(line):
        return f"{re.split('[<>=~! ]', missing[1])[0]} is not installed: pip install '{missing[1]}'"
    if "Expected a dot import path string" in line:
        return f"expected the import path of a class (package.Class), got {line.rpartition(': ')[2]}"
    if not _EXPECTED.match(line):
        return line
    expected: list[str] = []
    for other in lines:
        found = _EXPECTED.match(other)
        if found is None:
            break
        expected += _kinds(found[1])
    if option == "trainer.precision":
        expected = list(PRECISIONS)
    vague = ("null", "a whole number") if "a number" in expected else ("null",)
    expected = [kind for kind in dict.fromkeys(expected) if kind not in vague] or expected
    given = _GIVEN.search(report)
    got = f", got {given[1]}" if given and "Namespace(" not in given[1] else ""
    if set(expected) <= set(_TYPES.values()):
        return f"expected {' or '.join(expected)}{got}"
    return f"expected one of {', '.join(expected)}{got}"


def _kinds(kind: str) -> list[str]:
    """The words for `<class 'int'>` or `typing.Literal['a', 'b']`."""
    if kind.startswith("typing.Literal["):
        return [word.strip(" '\"") for word in kind.removeprefix("typing.Literal[")[:-1].split(",")]
    name = kind.removeprefix("<class '").removesuffix("'>")
    return [_TYPES.get(name, name)]


def _option_of(maker: str, argv: Sequence[str]) -> str:
    """The option of the command line that asks for a class; empty where it is in a file."""
    short, before = maker.rpartition(".")[2], ""
    for word in argv:
        if short and short in word:
            return (word.partition("=")[0] if word.startswith("--") else before).strip("-+")
        before = word
    return ""


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
