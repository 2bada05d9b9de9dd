"""The guided velocity of a batch of clips: the condition sets of a step are one batch of the model."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import torch
from torch import Tensor

from features.frames import CONTROL_FRAME_RATE
from flowmusic.conditioning.condition import Condition
from flowmusic.flow.condition_sets import weights_by_frame
from flowmusic.flow.guidance import TOKENS, GuidanceSpec
from flowmusic.flow.schedule import Guidance
from flowmusic.model.transformer import FlowTransformer, Prepared, ReadTokens


class TokenReader:
    """Keys and values of a batch's text and style, given or hidden: each combination once a clip."""

    def __init__(self, model: FlowTransformer, condition: Condition) -> None:
        self.model, self.condition = model, condition
        self._read: dict[frozenset[str], ReadTokens] = {}

    def batch_rows(self, sets: Sequence[frozenset[str]]) -> ReadTokens:
        """The tokens of the whole batch for each condition set, one set after the other."""
        return ReadTokens.cat([self._of(conditions.intersection(TOKENS)) for conditions in sets])

    def _of(self, conditions: frozenset[str]) -> ReadTokens:
        if conditions not in self._read:
            self._read[conditions] = self.model.read_tokens(self.condition.only(*conditions))
        return self._read[conditions]


class GuidedVelocity:
    """Velocities of weighted condition sets, summed; what depends on neither x_t nor t is computed once.

    Sets that come to the same for this condition are one; a set whose weight is zero on all frames is none.
    `n_sets`: condition sets that are evaluated per clip where guidance acts. In a batch of the model, its
    rows are the B clips under the first set, then the B clips under the second, and so on.

    guidance     a rule, or one with spans, a part of the ODE, or rescaling
    frame_mask   None or (B, T): False where a clip is padded
    frames       None or (T,): which latent frames of the clip these are, where they are a part of it
    reader       of the whole clip's tokens, where they are read for other parts too
    """

    def __init__(
        self,
        model: FlowTransformer,
        condition: Condition,
        guidance: GuidanceSpec | Guidance,
        frame_mask: Tensor | None = None,
        frames: Tensor | None = None,
        reader: TokenReader | None = None,
    ) -> None:
        self.model, self.condition, self.frame_mask, self.frames = model, condition, frame_mask, frames
        self.reader = reader or TokenReader(model, condition)
        self.guidance = Guidance.of(guidance) if isinstance(guidance, GuidanceSpec) else guidance
        self.given = frozenset(condition.given) - {"context"}
        weights = self._weights()
        self.sets = list(weights)
        self.n_sets = len(self.sets)
        self.weights = torch.stack([weights[conditions] for conditions in self.sets]).to(
            condition.context.device
        )

    def _weights(self) -> dict[frozenset[str], Tensor]:
        """Weight of each condition set: (), or (T, 1) where it changes along the clip."""
        frame_rate = CONTROL_FRAME_RATE / self.model.config.control_fold
        frames = torch.arange(self.condition.n_frames) if self.frames is None else self.frames.cpu()
        weights = weights_by_frame(self.guidance, self.given, frames, frame_rate)
        if self.guidance.rescale > 0:  # needs v_all beside the guided velocity
            weights.setdefault(self.given, torch.zeros_like(next(iter(weights.values()))))
        return weights

    @cached_property
    def prepared(self) -> Prepared:
        mask = None if self.frame_mask is None else self.frame_mask.repeat(self.n_sets, 1)
        return self.model.prepare(
            Condition.cat([self.condition.only(*conditions, "context") for conditions in self.sets]),
            mask,
            self.reader.batch_rows(self.sets),
        )

    @cached_property
    def plain(self) -> GuidedVelocity:
        """v_all."""
        return GuidedVelocity(
            self.model, self.condition, GuidanceSpec.none(), self.frame_mask, reader=self.reader
        )

    def __call__(self, x_t: Tensor, t: Tensor) -> Tensor:
        """x_t (B, T, D), t (B,) -> (B, T, D)."""
        if self.guidance.whole_way:
            return self._guided(x_t, t)
        acts = t >= self.guidance.t_from
        if self.guidance.t_to < 1:
            acts &= t < self.guidance.t_to
        if not bool(acts.any()):
            return self.plain(x_t, t)
        guided = self._guided(x_t, t)
        return guided if bool(acts.all()) else torch.where(acts[:, None, None], guided, self.plain(x_t, t))

    def _guided(self, x_t: Tensor, t: Tensor) -> Tensor:
        n_sets = self.n_sets
        velocities = self.model.velocity(x_t.repeat(n_sets, 1, 1), t.repeat(n_sets), self.prepared)
        if n_sets == 1:  # of weight one
            return velocities
        by_set = velocities.reshape(n_sets, *x_t.shape)  # (sets, B, T, D)
        if self.weights.ndim == 1:
            guided = torch.tensordot(self.weights.to(by_set.dtype), by_set, dims=1)  # (B, T, D)
        else:
            guided = (self.weights.to(by_set.dtype)[:, None] * by_set).sum(dim=0)
        if self.guidance.rescale == 0:
            return guided
        plain = by_set[self.sets.index(self.given)]
        share = self.guidance.rescale
        return share * rescaled(guided, plain, self.frame_mask) + (1 - share) * guided

    def item(self, index: int) -> GuidedVelocity:
        """The same for one clip alone, without anything of its neighbours."""
        mask = None if self.frame_mask is None else self.frame_mask[index : index + 1]
        return GuidedVelocity(self.model, self.condition.item(index), self.guidance, mask, self.frames)


def rescaled(guided: Tensor, plain: Tensor, frame_mask: Tensor | None = None) -> Tensor:
    """guided std(plain) / std(guided), each std over a clip (arXiv 2305.08891, eq. 15): (B, T, D)."""
    return guided * (_std(plain, frame_mask) / _std(guided, frame_mask).clamp(min=1e-8))


def _std(values: Tensor, frame_mask: Tensor | None) -> Tensor:
    """(B, T, D) -> (B, 1, 1) over the frames that are no padding."""
    counted = (
        torch.ones_like(values[..., :1]) if frame_mask is None else frame_mask[..., None].to(values.dtype)
    )
    n = _total(counted) * values.shape[2]
    mean = _total(values * counted) / n
    return (_total((values - mean).square() * counted) / n).sqrt()


def _total(values: Tensor) -> Tensor:
    """(B, T, D) -> (B, 1, 1). One sum over both axes would be split among threads, and its bits change."""
    return values.sum(dim=2, keepdim=True).sum(dim=1, keepdim=True)
