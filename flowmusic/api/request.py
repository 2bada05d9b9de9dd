"""Request: everything that can be asked of a clip, declared once.

Python, a manifest's rows, sidecars and the command line share the spelling, the checks, the ranges and the
help text of these fields. (pydantic rather than jsonargparse: it checks plain data without a parser, gives
one error a field, and writes the JSON schema that a service needs; it imports in a tenth of a second.)
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic.fields import FieldInfo

from features.text_files import unprintable

if TYPE_CHECKING:
    from features.audio import AudioSource
    from features.controls import Controls
    from features.references import ReferenceSource
    from flowmusic.conditioning.inversion import Inversion

    # A request out of a sidecar may hold `InMemory` in their place, which `prepare` refuses.
    Source = ReferenceSource
    Sound = AudioSource
    ControlsSource = str | Path | Controls
    Word = str | Path | Inversion

MIN_DURATION_S, MAX_DURATION_S = 0.5, 3600.0
LOWEST_LUFS, HIGHEST_LUFS = -40.0, -5.0
MAX_SEED = 2**63 - 1
MAX_STEPS = 1000
CONTROL_FIELDS = ("drums", "melody", "chords", "dynamics")
OF_A_FLOW = ("steps", "solver", "vary", "loop")
OF_A_LANGUAGE_MODEL = ("temperature", "top_k", "top_p", "refine")
"""Fields that a model of the other kind does not have."""

FILE_FIELDS = (*CONTROL_FIELDS, "controls", "context", "vary", "style")
_IN_MEMORY = "in_memory"


class InMemory(BaseModel):
    """What stands in a sidecar for something that was given as an object, not as a file."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    in_memory: str


def _source(value: Any) -> Any:
    if isinstance(value, str):
        _filled(value, ": a file, or for chords a chart such as 'Am | F C | G7'")
    if isinstance(value, (str, Path)):
        return _file_name(value)
    if isinstance(value, Mapping):
        return InMemory.model_validate(value)
    if isinstance(value, (list, tuple)) and value and all(isinstance(item, (list, tuple)) for item in value):
        # Chords with their times, as JASCO takes them, are a chart: a text that every file can hold.
        from features.timed_chords import chord_list_text

        return chord_list_text(value)
    if value is None or isinstance(value, (bool, int, float)):
        raise ValueError(f"must be a file, got {value!r}")
    return value


def _words(value: str) -> str:
    _filled(value)
    if character := unprintable(value):
        raise ValueError(f"must be a text in UTF-8 without control characters, got {character} in {value!r}")
    return value


def _filled(value: str, kind: str = "") -> None:
    if not value.strip():
        raise ValueError(f"must be a text that is not empty{kind}, got {value!r}")


def _file_name(value: str | Path) -> str | Path:
    """A file may have any name that the system takes, also one that is no text: bytes that are not UTF-8."""
    try:
        encoded = os.fsencode(value)
    except UnicodeEncodeError:
        encoded = b"\0"
    if b"\0" in encoded:
        raise ValueError(f"must be a name that a file can have, got {str(value)!r}")
    return value


