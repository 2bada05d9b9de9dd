"""Latents of several clips at once: which clips make a batch, their noise, the padding of shorter ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from features.extract import Progress, no_progress
from flowmusic.api.editing import HeldVelocity, starting_point
from flowmusic.api.prepared import Prepared
from flowmusic.api.pretrained import Pretrained
from flowmusic.api.tokens import draw_clip
from flowmusic.conditioning.condition import Condition
from flowmusic.flow.solver import VelocityField, noise, solve
from flowmusic.flow.windows import WindowedVelocity, clip_windows
from flowmusic.lm.transformer import TokenTransformer

SHORTEST_SHARE = 0.9
"""Clips of a batch are at least this share of the longest: what is padded is computed in vain."""


@dataclass(frozen=True, eq=False)
class Draw:
    """One clip to make: what was prepared, and the seed of its noise."""

    prepared: Prepared
    seed: int


@dataclass(frozen=True, eq=False)
class Sampled:
    """Latents (T, D) of each clip of a batch, the evaluations of each, and the condition sets of a step."""

    latents: tuple[Tensor, ...]
    evaluations: tuple[int, ...]
    condition_sets: int


def batches(model: Pretrained, draws: Sequence[Draw], size: int) -> list[list[int]]:
    """Places in `draws`, in batches of at most `size` that can be solved together, the longest clips first.

    Clips go together that have the same sampler settings and kinds of conditions, and are about as long.
    Edited clips go with other seeds of themselves alone.
    """
    made: list[list[int]] = []
    for place in sorted(range(len(draws)), key=lambda place: -draws[place].prepared.duration_s):
        for batch in made:
            if len(batch) < size and _go_together(model, draws[batch[0]].prepared, draws[place].prepared):
                batch.append(place)
                break
        else:
            made.append([place])
    return made


def _go_together(model: Pretrained, longer: Prepared, other: Prepared) -> bool:
    if longer is other:
        return True
    if longer.canvas is not None or other.canvas is not None or longer.sampler != other.sampler:
        return False
    if _kinds(longer) != _kinds(other):
        return False
    n_frames, n_others = (model.lengths.latent_frames(item.duration_s) for item in (longer, other))
    if n_frames == n_others or isinstance(model.network, TokenTransformer):  # those are drawn one by one
        return True
    # windows lie differently in clips of different lengths
    plan = clip_windows(n_frames, model.codec.frame_rate, window_s=model.network.config.window_s)
    return plan.whole and n_others >= SHORTEST_SHARE * n_frames


def _kinds(prepared: Prepared) -> tuple[bool, bool, tuple[str, ...]]:
    """What guidance may leave out: clips without it have other condition sets."""
    return prepared.text is not None, prepared.style is not None, prepared.controls.given


@torch.no_grad()
def sample(
    model: Pretrained, draws: Sequence[Draw], per_clip: bool, progress: Progress = no_progress
) -> Sampled:
    """Solve the ODE, or draw tokens, for clips that `batches` put together.

    per_clip: solve each by itself, so that its bytes do not depend on the others (`flowmusic.flow.solver`).

    Raises:
        ArithmeticError: the solver's result holds NaN or Inf.
    """
    network, sampler, canvas = model.network, draws[0].prepared.sampler, draws[0].prepared.canvas
    conditions = [_condition(model, draw.prepared) for draw in draws]
    if isinstance(network, TokenTransformer):
        drawn = [
            draw_clip(model, condition.to(model.device), sampler, draw.seed, progress)
            for condition, draw in zip(conditions, draws, strict=True)
        ]
        latents = tuple(clip.latents[0] for clip in drawn)
        return Sampled(latents, tuple(clip.steps for clip in drawn), drawn[0].condition_sets)
    lengths = [condition.n_frames for condition in conditions]
    condition = Condition.cat(conditions).to(model.device)
    longest = condition.n_frames
    padded = torch.arange(longest) >= torch.tensor(lengths)[:, None]  # (B, T)
    frame_mask = (~padded).to(model.device) if padded.any() else None
    x_0 = noise([draw.seed for draw in draws], longest, network.config.latent_dim).to(model.device)
    x_t, start = (x_0, 0.0) if canvas is None else starting_point(canvas, x_0)
    loops = canvas is not None and canvas.loop
    plan = clip_windows(longest, model.codec.frame_rate, loops, network.config.window_s)
    windowed = WindowedVelocity(network, condition, sampler.guidance, plan, frame_mask)
    field: VelocityField = windowed
    if canvas is not None and canvas.known.any():
        field = HeldVelocity(windowed, x_0, condition.context, condition.context_mask)
    solved = solve(
        field,
        x_t,
        method=sampler.solver,
        steps=sampler.steps,
        shift=sampler.time_shift,
        per_clip=per_clip,
        start=start,
        guidance=sampler.guidance_text,
        progress=lambda share: progress("generating", round(100 * share), 100),
    )
    latents = tuple(item[:length] for item, length in zip(solved.latents, lengths, strict=True))
    return Sampled(latents, solved.item_evaluations, windowed.n_sets)


def _condition(model: Pretrained, prepared: Prepared) -> Condition:
    """The condition of one clip."""
    one = Condition.from_controls(
        [prepared.controls], model.network.config.condition_shape, prepared.text, prepared.style
    )
    canvas = prepared.canvas
    return one if canvas is None else one.with_context(canvas.context, canvas.known)
