"""Clips made out of sound that exists: inpaint, outpaint, continue, loop, vary.

The model was trained with some latents known (mask and context), so a hole is filled by plain
generation: the frames that are kept are given as context and go straight to their latents, the others
follow all controls. The original samples replace the codec's version of what is kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from features.audio import Audio
from features.recordings import open_recording
from flowmusic.api.request import Request
from flowmusic.codec.decoding import crossfade
from flowmusic.codec.protocol import Codec, encode_audio
from flowmusic.flow.solver import VelocityField

EDGE_S = 0.16
"""Latents so near to the ends of kept sound describe what lies beyond it as well: they are not known."""

BORDER_FADE_S = 0.25
"""From the codec's sound to the original's: shorter, and what the codec changes is heard as a step."""

MIN_KEPT_S = 0.08
DEFAULT_STRENGTH = 0.5

Spans = tuple[tuple[float, float], ...]


@dataclass(frozen=True, eq=False)
class Edit:
    """The opened recordings that a clip is made out of.

    Attributes:
        context: sound that parts of are kept.
        keep: spans of the clip that are kept, in its seconds; None: wherever there is context.
        context_at_s: where in the clip the context begins; later than 0 leaves room before it.
        extend: the clip continues after its context, by default for the model's default duration.
        loop: the end of the clip continues at its start.
        vary: sound that the clip is a variation of.
        strength: how much of that is made anew: near 0 nothing, 1 all.
    """

    context: Audio | None = None
    keep: Spans | None = None
    context_at_s: float = 0.0
    extend: bool = False
    loop: bool = False
    vary: Audio | None = None
    strength: float = DEFAULT_STRENGTH

    @classmethod
    def of(cls, request: Request) -> Edit | None:
        """What a request says of sound that exists; None where it speaks of none.

        Raises:
            AudioError: a recording that cannot be used.
        """
        if request.context is None and request.vary is None and not request.loop:
            return None
        return cls(
            context=None if request.context is None else open_recording(request.context, "the context")[1],
            keep=request.kept_spans,
            context_at_s=request.context_at,
            extend=request.extend,
            loop=request.loop,
            vary=None if request.vary is None else open_recording(request.vary, "the clip to vary")[1],
            strength=DEFAULT_STRENGTH if request.strength is None else request.strength,
        )

    @property
    def end_s(self) -> float:
        """Where the sound that exists ends in the clip, in seconds."""
        ends = [0.0]
        if self.context is not None:
            ends.append(self.context_at_s + self.context.duration_s)
        if self.vary is not None:
            ends.append(self.vary.duration_s)
        return max(ends)


@dataclass(frozen=True)
class Canvas:
    """An `Edit` laid on the frames of a clip.

    Shape:
        context (1, T, D), known (1, T) bool   latents that are kept
        start   None or (1, T, D)              latents that the clip is a variation of
        kept    ((first, end), ...)            samples of the clip that are the original's
        sound   (C, S)                         the original on the clip's time, silence elsewhere
    """

    context: Tensor
    known: Tensor
    start: Tensor | None
    strength: float
    loop: bool
    kept: tuple[tuple[int, int], ...]
    sound: np.ndarray

    def kept_s(self, sample_rate: int) -> Spans:
        """The kept spans in seconds."""
        return tuple((first / sample_rate, end / sample_rate) for first, end in self.kept)


@torch.no_grad()
def lay_out(edit: Edit, codec: Codec, n_frames: int, duration_s: float, device: torch.device) -> Canvas:
    """The edit on a clip of `n_frames` latent frames. ValueError where a span holds no context."""
    rate, hop = codec.sample_rate, codec.sample_rate / codec.frame_rate
    n_samples = round(n_frames * hop)
    context = torch.zeros(1, n_frames, codec.latent_dim)
    known = torch.zeros(1, n_frames, dtype=torch.bool)
    kept: tuple[tuple[int, int], ...] = ()
    sound = np.zeros((codec.channels, n_samples), np.float32)
    if edit.context is not None:
        original = edit.context.resampled(rate).in_channels(codec.channels)
        original_s = original.shape[1] / rate
        first = round(edit.context_at_s * rate)
        laid = original[:, : max(0, n_samples - first)]
        sound[:, first : first + laid.shape[1]] = laid
        spans = _kept_spans(edit, original_s, min(duration_s, n_samples / rate))
        kept = tuple((round(start * rate), round(end * rate)) for start, end in spans)
        # What is not kept must not reach the latents beside it: the codec never sees it.
        context = encode_audio(codec, Audio(mirrored(sound, kept), rate), device).cpu()
        known[0] = _known_frames(spans, n_frames, codec.frame_rate, n_samples / rate)
    start = None
    if edit.vary is not None:
        varied = edit.vary.resampled(rate).fitted(n_samples / rate)
        start = encode_audio(codec, varied, device).cpu()
    return Canvas(context, known, start, edit.strength, edit.loop, kept, sound)


def _kept_spans(edit: Edit, context_s: float, duration_s: float) -> Spans:
    """Spans to keep, inside both the context and the clip."""
    whole = (edit.context_at_s, min(edit.context_at_s + context_s, duration_s))
    if edit.keep is None:
        spans: Spans = (whole,)
    else:
        spans = tuple((start, min(end, whole[1])) for start, end in edit.keep)
    for start, end in spans:
        if start < whole[0] or end - start < MIN_KEPT_S:
            raise ValueError(
                f"the span to keep from {start:g} s holds no context: that lasts from {whole[0]:g} "
                f"to {whole[1]:g} s of the clip"
            )
    return spans


def mirrored(sound: np.ndarray, kept: Sequence[tuple[int, int]]) -> np.ndarray:
    """The sound (C, S) with everything outside the kept spans replaced by their mirror images.

    A gap is filled from both sides up to its middle, so that what is encoded has no cut at a border and
    holds nothing of the gap.
    """
    out = np.zeros_like(sound)
    for index, (first, end) in enumerate(kept):
        start = 0 if index == 0 else (kept[index - 1][1] + first) // 2
        stop = sound.shape[1] if index == len(kept) - 1 else (end + kept[index + 1][0]) // 2
        widths = ((0, 0), (first - start, stop - end))
        out[:, start:stop] = np.pad(sound[:, first:end], widths, mode="symmetric")
    return out


def _known_frames(spans: Spans, n_frames: int, frame_rate: float, clip_s: float) -> Tensor:
    """Frames that lie in a span as a whole, and away from its borders, (T,) bool.

    The clip's own ends are no borders: there was silence beyond them in training as well.
    """
    frames = torch.arange(n_frames)
    known = torch.zeros(n_frames, dtype=torch.bool)
    for start, end in spans:
        inner_start = start + EDGE_S if start > 0 else start
        inner_end = end - EDGE_S if end < clip_s - 1e-6 else end
        known |= (frames >= inner_start * frame_rate - 1e-6) & (frames + 1 <= inner_end * frame_rate + 1e-6)
    return known


class HeldVelocity:
    """A field in which known frames go straight from their noise to their latents: v = x_1 - x_0 there."""

    def __init__(self, field: VelocityField, x_0: Tensor, x_1: Tensor, known: Tensor) -> None:
        self.field, self.x_0, self.x_1, self.known = field, x_0, x_1, known

    def __call__(self, x_t: Tensor, t: Tensor) -> Tensor:
        return torch.where(self.known.unsqueeze(-1), self.x_1 - self.x_0, self.field(x_t, t))

    def item(self, index: int) -> HeldVelocity:
        one = slice(index, index + 1)
        return HeldVelocity(self.field.item(index), self.x_0[one], self.x_1[one], self.known[one])


def starting_point(canvas: Canvas, x_0: Tensor) -> tuple[Tensor, float]:
    """x_t and t from which the ODE is solved: noise at 0, or a mix of noise and latents later.

    A variation of strength s starts at t = 1 - s on the straight path from x_0 to the latents that it
    varies (as SDEdit does for diffusion, arXiv 2108.01073).
    """
    if canvas.start is None:
        return x_0, 0.0
    t = 1.0 - canvas.strength
    known = canvas.known.unsqueeze(-1).to(x_0.device)
    x_1 = torch.where(known, canvas.context.to(x_0), canvas.start.to(x_0))
    return (1 - t) * x_0 + t * x_1, t


def put_back(audio: np.ndarray, canvas: Canvas, sample_rate: int) -> np.ndarray:
    """The clip (C, S) with the original's samples where they are kept, faded in at the borders.

    The fades lie inside the kept spans; one that begins or ends with the clip has no border there,
    unless the clip is a loop.
    """
    fade, n_samples = round(BORDER_FADE_S * sample_rate), audio.shape[1]
    out = audio.copy()
    for first, end in _within(canvas.kept, n_samples):
        original = canvas.sound[:, first:end]
        out[:, first:end] = original
        length = min(fade, (end - first) // 2)
        whole = end - first == n_samples
        if first > 0 or (canvas.loop and not whole):
            out[:, first : first + length] = crossfade(audio[:, first : first + length], original[:, :length])
        if end < n_samples or (canvas.loop and not whole):
            out[:, end - length : end] = crossfade(original[:, -length:], audio[:, end - length : end])
    return out


def _within(kept: Sequence[tuple[int, int]], n_samples: int) -> list[tuple[int, int]]:
    return [(first, min(end, n_samples)) for first, end in kept if first < n_samples]