def _plain(value: Any) -> Any:
    """A path as text; an object as what it is called, since it stands in no file."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, Path):
        return str(value)
    return {_IN_MEMORY: value.in_memory if isinstance(value, InMemory) else type(value).__name__}


if not TYPE_CHECKING:  # the kinds of objects are not imported to say so: they would bring torch
    Source = Sound = ControlsSource = Word = Annotated[Any, BeforeValidator(_source), PlainSerializer(_plain)]
Text = Annotated[str, BeforeValidator(lambda value: _words(value) if isinstance(value, str) else value)]


def _option(
    group: str, description: str, default: Any = None, metavar: str | None = None, **checks: Any
) -> Any:
    extra: dict[str, Any] = {"group": group, "metavar": metavar}
    return Field(default, description=description, json_schema_extra=extra, **checks)


FOLLOW, CHART, KEEP, HOW = "what to follow", "chord charts and composed songs", "sound that exists", "how"


class Request(BaseModel):
    """What is asked of a clip. A field left out, or None, is the model's default.

    In Python references may also be objects: `Audio`, (samples, sample rate), symbols, `Controls`,
    `Inversion`.

    Raises:
        RequestError: one sentence that names the field, what was expected and what came.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, arbitrary_types_allowed=True, allow_inf_nan=False
    )

    text: Text | None = _option(FOLLOW, "description of instruments, tempo, mood, style")
    drums: Source | None = _option(FOLLOW, "drums to follow: a recording or MIDI", metavar="FILE")
    melody: Source | None = _option(
        FOLLOW, "melody to follow: a recording, MIDI, or a .csv of time,f0", metavar="FILE"
    )
    chords: Source | None = _option(
        FOLLOW,
        "chords to follow: a recording, a .lab file, or a chart: 'Am | F C | G7'",
        metavar="FILE|CHART",
    )
    dynamics: Source | None = _option(
        FOLLOW, "loudness curve to follow: a recording (for models that were trained with it)", metavar="FILE"
    )
    references: dict[str, Source] = _option(
        FOLLOW, "references of further controls that extensions register; repeat for more", {}, "NAME=FILE"
    )
    controls: ControlsSource | None = _option(
        FOLLOW, "controls that `flowmusic features` wrote; --drums, --melody and --chords replace theirs",
        metavar="FILE",
    )  # fmt: skip
    spans: dict[str, Text] = _option(
        FOLLOW, "seconds of the clip in which a control is followed, such as drums=0-4 (default: all of it); "
        "repeat for more", {}, "NAME=FROM-TO",
    )  # fmt: skip
    style: Sound | None = _option(FOLLOW, "recording whose sound the clip imitates", metavar="FILE")
    style_codebooks: int | None = _option(
        FOLLOW, "how closely the style is imitated: 1 codebook is loosest (default: all that the model has)",
        ge=1, le=64,
    )  # fmt: skip
    style_excerpt: Text | None = _option(
        FOLLOW, "seconds of the style recording to use, 1.5 to 4.5 of them (default: the loudest)",
        metavar="FROM-TO",
    )  # fmt: skip
    inversions: tuple[Word, ...] = _option(
        FOLLOW, "pseudo-word of `flowmusic invert` that the text names; repeat for more", (), "FILE"
    )
    bpm: float | None = _option(
        CHART, "tempo of the chord chart (default: 120), or of the composed song (default: drawn)",
        ge=10, le=400,
    )  # fmt: skip
    beats_per_bar: float = _option(CHART, "beats in a bar of the chord chart", 4.0, ge=1, le=32)
    loop_chords: bool = _option(CHART, "repeat a chord chart that is shorter than the clip", True)
    compose: bool = _option(
        CHART, "where only a text is given, compose chords, drums and melody by rules that fit it", True
    )
    song: int | None = _option(
        CHART, "random seed of the composed song (default: the clip's seed); beside references, "
        "what they leave open is composed", ge=0, le=MAX_SEED,
    )  # fmt: skip
    context: Sound | None = _option(KEEP, "recording of which parts are kept", metavar="FILE")
    keep: Text | None = _option(
        KEEP, "seconds of the clip that are kept (default: all of the context)", metavar="0-4,9-15"
    )
    context_at: float = _option(
        KEEP, "where in the clip the context begins, in seconds", 0.0, ge=0, le=MAX_DURATION_S
    )
    extend: bool = _option(KEEP, "continue after the end of the context", False)
    loop: bool = _option(KEEP, "make a clip whose end continues at its start", False)
    vary: Sound | None = _option(
        KEEP, "clip to vary; what its sidecar asked for is asked for again unless it is given here",
        metavar="FILE",
    )  # fmt: skip
    strength: float | None = _option(
        KEEP, "how much of the varied clip is made anew, up to 1 (default: 0.5)", ge=0.01, le=1
    )
    duration: float | None = _option(
        HOW, "length of the clip in seconds (default: that of the longest reference, up to 30; without one, "
        "the model's)", metavar="SECONDS", ge=MIN_DURATION_S, le=MAX_DURATION_S,
    )  # fmt: skip
    seed: int = _option(HOW, "random seed", 0, ge=0, le=MAX_SEED)
    steps: int | None = _option(HOW, "steps of the ODE solver (default: the model's)", ge=1, le=MAX_STEPS)
    solver: Text | None = _option(HOW, "ODE solver (default: the model's)")
    temperature: float | None = _option(
        HOW, "of a language model: above 1 for more surprise, below for less (default: the model's)",
        ge=0, le=10,
    )  # fmt: skip
    top_k: int | None = _option(
        HOW, "of a language model: how many of the likeliest tokens may be drawn, 0 for all (default: the "
        "model's)", ge=0, le=1 << 20,
    )  # fmt: skip
    top_p: float | None = _option(
        HOW, "of a language model: the likeliest tokens of this share of probability may be drawn (default: "
        "the model's)", ge=0.01, le=1,
    )  # fmt: skip
    refine: float | None = _option(
        HOW, "of a language model: t of the ODE from which the bundled flow makes the fine structure that "
        "tokens lack, 0 for not at all (default: the model's)", ge=0, le=0.95,
    )  # fmt: skip
    guidance: Text | None = _option(
        HOW, "guidance scale: 1 for none, 2 or more to follow more closely; or an expression such as "
        "'drums=2,chords=3,text=1.5' (default: the model's)",
    )  # fmt: skip
    loudness: float | None = _option(
        HOW, "integrated loudness of the clip in LUFS, peaks limited (default: as it comes)",
        ge=LOWEST_LUFS, le=HIGHEST_LUFS,
    )  # fmt: skip

    if not TYPE_CHECKING:

        def __init__(self, **options: Any) -> None:
            try:
                super().__init__(**{name: value for name, value in options.items() if value is not None})
            except ValidationError as error:
                raise RequestError(_sentence(error)) from None

    @field_validator("inversions", mode="before")
    @classmethod
    def _listed(cls, value: Any) -> Any:
        if isinstance(value, (str, Path)) or not isinstance(value, (list, tuple)):
            raise ValueError(f"must be a list of files, got {value!r}")
        return tuple(value)

    @field_validator("references", mode="before")
    @classmethod
    def _by_control(cls, value: Any) -> Any:
        if not isinstance(value, Mapping):
            raise ValueError(f"must be a table of control: file, got {value!r}")
        for name in value:
            if not isinstance(name, str) or not name.isidentifier():
                raise ValueError(f"must have names of controls for keys, got {name!r}")
        twice = sorted(set(value) & set(CONTROL_FIELDS))
        if twice:
            raise ValueError(f"must name further controls: {twice[0]} is a field of its own")
        return dict(value)

    @field_validator("spans", mode="before")
    @classmethod
    def _of_controls(cls, value: Any) -> Any:
        if not isinstance(value, Mapping):
            raise ValueError(f"must be a table of control: seconds, got {value!r}")
        for name in value:
            if not isinstance(name, str) or not name.isidentifier():
                raise ValueError(f"must have names of controls for keys, got {name!r}")
        return dict(value)

    @field_validator("guidance", mode="before")
    @classmethod
    def _guidance_text(cls, value: Any) -> Any:
        if isinstance(value, bool) or not isinstance(value, (str, int, float)):
            raise ValueError(f"must be a number or a text such as 'drums=2,chords=3', got {value!r}")
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f"must be a finite number, got {value}")
        return str(value)

    @model_validator(mode="after")
    def _check(self) -> Request:
        if self.solver is not None:
            from flowmusic.flow.solvers import SOLVERS

            SOLVERS.check(self.solver)
        if self.guidance is not None:
            from flowmusic.flow.schedule import Guidance

            Guidance.parse(self.guidance)
        if self.strength is not None and self.vary is None:
            raise ValueError("strength needs vary: the clip to vary")
        if self.context is None and (self.keep or self.extend or self.context_at):
            raise ValueError("keep, extend and context_at need context: the sound to keep parts of")
        if self.extend and self.keep is not None:
            raise ValueError("extend keeps all of the context: expected it without keep")
        if self.style is None and (self.style_codebooks is not None or self.style_excerpt is not None):
            raise ValueError("style_codebooks and style_excerpt need style: the sound to imitate")
        if isinstance(self.chords, str) and self.chart is not None:
            if character := unprintable(self.chords):
                raise ValueError(
                    f"chords must be a chart or a file, without control characters, got {character} in "
                    f"{self.chords!r}"
                )
            _check_chart(self.chords, self.bpm, self.beats_per_bar)
        _ = self.kept_spans, self.excerpt, self.followed_spans
        return self

    @classmethod
    def read(cls, values: object, others: tuple[str, ...] = ()) -> Request:
        """A request from plain data, as JSON holds it; null means left out. RequestError as of the class.

        `others` are keys that were taken out before, for the message about a key that is not known.
        """
        if not isinstance(values, Mapping):
            raise RequestError(f"expected an object of settings, got {type(values).__name__}")
        for name in values:
            if name not in REQUEST_FIELDS:
                raise RequestError(
                    f"unknown key {str(name)!r}; expected some of {', '.join((*others, *REQUEST_FIELDS))}"
                )
        return cls(**{str(key): value for key, value in values.items()})

    def replace(self, **options: Any) -> Request:
        """The same with other options; checked again."""
        return Request(**(self.given() | options))

    def given(self) -> dict[str, Any]:
        """What was said, by field; a default that was given explicitly counts."""
        return {name: getattr(self, name) for name in sorted(self.model_fields_set)}

    def plain(self) -> dict[str, Any]:
        """What differs from the defaults, as plain data for JSON.

        Of a variation it is all that was given: a default that was given replaces what its clip asked for.
        """
        varies = self.vary is not None
        return self.model_dump(mode="json", exclude_unset=varies, exclude_defaults=not varies)

    @property
    def digest(self) -> str:
        """Hash of all that is asked for, as `plain` says it."""
        text = json.dumps(self.plain(), sort_keys=True, ensure_ascii=False)
        # names of files need not be UTF-8
        return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()

    @property
    def chart(self) -> str | None:
        """The text of a chord chart, where the chords are one."""
        from features.notation import names_a_file

        return self.chords if isinstance(self.chords, str) and not names_a_file(self.chords) else None

    @property
    def kept_spans(self) -> tuple[tuple[float, float], ...] | None:
        """Spans of the clip to keep, in seconds, as `keep` names them: rising, without overlap."""
        if self.keep is None:
            return None
        spans = tuple(_span(part, "keep", "0-4,9-15") for part in self.keep.split(","))
        last = 0.0
        for start, end in spans:
            if start < last:
                raise ValueError(f"keep must be spans that rise and do not overlap, got {self.keep!r}")
            last = end
        return spans

    @property
    def followed_spans(self) -> dict[str, tuple[float, float]]:
        """The seconds of the clip in which a control is followed, by control; of the others it is all."""
        return {name: _span(text, f"spans: {name}", "0-4") for name, text in self.spans.items()}

    @property
    def excerpt(self) -> tuple[float, float] | None:
        """The seconds of the style recording to use, where they were given."""
        return None if self.style_excerpt is None else _span(self.style_excerpt, "style_excerpt", "10-14")

    @property
    def sources(self) -> dict[str, Source]:
        """The references of the controls, by control."""
        given = {name: value for name in CONTROL_FIELDS if (value := getattr(self, name)) is not None}
        return given | self.references

    @property
    def is_text_alone(self) -> bool:
        """Whether nothing but a text says what is played: the one place where this is decided."""
        others = (self.controls, self.style, self.context, self.vary)
        return self.reads_text and not self.sources and all(item is None for item in others)

    @property
    def reads_text(self) -> bool:
        """Whether there is a text that can be composed for: the composer knows no pseudo-words."""
        from flowmusic.conditioning.pseudo_words import pseudo_words

        return self.text is not None and not pseudo_words(self.text)

    @property
    def composes(self) -> bool:
        """Whether a song is composed: for a text alone, and wherever a song is asked for by its seed."""
        return self.compose and (self.is_text_alone or (self.song is not None and self.reads_text))

    @property
    def files(self) -> dict[str, str]:
        """Paths by field, of what was given as a file."""
        found: dict[str, str] = {}
        for name in FILE_FIELDS:
            value = getattr(self, name)
            if isinstance(value, Path) or (isinstance(value, str) and not (name == "chords" and self.chart)):
                found[name] = str(value)
        several: dict[str, Any] = {
            f"inversions.{index}": value for index, value in enumerate(self.inversions)
        }
        several |= {f"references.{name}": value for name, value in self.references.items()}
        found |= {name: str(value) for name, value in several.items() if isinstance(value, (str, Path))}
        return found

    def with_files(self, paths: Mapping[str, str]) -> Request:
        """The same with other paths for its `files`."""
        moved = dict(paths)
        inversions = tuple(moved.pop(f"inversions.{i}", item) for i, item in enumerate(self.inversions))
        references = {name: moved.pop(f"references.{name}", item) for name, item in self.references.items()}
        several = {"inversions": inversions, "references": references}
        return self.replace(**moved, **{name: value for name, value in several.items() if value})

    def beside(self, folder: Path) -> Request:
        """The same with relative paths taken from `folder`, all of them absolute.

        ValueError, naming the field, where a path leads nowhere: to no user's folder, or round in links.
        """
        return self.with_files({name: _absolute(name, path, folder) for name, path in self.files.items()})


