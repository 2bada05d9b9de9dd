"""A job: all that is asked of one clip, as plain data that a manifest's row and a sidecar can hold."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from features.notation import names_a_file
from features.references import Reference, ReferenceSource, open_reference
from flowmusic.api.editing import Edit, parse_spans
from flowmusic.api.length import MAX_DURATION_S, MIN_DURATION_S
from flowmusic.api.loudness import HIGHEST_LUFS, LOWEST_LUFS
from flowmusic.api.pretrained import MAX_STEPS, check_solver
from flowmusic.flow.schedule import Guidance

REFERENCE_KEYS = ("drums", "melody", "chords")
FILE_KEYS = (*REFERENCE_KEYS, "controls", "context", "from_clip", "style")


@dataclass(frozen=True)
class Job:
    """What is asked of a clip; None is the model's default. Files are paths as text.

    The seed is 0 unless it is said; in a variation that of its clip decides (`flowmusic.api.sidecar`).

    The keys of a manifest or sidecar are the names of these fields, but for their units (`KEYS`).
    """

    text: str | None = None
    drums: str | None = None
    melody: str | None = None
    chords: str | None = None
    controls: str | None = None
    duration_s: float | None = None
    seed: int | None = None
    steps: int | None = None
    solver: str | None = None
    guidance: str | None = None
    bpm: float | None = None
    beats_per_bar: float = 4.0
    loop_chords: bool = True
    context: str | None = None
    keep: str | None = None
    context_at_s: float = 0.0
    goes_on: bool = False
    loop: bool = False
    vary_from: str | None = None
    strength: float | None = None
    loudness_lufs: float | None = None
    style: str | None = None
    style_codebooks: int | None = None
    style_excerpt: str | None = None
    inversions: tuple[str, ...] = ()
    compose: bool = True
    song: int | None = None

    def __post_init__(self) -> None:
        if self.seed is None and self.vary_from is None:
            object.__setattr__(self, "seed", 0)
        if self.solver is not None or self.steps is not None:
            check_solver(self.solver or "euler", 1 if self.steps is None else self.steps)
        if self.guidance is not None:
            Guidance.parse(self.guidance)
        if self.strength is not None and self.vary_from is None:
            raise ValueError("vary needs from_clip: the clip to vary")
        if self.context is None and (self.keep or self.goes_on or self.context_at_s):
            raise ValueError("keep, continue and context_at need context: the sound to keep parts of")
        if self.goes_on and self.keep is not None:
            raise ValueError("continue keeps all of the context: expected it without keep")
        if self.chords is not None and not names_a_file(self.chords):
            _check_chart(self.chords, self.bpm, self.beats_per_bar)
        if self.style is None and (self.style_codebooks is not None or self.style_excerpt is not None):
            raise ValueError("style_codebooks and style_excerpt need style: the sound to be like")
        self.edit()
        self.style_span()

    def style_span(self) -> tuple[float, float] | None:
        """The seconds of the style's recording that are listened to, where they are said."""
        if self.style_excerpt is None:
            return None
        start, _, end = self.style_excerpt.partition("-")
        try:
            start_s, end_s = float(start), float(end)
        except ValueError:
            start_s = end_s = math.nan
        if not 0 <= start_s < end_s < math.inf:
            raise ValueError(f"style_excerpt must be seconds such as 10-14, got {self.style_excerpt!r}")
        return start_s, end_s

    def edit(self) -> Edit | None:
        """What is kept of sound that exists, if anything is."""
        if self.context is None and self.vary_from is None and not self.loop:
            return None
        return Edit(
            context=self.context,
            keep=None if self.keep is None else parse_spans(self.keep),
            context_at_s=self.context_at_s,
            goes_on=self.goes_on,
            loop=self.loop,
            vary_from=self.vary_from,
            strength=0.5 if self.strength is None else self.strength,
        )

    def references(self) -> list[Reference]:
        """Drums, melody and chords, opened and checked. ValueError where one cannot be used."""
        return [
            open_reference(role, source, self.bpm, self.beats_per_bar)
            for role, source in self.sources().items()
        ]

    def sources(self) -> dict[str, ReferenceSource]:
        return {role: value for role in REFERENCE_KEYS if (value := getattr(self, role)) is not None}

    @property
    def files(self) -> dict[str, str]:
        """Paths by key, of the references that are files."""
        named = {key: getattr(self, _FIELDS[key]) for key in FILE_KEYS}
        files = {
            key: value
            for key, value in named.items()
            if value is not None and (key != "chords" or names_a_file(value))
        }
        return files | {f"inversions.{index}": path for index, path in enumerate(self.inversions)}

    def with_files(self, paths: Mapping[str, str]) -> Job:
        """The same with other paths for its `files`."""
        moved = self.files | dict(paths)
        inversions = tuple(moved.pop(f"inversions.{index}") for index in range(len(self.inversions)))
        named = {_FIELDS[key]: path for key, path in moved.items()}
        return replace(self, inversions=inversions, **named)  # type: ignore[arg-type]

    def beside(self, folder: Path) -> Job:
        """The same with relative paths taken from `folder`, all of them absolute.

        ValueError, naming the key, where a path leads nowhere: to no user's folder, or round in links.
        """
        return self.with_files({key: _absolute(key, path, folder) for key, path in self.files.items()})

    def to_dict(self) -> dict[str, object]:
        """What differs from the defaults, by key."""
        given = {_RENAMED.get(name, name): value for name, value in self.given().items()}
        return {key: list(value) if isinstance(value, tuple) else value for key, value in given.items()}

    def given(self) -> dict[str, Any]:
        """What differs from the defaults, by field."""
        unsaid = {field.name: field.default for field in fields(self)}
        if self.vary_from is None:
            unsaid["seed"] = 0
        return {
            name: getattr(self, name) for name, default in unsaid.items() if getattr(self, name) != default
        }

    @property
    def digest(self) -> str:
        """Hash of all that is asked for: equal jobs have equal digests."""
        text = json.dumps(self.to_dict(), sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()


_RENAMED = {
    "duration_s": "duration",
    "context_at_s": "context_at",
    "goes_on": "continue",
    "vary_from": "from_clip",
    "strength": "vary",
    "loudness_lufs": "loudness",
}
_FIELDS = {_RENAMED.get(field.name, field.name): field.name for field in fields(Job)}
KEYS = tuple(_FIELDS)
"""The keys of a job in JSON."""

Read = Callable[[object], object]


def _text(value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"a text that is not empty, got {value!r}")
    if "\x00" in value:
        raise ValueError("a text without NUL characters")
    return value


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"true or false, got {value!r}")
    return value


