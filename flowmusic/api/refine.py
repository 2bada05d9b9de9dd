"""Latents of tokens, refined by a flow: it makes the fine structure that tokens have no room for.

Tokens keep what varies most and lose the rest, so that their sound is smooth. The flow takes up their latents
mixed with noise at t = `refine` on its straight path, as SDEdit does with a diffusion (arXiv 2108.01073), and
follows its own ODE to t = 1: what tokens say stays, what they cannot say is made anew.
"""

from __future__ import annotations

import torch
from torch import Tensor

from flowmusic.api.editing import HeldVelocity
from flowmusic.conditioning.condition import Condition
from flowmusic.flow.guidance import GuidanceSpec
from flowmusic.flow.solver import VelocityField, noise, solve
from flowmusic.flow.windows import WindowedVelocity, clip_windows
from flowmusic.model.transformer import FlowTransformer

STEPS = 4
"""Of Euler. On 20 songs of the validation split the Fréchet distance (all against all) of what eight
codebooks leave falls from 26.4 to 9.4 from t = .7 on, with 4 steps or 8; to 10.2 with 2."""


@torch.no_grad()
def refined(
    flow: FlowTransformer, latents: Tensor, condition: Condition, start: float, seed: int, frame_rate: float
) -> Tensor:
    """Latents (1, T, D) under the same condition, but for its style, which is of another model's making.

    `start` is the t that the flow begins at. Known latents of the condition stay as they are. The same seed
    gives the same latents.
    """
    condition = condition.without("style")
    x_0 = noise([seed], condition.n_frames, flow.config.latent_dim).to(latents)
    plan = clip_windows(condition.n_frames, frame_rate, window_s=flow.config.window_s)
    field: VelocityField = WindowedVelocity(flow, condition, GuidanceSpec.none(), plan)
    if condition.context_mask.any():
        field = HeldVelocity(field, x_0, condition.context, condition.context_mask)
    x_t = (1 - start) * x_0 + start * latents
    return solve(field, x_t, method="euler", steps=STEPS, start=start).latents
