"""Drawing the tokens of a clip: guided logits, temperature, top-k and top-p, from the clip's own seed."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

from features.frames import CONTROL_FRAME_RATE
from flowmusic.conditioning.condition import Condition
from flowmusic.flow.condition_sets import weights_by_frame
from flowmusic.flow.schedule import Guidance
from flowmusic.lm.transformer import TokenTransformer, delay, undelay

N = TypeVar("N", int, float)


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

    def of_codebooks(self, n_codebooks: int, codes: int, device: torch.device) -> CodeDraw:
        """How codes of each of the codebooks are drawn."""

        def each(values: Sequence[N]) -> list[N]:
            return [values[min(index, len(values) - 1)] for index in range(n_codebooks)]

        temperature, top_k, top_p = each(self.temperature), each(self.top_k), each(self.top_p)
        # a temperature of 0 is the most likely code alone
        most = [1 if t == 0 else min(k or codes, codes) for t, k in zip(temperature, top_k, strict=True)]
        return CodeDraw(
            torch.tensor([[t or 1.0] for t in temperature], device=device),
            torch.tensor([[k] for k in most], device=device),
            torch.tensor([[p] for p in top_p], device=device),
            max(most) if min(most) < codes or min(top_p) < 1 else None,
        )


@dataclass(frozen=True)
class CodeDraw:
    """A draw of one code from each of K codebooks at once.

    n_ordered   how many of the most likely codes have to be known; None: any code may be drawn
    Shape: temperature, top_k, top_p (K, 1)
    """

    temperature: Tensor
    top_k: Tensor
    top_p: Tensor
    n_ordered: int | None

    def draw(self, logits: Tensor, uniform: Tensor, first: int = 0) -> Tensor:
        """The codes (N,) that numbers (N,) from 0 to 1 draw from logits (N, codes) of N codebooks from
        `first`.
        """
        here = slice(first, first + len(logits))
        scaled = logits / self.temperature[here]
        last, index = self.top_k[here] - 1, None
        if self.n_ordered is not None:
            scaled, index = scaled.topk(self.n_ordered)  # from the most likely one
            ranks = torch.arange(self.n_ordered, device=logits.device)
            scaled = scaled.masked_fill(ranks > last, -torch.inf)
        cumulative = scaled.softmax(dim=-1).cumsum(dim=-1)
        if self.n_ordered is not None:
            last = torch.minimum(last, (cumulative < self.top_p[here]).sum(dim=-1, keepdim=True))
        total = cumulative.gather(-1, last)
        place = torch.searchsorted(cumulative, uniform[:, None] * total, right=True)
        place = torch.minimum(place, last)  # rounding may lead beyond it
        return (place if index is None else index.gather(-1, place)).squeeze(-1)


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
        self.weights = torch.stack(columns, dim=1).to(condition.context.device)  # (T, sets)
        self.prepared = model.prepare(Condition.cat([condition.only(*names, "context") for names in weights]))
        self.caches = model.empty_caches(self.prepared)
        self.position = 0

    def states(self, tokens: Tensor, end: int) -> Tensor:
        """States (sets, S, H) of the steps that come next up to before `end`: each sees the row before its
        own of tokens (steps, K), the first one none.
        """
        seen = tokens[max(self.position - 1, 0) : end - 1]
        if self.position == 0:
            seen = torch.cat([torch.full_like(tokens[:1], self.model.config.codes), seen])
        rows = seen.expand(self.n_sets, -1, -1)
        states = self.model.states(rows, self.prepared, self.caches, self.position)
        self.position = end
        return states

    def read(self, tokens: Tensor, known: Tensor) -> range:
        """Read the steps of tokens (steps, K) before the first that is not all known, in one go; those left.

        known (steps, K) bool.
        """
        unknown = (~known.all(dim=1)).nonzero()
        first = int(unknown[0]) if len(unknown) else len(tokens)
        if first:
            self.states(tokens, first)
        return range(first, len(tokens))

    @staticmethod
    def weighted(logits: Tensor, weights: Tensor) -> Tensor:
        """Logits (sets, N, codes) of N tokens, weighted by (N, sets) -> (N, codes)."""
        log_p = logits.float().log_softmax(dim=-1)
        return torch.einsum("ns,snc->nc", weights, log_p)


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
    n_frames, n_tokens = condition.n_frames, model.config.tokens_per_frame
    device = condition.context.device
    uniforms = torch.rand(n_frames, n_tokens, generator=torch.Generator().manual_seed(seed)).to(device)
    codes = torch.full((n_frames, n_tokens), -1) if known is None else known
    with torch.inference_mode():
        guided = GuidedLogits(model, condition, guidance)
        draw = _draw_by_frame if model.within is not None else _draw_delayed
        how = sampling.of_codebooks(n_tokens, model.config.codes, device)
        drawn = draw(guided, codes.to(device), uniforms, how, progress)
    return drawn.cpu().clone(), guided.n_sets


def _draw_delayed(
    guided: GuidedLogits,
    codes: Tensor,
    uniforms: Tensor,
    how: CodeDraw,
    progress: Callable[[float], None],
) -> Tensor:
    """`codes` (T, K), filled in step by step; step s holds token k of frame s - k."""
    n_frames, n_tokens = codes.shape
    weights = guided.weights[:, None].expand(-1, n_tokens, -1)
    delayed, uniforms, weights = (
        delay(values[None], fill)[0]
        for values, fill in ((codes, guided.model.config.codes), (uniforms, 0.0), (weights, 0.0))
    )
    known = delayed >= 0
    for step in guided.read(delayed, known):
        logits = guided.model.frame_logits(guided.states(delayed, step + 1))[:, 0]  # (sets, K, codes)
        drawn = how.draw(guided.weighted(logits, weights[step]), uniforms[step])
        delayed[step] = torch.where(known[step], delayed[step], drawn)
        progress((step + 1) / len(delayed))
    return undelay(delayed[None], n_frames)[0]


def _draw_by_frame(
    guided: GuidedLogits,
    codes: Tensor,
    uniforms: Tensor,
    how: CodeDraw,
    progress: Callable[[float], None],
) -> Tensor:
    """`codes` (T, K), filled in frame by frame; within a frame by codebook."""
    within = guided.model.within
    assert within is not None
    codes, known = codes.clone(), codes >= 0
    whole = known.all(dim=1).tolist()
    for frame in guided.read(codes, known):
        state = guided.states(codes, frame + 1)[:, 0]  # (sets, H)
        if whole[frame]:
            continue
        projected = within.project(state)
        caches = within.empty_caches(len(state), projected)
        code: Tensor | None = None
        for index in range(codes.shape[1]):
            logits = within.step(projected, index, code, caches)
            weighted = guided.weighted(logits[:, None], guided.weights[frame : frame + 1])
            drawn = how.draw(weighted, uniforms[frame, index : index + 1], index)
            codes[frame, index] = torch.where(known[frame, index], codes[frame, index], drawn[0])
            code = codes[frame, index].expand(len(state))
        progress((frame + 1) / len(codes))
    return codes