def _number(low: float, high: float) -> Read:
    def read(value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
            raise ValueError(f"a number from {low:g} to {high:g}, got {value!r}")
        return float(value)

    return read


def _whole(low: int, high: int) -> Read:
    def read(value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise ValueError(f"a whole number from {low} to {high}, got {value!r}")
        return value

    return read


def _guidance(value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise ValueError(f"a number or a text such as 'drums=2,chords=3', got {value!r}")
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"a finite number, got {value}")
    return str(value)


def _texts(value: object) -> tuple[str, ...]:
    if not isinstance(value, (list, tuple)):
        raise ValueError(f"a list of files, got {value!r}")
    return tuple(_text(item) for item in value)


_READERS: dict[str, Read] = {
    **dict.fromkeys(("text", *FILE_KEYS, "solver", "keep", "style_excerpt"), _text),
    "style_codebooks": _whole(1, 64),
    "inversions": _texts,
    **dict.fromkeys(("loop_chords", "continue", "loop", "compose"), _flag),
    "duration": _number(MIN_DURATION_S, MAX_DURATION_S),
    **dict.fromkeys(("seed", "song"), _whole(0, 2**63 - 1)),
    "steps": _whole(1, MAX_STEPS),
    "guidance": _guidance,
    "bpm": _number(10, 400),
    "beats_per_bar": _number(1, 32),
    "context_at": _number(0, MAX_DURATION_S),
    "vary": _number(0.01, 1),
    "loudness": _number(LOWEST_LUFS, HIGHEST_LUFS),
}


def read_job(values: object) -> Job:
    """A job from plain data. ValueError, one sentence, for unknown keys and bad values; null is absent."""
    if not isinstance(values, Mapping):
        raise ValueError(f"expected an object of settings, got {type(values).__name__}")
    unknown = sorted(str(key) for key in values if key not in _FIELDS)
    if unknown:
        raise ValueError(f"unknown key {', '.join(map(repr, unknown))}; expected some of {', '.join(KEYS)}")
    read: dict[str, object] = {}
    for key, value in values.items():
        if value is None:
            continue
        try:
            read[_FIELDS[key]] = _READERS[key](value)
        except ValueError as error:
            raise ValueError(f"{key} must be {error}") from error
    return Job(**read)  # type: ignore[arg-type]


def _absolute(key: str, path: str, folder: Path) -> str:
    try:
        return str((folder / Path(path).expanduser()).resolve())
    except (RuntimeError, OSError) as error:
        raise ValueError(f"{key} must be the path of a file, got {path!r} ({error})") from error


@lru_cache(maxsize=4096)
def _check_chart(chart: str, bpm: float | None, beats_per_bar: float) -> None:
    open_reference("chords", chart, bpm, beats_per_bar)
