"""Manifests: one JSON object a line, read by line, so that their length costs no memory to speak of."""

from __future__ import annotations

import codecs
import io
import re
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from features.text_files import parse_json, placeholder, read_text
from flowmusic.api.request import REQUEST_FIELDS, Request
from flowmusic.errors import reason

MAX_LINE_BYTES = 1 << 20
MAX_PROBLEMS = 1000
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}")


@dataclass(frozen=True)
class Problem:
    """What is wrong with a line of a manifest; lines count from 1."""

    line: int
    message: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.message}"


class ManifestError(ValueError):
    """A manifest with bad rows: all of them in `problems` (up to MAX_PROBLEMS)."""

    def __init__(self, path: Path, problems: list[Problem], n_problems: int) -> None:
        self.problems, self.n_problems = problems, n_problems
        rows = "1 bad row" if n_problems == 1 else f"{n_problems} bad rows"
        super().__init__(f"{path} has {rows}; the first is {problems[0]}")


@dataclass(frozen=True)
class Row:
    """One clip to make: `name` is that of its files, unique in its manifest."""

    line: int
    name: str
    request: Request


class Manifest:
    """A manifest whose every row was checked; of each row only its place in the file is kept.

    Relative paths in it start from its folder. One in UTF-16 is kept as a whole.

    Raises:
        ManifestError: rows that cannot be requests: not JSON, unknown keys, bad values, repetitions.
        ValueError: no such file, or no rows.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._converted = self._as_utf8()
        self._offsets, self._lines = array("q"), array("q")
        problems: list[Problem] = []
        n_problems = 0
        seen: dict[bytes, int] = {}
        for line, offset, text in self._read_lines():
            try:
                row = self._row(line, text)
                key = row.name.lower().encode()  # some file systems do not tell A from a
                if key in seen:
                    raise ValueError(f"it is the same clip as line {seen[key]}: give another seed")
                seen[key] = line
                self._offsets.append(offset)
                self._lines.append(line)
            except Exception as error:  # whatever is wrong with a row, its line is named
                n_problems += 1
                if len(problems) < MAX_PROBLEMS:
                    problems.append(Problem(line, reason(error)))
        if problems:
            raise ManifestError(self.path, problems, n_problems)
        if not self._offsets:
            raise ValueError(f"{self.path} holds no rows; expected one JSON object a line")

    def __len__(self) -> int:
        return len(self._offsets)

    def row(self, index: int) -> Row:
        """A row, read again. ValueError, naming its line, where the file was changed meanwhile."""
        line = self._lines[index]
        try:
            with self._open() as file:
                file.seek(self._offsets[index])
                return self._row(line, file.readline())
        except (ValueError, OSError) as error:
            raise ValueError(f"{self.path} was changed since it was read: line {line}: {error}") from error

    def __iter__(self) -> Iterator[Row]:
        return (self.row(index) for index in range(len(self)))

    def _as_utf8(self) -> bytes | None:
        """The content of a file in UTF-16 or UTF-32; None of one in UTF-8, which is read line by line."""
        try:
            with self.path.open("rb") as file:
                head = file.read(512)
        except OSError as error:
            raise ValueError(f"{self.path} cannot be read as a manifest ({error.strerror})") from error
        if head and (found := placeholder(head)):
            raise ValueError(f"{self.path} {found}; expected a manifest")
        if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, codecs.BOM_UTF32_BE)):
            return read_text(self.path, "a manifest").encode(errors="surrogatepass")
        return None

    def _open(self) -> BinaryIO:
        return self.path.open("rb") if self._converted is None else io.BytesIO(self._converted)

    def _read_lines(self) -> Iterator[tuple[int, int, bytes]]:
        """(line, offset, content) of every line that is not blank."""
        with self._open() as file:
            line, offset, first = 0, 0, True
            while text := file.readline(MAX_LINE_BYTES + 1):
                line += 1
                if len(text) > MAX_LINE_BYTES:
                    raise ValueError(f"{self.path}: line {line} is longer than {MAX_LINE_BYTES} bytes")
                start = len(codecs.BOM_UTF8) if line == 1 and text.startswith(codecs.BOM_UTF8) else 0
                if content := text[start:].strip():
                    if first and (kind := _other_kind(content)):
                        problem = Problem(line, f"{kind}; expected one JSON object a line")
                        raise ManifestError(self.path, [problem], 1)
                    first = False
                    yield line, offset + start, content
                offset += len(text)

    def _row(self, line: int, text: bytes) -> Row:
        values = _parse(text)
        name = values.pop("name", None)
        if name is not None and not (isinstance(name, str) and _NAME.fullmatch(name)):
            raise ValueError(f"name must be letters, digits, '.', '_' and '-' (up to 80), got {name!r}")
        request = Request.read(values, ("name",))
        unique = f"{name or _stem(request)}-{request.digest[:10]}"  # wherever the manifest's folder lies
        return Row(line, unique, request.beside(self.path.absolute().parent))


def _parse(text: bytes) -> dict[str, object]:
    try:
        values = parse_json(text.decode())
    except UnicodeDecodeError as error:
        raise ValueError("it is not UTF-8 text: save the manifest as UTF-8") from error
    if not isinstance(values, dict):
        raise ValueError(f"expected an object with some of the keys name, {', '.join(REQUEST_FIELDS)}")
    return values


def _other_kind(first: bytes) -> str:
    """What another kind of file the first line shows that has something in it; else empty."""
    if first in (b"[", b"[{") or first.startswith(b"[{"):
        return "it is not JSON lines: a JSON array begins here"
    words = {word.strip().strip(b'"').decode(errors="replace") for word in re.split(rb"[,;\t]", first)}
    if not first.startswith(b"{") and words & {"name", *REQUEST_FIELDS} and len(words) > 1:
        return "it is not JSON lines: a table (CSV) begins here"
    if first == b"{":
        return "it is not JSON lines: an object over several lines begins here"
    return ""


def _stem(request: Request) -> str:
    """A readable beginning of a name: what is followed."""
    parts = [Path(path).stem for path in dict.fromkeys(request.files.values())]
    source = parts[0] if parts else request.chart or request.text or "clip"
    return re.sub(r"[^A-Za-z0-9]+", "-", source).strip("-").lower()[:32].strip("-") or "clip"
