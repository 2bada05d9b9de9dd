"""Prepared: all of a clip that does not depend on its seed, made once for any number of clips."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from features.cache import content_hash
from features.controls import CONTROL_NAMES, CONTROLS, Controls
from features.extract import Extractors, Progress, no_progress
from features.frames import CONTROL_FRAME_RATE
from features.references import ChordChart, Reference, open_reference
from flowmusic.api.clip import FileInfo, SongInfo, StyleInfo
from flowmusic.api.editing import Canvas, Edit, lay_out
from flowmusic.api.length import LengthRule
from flowmusic.api.pretrained import GenerationDefaults, Pretrained
from flowmusic.api.request import InMemory, Request
from flowmusic.api.sampler import SamplerSettings
from flowmusic.api.sidecar import with_varied
from flowmusic.api.style import StyleReference, encode_style, open_style
from flowmusic.composer.for_text import compose_for
from flowmusic.conditioning.condition import ConditionShape
from flowmusic.conditioning.inversion import Inversion, encode_text
from flowmusic.conditioning.minilm import MiniLm
from flowmusic.conditioning.pseudo_words import pseudo_words
from flowmusic.conditioning.text import WordEncoder
from flowmusic.lm.transformer import TokenTransformer

if TYPE_CHECKING:
    from flowmusic.composer.compose import Composition
    from flowmusic.conditioning.style import StyleTokens
    from flowmusic.conditioning.text import TextTokens

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Prepared:
    """A request that was opened, extracted, read and, where only a text is given, composed for.

    `request` names everything that was decided on the way (the song that was composed, what a varied clip had
    asked for). `references` are those that were given, `followed` those that the clip is to follow: given or
    composed.
    """

    request: Request
    duration_s: float
    references: tuple[Reference, ...]
    followed: tuple[Reference, ...]
    controls: Controls
    sampler: SamplerSettings
    text: TextTokens | None
    style: StyleTokens | None
    style_info: StyleInfo | None
    song_info: SongInfo | None
    canvas: Canvas | None
    files: dict[str, FileInfo]
    seconds: dict[str, float]


@dataclass(frozen=True, eq=False)
class Opened:
    """A request whose files were read and checked, before any long work; `duration_s` is the clip's."""

    request: Request
    references: tuple[Reference, ...]
    controls: Controls | None
    edit: Edit | None
    style: StyleReference | None
    inversions: tuple[Inversion, ...]
    sampler: SamplerSettings
    duration_s: float


@dataclass(frozen=True)
class ModelLimits:
    """What opening a request asks of a model: small enough to send to another process.

    `draws_tokens`: it is a language model.
    """

    lengths: LengthRule
    defaults: GenerationDefaults
    shape: ConditionShape
    draws_tokens: bool = False

    @classmethod
    def of(cls, model: Pretrained) -> ModelLimits:
        network = model.network
        draws_tokens = isinstance(network, TokenTransformer)
        return cls(model.lengths, model.defaults, network.config.condition_shape, draws_tokens)


def open_request(model: ModelLimits, request: Request) -> Opened:
    """Read and check everything that a request names.

    Raises:
        ValueError: a file that cannot be used, an option that this model does not have, or one that does not
        fit the others; in one sentence.
    """
    request = with_varied(request)
    _check_on_disk(request)
    for name in request.sources:
        CONTROLS.check(name)
    model.shape.check_controls(tuple(request.sources))
    references = tuple(
        open_reference(role, source, request.bpm, request.beats_per_bar)
        for role, source in request.sources.items()
    )
    controls = request.controls
    if controls is not None and not isinstance(controls, Controls):
        controls = Controls.load(controls)
    if controls is not None and abs(controls.frame_rate - CONTROL_FRAME_RATE) > 1e-6:
        raise ValueError(
            f"controls have {controls.frame_rate:g} frames a second; expected {CONTROL_FRAME_RATE:g}"
        )
    if controls is not None:
        model.shape.check_controls(controls.given)
    edit = Edit.of(request)
    style = None if request.style is None else open_style(request.style, request.excerpt)
    inversions = tuple(
        item if isinstance(item, Inversion) else Inversion.load(item) for item in request.inversions
    )
    duration_s = model.lengths.duration_s(request.duration, references, controls, edit)
    defaults = model.defaults
    guidance = request.guidance
    if guidance is None and request.composes:
        guidance = defaults.composed_guidance
    sampler = SamplerSettings.of(defaults, request, guidance, model.draws_tokens)
    sampler.check_duration(duration_s)
    return Opened(request, references, controls, edit, style, inversions, sampler, duration_s)


