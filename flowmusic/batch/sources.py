"""Manifests written from a folder of references, or from a grid of prompts, references and seeds."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from features.controls import CONTROL_NAMES
from features.files import whole_file
from features.folders import is_sound, visible_files, warn_of_unread
from features.suffixes import CHART_SUFFIXES, LAB_SUFFIXES, MIDI_SUFFIXES, TABLE_SUFFIXES
from flowmusic.batch.store import OUTPUTS

_SYMBOLS = {
    **dict.fromkeys(MIDI_SUFFIXES + TABLE_SUFFIXES, "melody"),
    **dict.fromkeys(LAB_SUFFIXES + CHART_SUFFIXES, "chords"),
}


def reference_rows(
    folder: Path, roles: Sequence[str] = CONTROL_NAMES, out: Path | None = None
) -> list[dict[str, object]]:
    """A row for each reference under a folder, in a fixed order.

    Of a recording the controls `roles` are taken; MIDI and pitch tables give the melody, charts and
    .lab files the chords. What a batch in `out` writes is no reference. ValueError where there is none.
    """
    unknown = sorted(set(roles) - set(CONTROL_NAMES))
    if unknown or not roles:
        raise ValueError(
            f"controls to take must be some of {', '.join(CONTROL_NAMES)}, got {', '.join(roles)!r}"
        )
    if not folder.is_dir():
        raise ValueError(f"{folder} is not a folder of references")
    rows: list[dict[str, object]] = []
    made = {out.resolve() / name for name in OUTPUTS} if out is not None else set()
    files = visible_files(folder)
    warn_of_unread(folder, files)
    for path in files:
        suffix = path.suffix.lower()
        if made and not made.isdisjoint((place := path.resolve(), *place.parents)):
            continue
        if is_sound(path):
            rows.append(dict.fromkeys(roles, str(path.absolute())))
        elif suffix in _SYMBOLS:
            rows.append({_SYMBOLS[suffix]: str(path.absolute())})
    if not rows:
        raise ValueError(f"{folder} holds no references: no recordings, MIDI, .lab or chart files")
    return rows


def grid_rows(
    prompts: Sequence[str], references: Sequence[Mapping[str, object]], seeds: Sequence[int]
) -> Iterable[dict[str, object]]:
    """Every prompt with every reference and every seed; an empty list stands for none of that kind."""
    texts: Sequence[str | None] = prompts or [None]
    for text, reference, seed in itertools.product(texts, references or [{}], seeds or [0]):
        yield {"text": text, **reference, "seed": seed}


def parse_seeds(text: str) -> list[int]:
    """Read `0-9` or `1,5,7`; ValueError where it is something else."""
    seeds: list[int] = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise ValueError(f"seeds are written as 0-9 or 1,5,7; got {text!r}")
        low, high = int(first), int(last) if dash else int(first)
        if not low <= high < low + 100_000:
            raise ValueError(f"seeds must rise, by less than 100,000; got {part!r}")
        seeds.extend(range(low, high + 1))
    return seeds


def write_manifest(path: Path, rows: Iterable[Mapping[str, object]]) -> Path:
    """One JSON object a line; whole or not at all."""
    with (
        whole_file(path) as partial,
        # a file's name need not be UTF-8: so escaped, JSON gives it back
        partial.open("w", encoding="utf-8", errors="backslashreplace") as file,
    ):
        for row in rows:
            values = {key: value for key, value in row.items() if value is not None}
            file.write(json.dumps(values, ensure_ascii=False) + "\n")
    return path
