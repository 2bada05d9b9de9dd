"""Which files of a folder are meant: not those that a system keeps for itself, beginning with a dot."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path

from features.audio import READABLE_SUFFIXES

logger = logging.getLogger(__name__)

_UNREAD_SUFFIXES = (".m4a", ".mp4", ".aac", ".wma", ".webm", ".mka", ".ape", ".wv")


def visible_files(folder: Path) -> list[Path]:
    """All files under a folder, sorted, without hidden ones and those in hidden folders below it.

    macOS keeps a "._x.wav" beside each x.wav on disks that are not its own.
    """
    return sorted(
        path
        for path in folder.rglob("*")
        if not any(part.startswith(".") for part in path.relative_to(folder).parts) and path.is_file()
    )


def is_sound(path: Path) -> bool:
    """Whether a file is called like a sound that can be read."""
    return path.suffix.lower() in READABLE_SUFFIXES


def warn_of_unread(folder: Path, files: Iterable[Path]) -> None:
    """Say once how many sounds among the files of a folder are of a kind that cannot be read."""
    unread = sorted(path for path in files if path.suffix.lower() in _UNREAD_SUFFIXES)
    if unread:
        logger.warning(
            "%s: sound that would have to be converted to wav, flac, ogg or mp3 is passed over: %s%s",
            folder, unread[0].name, f" and {len(unread) - 1} more" if len(unread) > 1 else "",
        )  # fmt: skip
