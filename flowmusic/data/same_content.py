"""Which of many recordings are the same, under whatever names."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from pathlib import Path

from features.cache import content_hash

_SAMPLE_BYTES = 4096


def same_content(items: Sequence[Sequence[Path]]) -> list[list[int]]:
    """Indices of `items`, each a few files, in groups that hold the same bytes; sorted.

    Only what has equal sizes is opened, and only what is alike in the middle is read. An item that
    cannot be read is like no other.
    """
    groups = [list(range(len(items)))] if items else []
    for identify in (_sizes, _middles, _hashes):
        groups = [part for group in groups for part in _apart(group, items, identify)]
    return sorted(groups)


def _apart(
    group: list[int], items: Sequence[Sequence[Path]], identify: Callable[[Sequence[Path]], Hashable]
) -> list[list[int]]:
    if len(group) < 2:
        return [group]
    parts: dict[Hashable, list[int]] = {}
    for index in group:
        try:
            parts.setdefault(identify(items[index]), []).append(index)
        except OSError:
            parts[index] = [index]
    return list(parts.values())


def _sizes(files: Sequence[Path]) -> Hashable:
    return tuple(path.stat().st_size for path in files)


def _middles(files: Sequence[Path]) -> Hashable:
    """Some bytes of each; beginnings and ends are often silent alike."""
    found = []
    for path in files:
        with path.open("rb") as file:
            file.seek(path.stat().st_size // 2)
            found.append(file.read(_SAMPLE_BYTES))
    return tuple(found)


def _hashes(files: Sequence[Path]) -> Hashable:
    return tuple(content_hash(path) for path in files)