class RequestError(ValueError):
    """A request that cannot be: one sentence, naming the field."""


REQUEST_FIELDS: dict[str, FieldInfo] = Request.model_fields
OptionKind = Literal["number", "whole number", "flag", "text", "list", "table"]


def kind_of(name: str) -> OptionKind:
    """What kind of value a field takes."""
    annotation = str(REQUEST_FIELDS[name].annotation)
    for word, kind in (
        ("dict", "table"),
        ("tuple", "list"),
        ("bool", "flag"),
        ("float", "number"),
        ("int", "whole number"),
    ):
        if word in annotation:
            return kind  # type: ignore[return-value]
    return "text"


def range_of(name: str) -> tuple[float, float] | None:
    """Lowest and highest value of a field that is a number."""
    limits = {key: getattr(item, key) for item in REQUEST_FIELDS[name].metadata for key in ("ge", "le")
              if hasattr(item, key)}  # fmt: skip
    return (limits["ge"], limits["le"]) if len(limits) == 2 else None


def expected(name: str) -> str:
    """What a field takes, in words: 'a number from 10 to 400'."""
    kind, limits = kind_of(name), range_of(name)
    if limits is not None:
        low, high = (f"{value:g}" if kind == "number" else str(value) for value in limits)
        return f"a {kind} from {low} to {high}"
    of = "seconds" if name == "spans" else "file"
    return {"flag": "true or false", "list": "a list of files", "table": f"a table of control: {of}"}.get(
        kind, "a text"
    )


