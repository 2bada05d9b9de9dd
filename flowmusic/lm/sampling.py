"""Drawing the tokens of a clip: guided logits, temperature, top-k and top-p, from the clip's own seed."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from features.frames import CONTROL_FRAME_RATE
from flowmusic.conditioning.condition import Condition
from flowmusic.flow.condition_sets import weights_by_frame
from flowmusic.flow.schedule import Guidance
from flowmusic.lm.transformer import TokenTransformer


@dataclass(frozen=True)
class TokenSampling:
    """How a token is drawn from its logits; each of the values for all codebooks, or for one after the other.

    temperature   divides the logits; 0 takes the most likely code
    top_k         how many of the most likely codes may be drawn; 0: all
    top_p         the most likely codes that together have this probability may be drawn
    """

    temperature: tuple[float, ...] = (1.0,)
    top_k: tuple[int, ...] = (0,)
    top_p: tuple[float, ...] = (1.0,)

    def __post_init__(self) -> None:
        for name, low, high in (("temperature", 0.0, 10.0), ("top_k", 0, 1 << 20), ("top_p", 0.0, 1.0)):
            values = getattr(self, name)
            if not values or not all(low <= value <= high and math.isfinite(value) for value in values):
                raise ValueError(f"{name} must be numbers from {low:g} to {high:g}, got {values}")
        if not all(self.top_p):
            raise ValueError(f"top_p must be above 0, got {self.top_p}")

    def having(self, temperature: float | None, top_k: int | None, top_p: float | None) -> TokenSampling:
        """The same with other values, of all codebooks, where they are given."""
        return TokenSampling(
            self.temperature if temperature is None else (temperature,),
            self.top_k if top_k is None else (top_k,),
            self.top_p if top_p is None else (top_p,),
        )

    def draw(self, logits: Tensor, codebook: int, uniform: float) -> int:
        """The code that a number from 0 to 1 draws from logits (codes,)."""
        temperature, top_k, top_p = (
            values[min(codebook, len(values) - 1)] for values in (self.temperature, self.top_k, self.top_p)
        )
        if temperature == 0:
            return int(logits.argmax())
        ordered, index = (logits.double() / temperature).sort(descending=True, stable=True)
        if top_k:
            ordered = ordered[:top_k]
        cumulative = ordered.softmax(dim=0).cumsum(dim=0)
        if top_p < 1:
            kept = int((cumulative < top_p).sum()) + 1
            cumulative = cumulative[:kept]
        place = int(torch.searchsorted(cumulative, uniform * float(cumulative[-1]), right=True))
        return int(index[min(place, len(cumulative) - 1)])


def check_guidance(guidance: Guidance) -> None:
    """ValueError where guidance is rescaled, or acts in a part of the ODE: tokens have none."""
    if guidance.rescale or not guidance.whole_way:
        raise ValueError("a language model solves no ODE: its guidance takes neither 'rescale' nor 't'")


class GuidedLogits:
    """Logits of a clip, guided: sum_i w_i log p_i over the condition sets of the guidance, which are a batch.

    With `double:α,β` that is the double guidance of arXiv 2407.12563 (eq. 4).
    """

    def __init__(self, model: TokenTransformer, condition: Condition, guidance: Guidance) -> None:
        check_guidance(guidance)
        self.model = model
        given = frozenset(condition.given) - {"context"}
        frame_rate = CONTROL_FRAME_RATE / model.config.control_fold
        weights = weights_by_frame(guidance, given, torch.arange(condition.n_frames), frame_rate)
        self.n_sets = len(weights)
        columns = [weight.reshape(-1).expand(condition.n_frames) for weight in weights.values()]
        self.weights = torch.stack(columns, dim=1)  # (T, sets)
        self.prepared = model.prepare(Condition.cat([condition.only(*names, "context") for names in weights]))
        self.caches = model.empty_caches(self.prepared)
        self.position = 0

    def states(self, seen: Tensor) -> Tensor:
        """States (sets, S, H) of the next steps, which see codes (S, K)."""
        rows = seen.expand(self.n_sets, -1, -1)
        states = self.model.states(rows, self.prepared, self.caches, self.position)
        self.position += seen.shape[0]
        return states

    def weighted(self, logits: Tensor, frame: int) -> Tensor:
        """(sets, ..., codes) of a frame -> (..., codes)."""
        log_p = logits.float().log_softmax(dim=-1)
        return torch.tensordot(self.weights[frame].to(log_p), log_p, dims=1)


@torch.no_grad()
def draw_codes(
    model: TokenTransformer,
    condition: Condition,
    guidance: Guidance,
    seed: int,
    sampling: TokenSampling,
    known: Tensor | None = None,
    progress: Callable[[float], None] = lambda share: None,
) -> tuple[Tensor, int]:
    """Codes (T, K) of one clip, and how many condition sets each of its steps was evaluated for.

    condition is of one item. known (T, K): codes to keep, -1 where they are to be drawn. The same seed draws
    the same codes, whatever else is made beside it.
    """
    guided = GuidedLogits(model, condition, guidance)
    n_frames, n_tokens = condition.n_frames, model.config.tokens_per_frame
    codes = torch.full((n_frames, n_tokens), -1, dtype=torch.long) if known is None else known.clone().cpu()
    uniforms = torch.rand(n_frames, n_tokens, generator=torch.Generator().manual_seed(seed)).tolist()
    draw = _draw_by_frame if model.within is not None else _draw_delayed
    draw(guided, codes, uniforms, sampling, progress)
    return codes, guided.n_sets


def _draw_by_frame(
    guided: GuidedLogits,
    codes: Tensor,
    uniforms: list[list[float]],
    sampling: TokenSampling,
    progress: Callable[[float], None],
) -> None:
    """Fill in `codes`, frame by frame; within a frame by codebook."""
    within = guided.model.within
    assert within is not None
    device = guided.prepared.temporal.device
    start = torch.full_like(codes[:1], guided.model.config.codes)
    n_frames = len(codes)
    given = (codes >= 0).all(dim=1).tolist()
    first = given.index(False) if False in given else n_frames
    if first > 1:  # what is known from the start is read in one go
        guided.states(torch.cat([start, codes[: first - 1]]).to(device))
    for frame in range(guided.position, n_frames):
        seen = start if frame == 0 else codes[frame - 1 : frame]
        state = guided.states(seen.to(device))[:, 0]  # (sets, H)
        if given[frame]:
            continue
        projected = within.project(state)
        caches = within.empty_caches(len(state), projected)
        code: Tensor | None = None
        for index in range(codes.shape[1]):
            logits = within.step(projected, index, code, caches)
            _fill(codes, frame, index, logits, guided, uniforms, sampling)
            code = codes[frame, index].to(device).expand(len(state))
        progress((frame + 1) / n_frames)


def _fill(
    codes: Tensor,
    frame: int,
    index: int,
    logits: Tensor,
    guided: GuidedLogits,
    uniforms: list[list[float]],
    sampling: TokenSampling,
) -> None:
    """Draw one token from the logits (sets, codes) of all condition sets, unless it is known."""
    if codes[frame, index] < 0:
        weighted = guided.weighted(logits, frame).cpu()
        codes[frame, index] = sampling.draw(weighted, index, uniforms[frame][index])


def _draw_delayed(
    guided: GuidedLogits,
    codes: Tensor,
    uniforms: list[list[float]],
    sampling: TokenSampling,
    progress: Callable[[float], None],
) -> None:
    """Fill in `codes`, step by step; step s holds token k of frame s - k."""
    n_frames, n_tokens = codes.shape
    blank = guided.model.config.codes
    seen = torch.full((1, n_tokens), blank)
    for step in range(n_frames + n_tokens - 1):
        state = guided.states(seen.to(guided.prepared.temporal.device))
        seen = torch.full((1, n_tokens), blank)
        logits = guided.model.frame_logits(state)[:, 0]  # (sets, K, codes)
        for index in range(n_tokens):
            frame = step - index
            if not 0 <= frame < n_frames:
                continue
            _fill(codes, frame, index, logits[:, index], guided, uniforms, sampling)
            seen[0, index] = codes[frame, index]
        progress((step + 1) / (n_frames + n_tokens - 1))
