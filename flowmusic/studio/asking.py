"""From a session and what a job asks of it to the `Request` that a model understands."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from flowmusic.api.editing import BORDER_FADE_S
from flowmusic.api.pretrained import GenerationDefaults
from flowmusic.api.request import MAX_SEED, Request
from flowmusic.studio.lanes import LANES, Lane, lane_file, within
from flowmusic.studio.session import Session
from flowmusic.studio.takes import take_paths

MAX_CLIPS = 16
MIN_PART_S = 2 * BORDER_FADE_S + 0.1
"""Two fades lie inside a part, and something new between them."""


class _Ask(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class ExtractAsk(_Ask):
    """Take controls from an upload into the lanes; `roles` are some of what it gives."""

    kind: Literal["extract"]
    upload: str
    roles: list[Literal["drums", "melody", "chords", "style"]] = Field(min_length=1, max_length=4)


class GenerateAsk(_Ask):
    """Make takes of the session as it stands.

    seeds, n   one take for each seed, or for `n` seeds from the session's on
    best       only the one that follows best is kept
    of         the take that the others speak of
    part       seconds (from, to) of that take that are made anew; the rest stays
    extend     seconds after its end, `before` seconds before its start; it stays itself
    vary       a take to make more of the kind of, as it was asked for; `strength` is how much is made anew
    loop       the end continues at the start
    """

    kind: Literal["generate"]
    seeds: list[int] | None = Field(None, min_length=1, max_length=MAX_CLIPS)
    n: int | None = Field(None, ge=1, le=MAX_CLIPS)
    best: bool = False
    of: str | None = None
    part: list[float] | None = Field(None, min_length=2, max_length=2)
    extend: float | None = Field(None, gt=0, le=3600)
    before: float | None = Field(None, gt=0, le=3600)
    vary: str | None = None
    strength: float | None = None
    loop: bool = False


Ask = ExtractAsk | GenerateAsk


def read_ask(values: object) -> Ask:
    """What is asked of a job. ValueError, in one sentence, where it is nothing that can be asked."""
    kinds: dict[str, type[Ask]] = {"extract": ExtractAsk, "generate": GenerateAsk}
    kind = values.get("kind") if isinstance(values, dict) else None
    if not isinstance(kind, str) or kind not in kinds:
        raise ValueError(f"kind must be one of {', '.join(kinds)}, got {kind!r:.80}")
    try:
        return kinds[kind].model_validate(values)
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        place = ".".join(str(item) for item in problem["loc"])
        if problem["type"] == "extra_forbidden":
            known = ", ".join(kinds[kind].model_fields)
            raise ValueError(f"unknown key {place!r}; expected some of {known}") from None
        raise ValueError(f"{place}: {problem['msg'][:1].lower()}{problem['msg'][1:]}") from None


def seeds_of(ask: GenerateAsk, first: int) -> list[int]:
    """The seeds of a job's clips."""
    if ask.seeds is not None and ask.n is not None:
        raise ValueError("expected seeds or n, not both")
    seeds = ask.seeds or [(first + index) % (MAX_SEED + 1) for index in range(ask.n or 1)]
    for seed in seeds:
        Request(seed=seed)  # its range, in its words
    return seeds


def request_of(session: Session, ask: GenerateAsk, defaults: GenerationDefaults) -> Request:
    """The request of a session as it stands, for one of the seeds.

    Raises:
        RequestError, ValueError: what cannot be, in the words of the command line.
        NotFoundError: a take that is not there.
    """
    state = session.plain()
    seeds = seeds_of(ask, state["request"].get("seed", 0))
    if sum(item is not None for item in (ask.part, ask.vary, ask.extend or ask.before)) > 1:
        raise ValueError("a job makes a part anew, varies a take or makes it longer: expected one of them")
    if ask.vary is not None:
        path = take_paths(session.takes_folder, session.take(ask.vary).id).sound
        return Request.read(
            {"vary": str(path), "seed": seeds[0]}
            | ({} if ask.strength is None else {"strength": ask.strength})
            | ({"loop": True} if ask.loop else {})
        )
    if ask.strength is not None:
        raise ValueError("strength needs vary: the take to vary")
    values: dict[str, Any] = {
        key: value for key, value in state["request"].items() if value is not None and key != "style"
    }
    values |= {"seed": seeds[0], "duration": state["duration"]}
    if ask.loop:
        values["loop"] = True
    if ask.part is not None or ask.extend is not None or ask.before is not None:
        values |= _changed(session, ask, values)
    if (style := state["request"].get("style")) is not None:
        values["style"] = str(session.upload_path(session.upload(style)))
    values |= _lanes(session, state, values["duration"])
    guidance = guidance_of(state, values, defaults)
    if guidance is not None:
        values["guidance"] = guidance
    request = Request.read(values)
    return request.replace(bpm=state["bpm"]) if request.composes else request