def _sentence(error: ValidationError) -> str:
    """The first problem of a request in one sentence."""
    problem = error.errors(include_url=False)[0]
    name = str(problem["loc"][0]) if problem["loc"] else ""
    if problem["type"] == "extra_forbidden":
        return f"unknown key {name!r}; expected some of {', '.join(REQUEST_FIELDS)}"
    if problem["type"] == "value_error":
        reason = str(problem["ctx"]["error"])
        return f"{name} {reason}" if reason.startswith("must ") else reason
    return f"{name} must be {expected(name)}, got {problem['input']!r}"


def _span(text: str, name: str, example: str) -> tuple[float, float]:
    start, _, end = text.strip().partition("-")
    try:
        start_s, end_s = float(start), float(end)
    except ValueError:
        start_s = end_s = math.nan
    if not 0 <= start_s < end_s < math.inf:
        raise ValueError(f"{name} must be seconds such as {example}, got {text!r}")
    return start_s, end_s


def _absolute(name: str, path: str, folder: Path) -> str:
    try:
        absolute = (folder / Path(path).expanduser()).resolve()
        # Only a link in a ring is one still; before Python 3.13 resolve() says so. (Path.is_symlink would
        # raise where the system takes no such path; that is found out when the file is opened.)
        if os.path.islink(absolute):  # noqa: PTH114
            raise OSError("its links lead round in a ring")
        return str(absolute)
    except (RuntimeError, OSError) as error:
        raise ValueError(f"{name} must be the path of a file, got {path!r} ({error})") from error


@lru_cache(maxsize=4096)
def _check_chart(chart: str, bpm: float | None, beats_per_bar: float) -> None:
    from features.references import open_reference

    open_reference("chords", chart, bpm, beats_per_bar)
