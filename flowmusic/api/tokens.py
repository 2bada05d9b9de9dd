"""A clip's latents by a language model: tokens are drawn, what is kept stays as it is."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from features.extract import Progress
from flowmusic.api.pretrained import Pretrained
from flowmusic.api.refine import refined
from flowmusic.api.sampler import SamplerSettings
from flowmusic.conditioning.condition import Condition
from flowmusic.lm.sampling import draw_codes
from flowmusic.lm.transformer import TokenTransformer


@dataclass(frozen=True)
class DrawnClip:
    """Latents (1, T, D) of a clip, and how many condition sets each of its steps was evaluated for."""

    latents: Tensor
    condition_sets: int
    steps: int


def draw_clip(
    pretrained: Pretrained, condition: Condition, sampler: SamplerSettings, seed: int, progress: Progress
) -> DrawnClip:
    """Draw the tokens of one clip, and refine what they mean where that is asked for.

    Known latents of the condition are kept as they are, and continued.
    """
    model = pretrained.network
    assert isinstance(model, TokenTransformer) and sampler.sampling is not None
    refiner = pretrained.refiner if sampler.refine else None  # where there can be none, that is said at once
    known = condition.context_mask[0].cpu()  # (T,)
    codes = model.latents.encode(condition.context)[0].cpu()  # (T, K)
    codes, n_sets = draw_codes(
        model,
        condition,
        sampler.guidance,
        seed,
        sampler.sampling,
        codes.masked_fill(~known[:, None], -1),
        lambda share: progress("generating", round(100 * share), 100),
    )
    latents = model.latents.decode(codes.to(condition.context.device))[None]
    latents = torch.where(condition.context_mask[..., None], condition.context, latents)
    if refiner is not None:
        latents = refined(refiner, latents, condition, sampler.refine, seed, pretrained.codec.frame_rate)
    return DrawnClip(latents, n_sets, condition.n_frames + model.n_steps_more)