def _changed(session: Session, ask: GenerateAsk, values: dict[str, Any]) -> dict[str, Any]:
    """What is kept of another take, sample by sample: nothing of it is made louder, or faded at its ends."""
    if ask.of is None:
        raise ValueError("part, extend and before need of: the take to change")
    take = session.take(ask.of)
    values.pop("loudness", None)
    values.pop("loop", None)
    changed: dict[str, Any] = {"context": str(take_paths(session.takes_folder, take.id).sound)}
    if ask.part is None:
        before, after = ask.before or 0.0, ask.extend or 0.0
        if before:
            changed["context_at"] = before
        return changed | {"duration": before + take.duration + after}
    first, last = ask.part
    if not 0 <= first < last <= take.duration + 1e-3 or last - first < MIN_PART_S:
        raise ValueError(
            f"part must be two rising times within the take's {take.duration:g} s, at least "
            f"{MIN_PART_S:g} s apart, got {first:g} to {last:g}"
        )
    # Kept sound is faded in inside its own borders: so far inside the part that nothing else changes.
    spans = []
    if first > 0:
        spans.append((0.0, first + BORDER_FADE_S))
    if last < take.duration - 1e-3:
        spans.append((last - BORDER_FADE_S, take.duration))
    changed["duration"] = take.duration
    if not spans:
        return {"duration": take.duration}
    return changed | {"keep": ",".join(f"{start!r}-{end!r}" for start, end in spans)}


def _lanes(session: Session, state: dict[str, Any], duration_s: float) -> dict[str, Any]:
    """Each lane in use: the recording that it came from while nobody has changed it, or a file; and spans."""
    found: dict[str, Any] = {}
    spans = {}
    for role in LANES:
        use, lane = state["use"][role], state["lanes"][role]
        span, source = use["span"], use["source"]
        is_beyond = span is not None and span[0] >= duration_s
        if use["mute"] or is_beyond or (source is None and not within(role, lane, span, duration_s)):
            continue
        if source is not None:
            found[role] = str(session.upload_path(session.upload(source)))
        else:
            whole = within(role, lane, None, duration_s)
            found[role] = str(lane_file(role, whole, session.lanes_folder, state["bpm"]))
        if span is not None:
            spans[role] = f"{_decimal(span[0])}-{_decimal(min(span[1], duration_s))}"
    return found | ({"spans": spans} if spans else {})


def _decimal(seconds: float) -> str:
    """Seconds to a tenth of a millisecond, without an exponent."""
    return f"{seconds:.4f}".rstrip("0").rstrip(".")


def lanes_asked(state: dict[str, Any], duration_s: float) -> dict[str, Lane]:
    """The lanes of a session that are in use, inside their spans."""
    return {
        role: within(role, state["lanes"][role], state["use"][role]["span"], duration_s)
        for role in LANES
        if not state["use"][role]["mute"]
    }


def guidance_of(state: dict[str, Any], values: dict[str, Any], defaults: GenerationDefaults) -> str | None:
    """Guidance with the strength of each lane; None where no lane in use has one of its own.

    ValueError where the session's own guidance is more than one number.
    """
    used = [role for role in LANES if role in values]
    strengths = {role: state["use"][role]["strength"] for role in used}
    if all(strength is None for strength in strengths.values()):
        return None
    base = values.get("guidance") or defaults.guidance
    rule, *options = base.split(";")
    try:
        scale = float(rule)
    except ValueError as error:
        raise ValueError(
            f"the strength of lanes goes beside guidance of one number such as '3', got {base!r}"
        ) from error
    others = [name for name in ("text", "style") if values.get(name) is not None]
    scales = dict.fromkeys([*used, *others], scale)
    scales |= {role: strength for role, strength in strengths.items() if strength is not None}
    return ";".join([",".join(f"{name}={value:g}" for name, value in scales.items()), *options])
