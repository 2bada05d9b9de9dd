"""Reading text files."""

from __future__ import annotations

from pathlib import Path

from features.files import is_file, is_folder
from features.symbols import NotationError

_MAX_BYTES = 64_000_000


def read_text(path: str | Path, expected: str) -> str:
    """Text of a UTF-8 file; NotationError, naming the file and what was expected, where there is none."""
    path = Path(path)
    if is_folder(path):
        raise NotationError(f"{path} is a folder; expected {expected}")
    if not is_file(path):
        raise NotationError(f"{path} does not exist; expected {expected}")
    if path.stat().st_size > _MAX_BYTES:
        raise NotationError(f"{path} has {path.stat().st_size} bytes, too many for {expected}")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (UnicodeDecodeError, OSError) as error:
        raise NotationError(f"{path} cannot be read as UTF-8 text; expected {expected}") from error
    if not text.strip():
        raise NotationError(f"{path} is empty; expected {expected}")
    return text
