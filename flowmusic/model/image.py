"""The stereo image beside the sound: the velocity of the last channels of the latents, by a head of its own.

Where sound comes from is nearly noise to whoever knows the sound alone, and would take room in a trunk that
has to carry it. So the trunk never sees it: this head does, together with what the trunk found.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from flowmusic.attention import Rotation
from flowmusic.model.blocks import MODULATIONS, Block, modulate
from flowmusic.model.config import FlowConfig

N_HEADS = 2
N_BLOCKS = 3


def gaussian_velocity(x_t: Tensor, t: Tensor) -> Tensor:
    """E[x_1 - x_0 | x_t] for independent standard normal x_1, x_0 and x_t = (1 - t) x_0 + t x_1.

    That is (2 t - 1) / ((1 - t)^2 + t^2) x_t, the regression of one normal variable on another; the network
    adds what it knows beyond that (as the skip connection of EDM does, arXiv 2206.00364, §5).

    Shape: x_t (B, T, D), t (B,) -> (B, T, D)
    """
    weight = (2 * t - 1) / ((1 - t).square() + t.square())
    return weight.to(x_t)[:, None, None] * x_t


class ImageHead(nn.Module):
    """Velocity (B, T, image_dim) of the stereo image: a small transformer over all frames.

    Shape: x_t (B, T, image_dim), t (B,), hidden (B, T, H) of the trunk, time (B, H) of its embedding;
    key_mask None or (B, 1, 1, T), frame_mask None or (B, T, 1)
    """

    def __init__(self, config: FlowConfig) -> None:
        super().__init__()
        # Heads are as wide as the trunk's: both turn by the same rotary positions.
        width = N_HEADS * (config.width // config.heads)
        small = replace(config, width=width, heads=N_HEADS)
        self.project_image = nn.Linear(config.image_dim, width)
        self.project_hidden = nn.Linear(config.width, width, bias=False)
        self.modulation = nn.Linear(config.width, MODULATIONS * width)
        self.blocks: Sequence[Block] = nn.ModuleList(Block(small, False) for _ in range(N_BLOCKS))  # type: ignore[assignment]
        self.modulation_out = nn.Linear(config.width, 2 * width)
        self.project_out = nn.Linear(width, config.image_dim)
        for layer in (self.modulation, self.modulation_out, self.project_out):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def compute_in(self, dtype: torch.dtype) -> None:
        """As `FlowTransformer.compute_in`."""
        for part in (self.project_image, self.project_hidden, *self.blocks, self.project_out):
            part.to(dtype)

    def forward(
        self,
        x_t: Tensor,
        t: Tensor,
        hidden: Tensor,
        time: Tensor,
        by: Rotation,
        key_mask: Tensor | None,
        frame_mask: Tensor | None,
    ) -> Tensor:
        with torch.autocast(x_t.device.type, enabled=False):
            modulation = self.modulation(time).unflatten(-1, (MODULATIONS, -1))  # (B, 6, W)
            shift, scale = self.modulation_out(time).unsqueeze(1).chunk(2, dim=-1)  # (B, 1, W)
        dtype = self.project_image.weight.dtype
        modulation, shift, scale = modulation.to(dtype), shift.to(dtype), scale.to(dtype)
        x = (self.project_image(x_t.to(dtype)) + self.project_hidden(hidden)).to(dtype)
        none = x.new_empty(0)
        for block in self.blocks:
            x = block(x, modulation, by, key_mask, frame_mask, None, none)
        own: Tensor = self.project_out(modulate(x, shift, scale)).float()
        return own + gaussian_velocity(x_t, t)
