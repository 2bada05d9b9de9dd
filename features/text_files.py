"""Reading text files as their owners mean them: the only code that decodes text and parses JSON files."""

from __future__ import annotations

import codecs
import json
import re
from pathlib import Path
from typing import Any

_MAX_TEXT_BYTES = 64_000_000
_HEAD_BYTES = 512
_MARKS = (  # UTF-32 first: its mark begins like that of UTF-16
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_LFS = b"version https://git-lfs.github.com/spec/"
_HTML = re.compile(rb"\s*(<!--.*?-->\s*)*<(!doctype\s+html|html|head|body)\b", re.IGNORECASE | re.DOTALL)
_BAD_CHARACTERS = re.compile(r"[\x00-\x08\x0e-\x1f\x7f-\x9f\ud800-\udfff]")


class TextFileError(ValueError):
    """A text file that cannot be read; the message names it, and the line where there is one."""


def read_text(path: str | Path, expected: str, may_be_empty: bool = False) -> str:
    """The text of a file in UTF-8, or in UTF-16 or UTF-32 with a byte-order mark; the mark is no part of it.

    Raises:
        TextFileError: no such file, or none of text in these encodings; says what was `expected`.
    """
    path = Path(path)
    try:
        if path.is_dir():
            raise TextFileError(f"{path} is a folder; expected {expected}")
        if not path.is_file():
            raise TextFileError(f"{path} does not exist; expected {expected}")
        if path.stat().st_size > _MAX_TEXT_BYTES:
            raise TextFileError(f"{path} has {path.stat().st_size} bytes, too many for {expected}")
        content = path.read_bytes()
    except OSError as error:
        raise TextFileError(f"{path} cannot be read ({error.strerror}); expected {expected}") from error
    if content and (found := placeholder(content[:_HEAD_BYTES])):
        raise TextFileError(f"{path} {found}; expected {expected}")
    text = _decoded(content, path, expected)
    if not may_be_empty and not text.strip():
        raise TextFileError(f"{path} is empty; expected {expected}")
    return text


def _decoded(content: bytes, path: Path, expected: str) -> str:
    mark, encoding = next(((m, e) for m, e in _MARKS if content.startswith(m)), (b"", "utf-8"))
    try:
        text = content[len(mark) :].decode(encoding)
        amiss = text.find("\0")
        before = text[: max(amiss, 0)]
    except UnicodeDecodeError as error:
        amiss, before = error.start, content[len(mark) : len(mark) + error.start].decode(encoding, "ignore")
    if amiss >= 0:
        line = before.count("\n") + 1
        raise TextFileError(
            f"{path}, line {line}: cannot be read as UTF-8 text; expected {expected}: save as UTF-8"
        )
    return text


def read_lines(path: str | Path, expected: str, may_be_empty: bool = False) -> list[str]:
    """The lines of `read_text`, without their ends; line n is at n - 1.

    Only line feeds and carriage returns end a line: a JSON text may hold other separators.
    """
    return split_lines(read_text(path, expected, may_be_empty))


def split_lines(text: str) -> list[str]:
    """Lines as `read_lines` has them."""
    return text.replace("\r\n", "\n").replace("\r", "\n").split("\n")


def read_json(path: str | Path, expected: str) -> Any:
    """What a JSON file holds. TextFileError, naming the file and the line, where it is something else."""
    text = read_text(path, expected)
    try:
        return parse_json(text)
    except ValueError as error:
        raise TextFileError(f"{path} cannot be read as JSON: {error}; expected {expected}") from error


def parse_json(text: str) -> Any:
    """What a JSON text says; ValueError, naming the place, also where a key stands twice in an object."""
    try:
        return json.loads(text, object_pairs_hook=_no_repeats)
    except RecursionError as error:
        raise ValueError("it is not JSON that can be read: nested too deeply") from error
    except json.JSONDecodeError as error:
        line = f"line {error.lineno}, " if "\n" in text.strip() else ""
        hint = _hint(text, error.pos)
        raise ValueError(f"it is not JSON: {error.msg} at {line}column {error.colno}{hint}") from error
    except _RepeatedKeyError:
        raise
    except ValueError as error:  # int() reads no more than 4300 digits
        raise ValueError("it is not JSON that can be read: a number has too many digits") from error


class _RepeatedKeyError(ValueError):
    pass


def _no_repeats(pairs: list[tuple[str, object]]) -> dict[str, object]:
    values = dict(pairs)
    if len(values) < len(pairs):
        repeated = next(key for key, _ in pairs if sum(other == key for other, _ in pairs) > 1)
        raise _RepeatedKeyError(f"the key {repeated!r} stands there twice")
    return values


def _hint(text: str, place: int) -> str:
    """What is often meant by text that is not JSON."""
    before, rest = text[:place].rstrip(), text[place:].lstrip()
    if (before.endswith(",") and rest[:1] in ("}", "]")) or rest[:1] == ",":
        return " (no comma may stand before a closing bracket or after the last one)"
    if rest.startswith(("#", "//", "/*")):
        return " (JSON has no comments)"
    if rest[:1] in ("'", "\u201c", "\u2018"):
        return ' (texts stand between "double quotes")'
    return ""


def placeholder(head: bytes) -> str:
    """What the first bytes of a file show that stands where another should; empty where they do not tell."""
    if not head:
        return "is empty (0 bytes)"
    if head.startswith(_LFS):
        return "is a Git LFS pointer, not the file itself: run `git lfs pull`"
    if _HTML.match(head.removeprefix(codecs.BOM_UTF8)):
        return "is a web page (HTML), not the file itself: download it again"
    return ""


def placeholder_at(path: Path) -> str:
    """`placeholder` of a file; empty where it cannot be read."""
    try:
        with path.open("rb") as file:
            return placeholder(file.read(_HEAD_BYTES))
    except (OSError, ValueError):
        return ""


def shortened(text: str, longest: int = 60) -> str:
    """A text as messages show it: at most so many characters."""
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def unprintable(text: str) -> str:
    """The first character that no text has, as its escape: control characters, half a UTF-16 pair; or ''."""
    found = _BAD_CHARACTERS.search(text)
    return "" if found is None else ascii(found[0]).strip("'")