def prepare(
    model: Pretrained, extractors: Extractors, request: Request, progress: Progress = no_progress
) -> Prepared:
    """See `FlowMusic.prepare`."""
    started = time.perf_counter()
    opened = open_request(ModelLimits.of(model), request)
    request, duration_s = opened.request, opened.duration_s
    style = None if opened.style is None else encode_style(model, opened.style, request.style_codebooks)
    text = _read_text(model, request.text, opened.inversions)
    composition = None
    if request.composes:
        request = request.replace(song=request.seed if request.song is None else request.song)
        composition = _compose(model, request, duration_s)
    _warn_of_unused(request, opened)
    canvas = None
    if opened.edit is not None:
        n_frames = model.lengths.latent_frames(duration_s)
        canvas = lay_out(opened.edit, model.codec, n_frames, duration_s, model.device)
    read = time.perf_counter()
    followed, given = opened.references, opened.controls
    if composition is not None:
        taken = {item.role for item in followed} | set(() if given is None else given.given)
        rests = composition.rests(duration_s).without(*(taken & set(CONTROL_NAMES)))
        followed += tuple(item for item in composition.references if item.role not in taken)
        given = rests if given is None else given.combine(rests.fit(given.n_frames))
    controls = extractors.extract(
        followed, model.lengths.extraction_s(duration_s), request.loop_chords, progress
    )
    if given is not None:
        controls = controls.combine(given.fit(controls.n_frames))
    controls = _within_spans(controls, request.followed_spans)
    extracted = time.perf_counter()
    return Prepared(
        request=request,
        duration_s=duration_s,
        references=opened.references,
        followed=followed,
        controls=controls,
        sampler=opened.sampler,
        text=text,
        style=style,
        style_info=None if opened.style is None else opened.style.info(request.style_codebooks),
        song_info=None if composition is None else _song_info(composition, request.song or 0, followed),
        canvas=canvas,
        files={name: FileInfo(path=path, sha256=_hash(path)) for name, path in request.files.items()},
        seconds={"reading text and style": read - started, "extracting controls": extracted - read},
    )


def _within_spans(controls: Controls, spans: Mapping[str, tuple[float, float]]) -> Controls:
    """The controls, absent outside of their spans of seconds.

    ValueError where a span is of a control that is not given, or holds nothing of it.
    """
    times_s = controls.grid.times_s()
    for name, (start_s, end_s) in spans.items():
        if name not in controls.given:
            raise ValueError(f"spans names {name}, which is not followed; expected some of {controls.given}")
        mask = controls.mask(name) & torch.from_numpy((times_s >= start_s) & (times_s < end_s))
        if not mask.any():
            raise ValueError(f"spans: {name} holds nothing from {start_s:g} to {end_s:g} s")
        controls = controls.having(**{f"{name}_mask": mask})
    return controls


def _check_on_disk(request: Request) -> None:
    """ValueError where a sidecar speaks of something that was given as an object, and lies in no file."""
    for name, value in request.given().items():
        several = (
            value.values() if isinstance(value, dict) else value if isinstance(value, tuple) else (value,)
        )
        for item in several:
            if isinstance(item, InMemory):
                raise ValueError(
                    f"{name} was a Python object ({item.in_memory}), which no file holds: give it again"
                )


def _read_text(model: Pretrained, text: str | None, inversions: Sequence[Inversion]) -> TextTokens | None:
    """Tokens of a prompt; None where there is none."""
    prompt = "" if text is None else text.strip()
    if not inversions and not pseudo_words(prompt):
        return model.text_encoder.encode([prompt]) if prompt else None
    if not isinstance(model.text_encoder, WordEncoder):
        raise ValueError("pseudo-words need a text encoder with embeddings of words; this model's has none")
    return encode_text(model.text_encoder, prompt, inversions, model.fingerprint)


def _compose(model: Pretrained, request: Request, duration_s: float) -> Composition:
    encoder = model.text_encoder if isinstance(model.text_encoder, MiniLm) else None  # the reader's own
    return compose_for(
        request.text or "", duration_s, request.song or 0, request.bpm, encoder, whole_bars=request.loop
    )


def _song_info(composition: Composition, song: int, followed: Sequence[Reference]) -> SongInfo:
    """What a sidecar says of a song; its parts are those that are followed."""
    chords = next(item for item in composition.references if item.role == "chords")
    segments = chords.chord_segments(0.0)
    return SongInfo(
        song=song,
        style=composition.style,
        key=f"{composition.score.key} {composition.score.mode}",
        bpm=composition.score.bpm,
        metre=composition.score.metre,
        parts=tuple(item.role for item in composition.references if item in followed),
        chords=tuple((round(item.start_s, 4), round(item.end_s, 4), item.label) for item in segments),
    )


def _warn_of_unused(request: Request, opened: Opened) -> None:
    """Say which options have nothing to act on; none is ignored in silence."""
    said = request.model_fields_set
    chart = any(
        isinstance(item.content, ChordChart) and Path(str(item.content.source)).suffix.lower() != ".lab"
        for item in opened.references
    )
    unused = {
        "bpm": not chart and not request.composes and "it times a chord chart or a composed song",
        "beats_per_bar": not chart and "it times a chord chart",
        "loop_chords": not chart and "it is for a chord chart",
        "song": not request.composes and "songs are composed for a text without pseudo-words",
        "compose": "compose" in said and request.compose and not request.composes
        and "songs are composed for a text alone; beside references, give a song",
        "steps": opened.sampler.is_adaptive and "the solver chooses its own steps",
    }  # fmt: skip
    for name, reason in unused.items():
        if name in said and reason:
            log.warning("%s is not used: %s", name, reason)


def _hash(path: str) -> str:
    try:
        return content_hash(Path(path).expanduser())
    except OSError as error:
        raise ValueError(f"{path} cannot be read ({error.strerror})") from error
