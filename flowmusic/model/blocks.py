"""Parts of the transformer: time embedding, modulation, the feed-forward part, one block."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from flowmusic.attention import CrossAttention, KeysValues, Rotation, SelfAttention
from flowmusic.model.config import FlowConfig

TIME_SCALE = 1000.0
"""t in [0, 1] is stretched to the range that sinusoidal embeddings are made for."""

MODULATIONS = 6
"""Shift, scale and gate of the attention, then of the feed-forward part."""


def time_channels(t: Tensor, channels: int) -> Tensor:
    """Sinusoids of 1000 t at wavelengths from 2 pi to 2000 pi: (B,) -> (B, channels).

    Rates run from 1 down to 1 / 1000, so that the slowest channel still turns by a radian over t in
    [0, 1]: every channel says something about t. (Of t itself, not scaled, most would hardly move.)
    """
    rates = torch.exp(torch.linspace(0.0, -math.log(TIME_SCALE), channels // 2, device=t.device))
    angles = TIME_SCALE * t.float()[:, None] * rates  # (B, channels / 2)
    return torch.cat([angles.cos(), angles.sin()], dim=-1)


def modulate(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """Layer norm without weights, then x * (1 + scale) + shift; shift and scale are (B, 1, H)."""
    return torch.addcmul(shift, functional.layer_norm(x, x.shape[-1:]), 1.0 + scale)


class TimeEmbedding(nn.Module):
    """t (B,) in [0, 1] -> (B, H), in float32 also under autocast."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.channels = channels
        self.mlp = nn.Sequential(nn.Linear(channels, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU())

    def forward(self, t: Tensor) -> Tensor:
        with torch.autocast(t.device.type, enabled=False):
            embedding: Tensor = self.mlp(time_channels(t, self.channels))
        return embedding


class ConvFeedForward(nn.Module):
    """Depthwise convolution over time, then Linear, GELU, Linear.

    Shape: x (B, T, H), frame_mask None or (B, T, 1) -> (B, T, H)
    """

    def __init__(self, width: int, hidden: int, kernel: int) -> None:
        super().__init__()
        # Conv2d over (B, H, 1, T): unlike Conv1d it takes (B, T, H) memory as it lies (3 times as fast here)
        self.conv = nn.Conv2d(width, width, (1, kernel), padding=(0, kernel // 2), groups=width)
        with torch.no_grad():
            self.conv.weight[..., kernel // 2] += 1.0  # starts near the identity
        self.expand = nn.Linear(width, hidden)
        self.contract = nn.Linear(hidden, width)

    def forward(self, x: Tensor, frame_mask: Tensor | None) -> Tensor:
        if frame_mask is not None:
            x = x * frame_mask  # frames past the end of a clip are the zeros that any clip ends with
        with torch.autocast(x.device.type, enabled=False):
            images = x.to(self.conv.weight.dtype).transpose(1, 2).unsqueeze(2)  # (B, H, 1, T)
            near = self.conv(images).squeeze(2).transpose(1, 2)  # (B, T, H)
        out: Tensor = self.contract(functional.gelu(self.expand(near)))
        return out


class Block(nn.Module):
    """Self-attention, cross-attention in some blocks, feed-forward; modulated by the time.

    The modulation is the shared one of the model plus this block's own table (adaLN-single of
    PixArt-alpha, arXiv 2310.00426, §2.3). Gates start at zero: the block starts as the identity.
    """

    def __init__(self, config: FlowConfig, with_tokens: bool) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.zeros(MODULATIONS, config.width))
        self.attention = SelfAttention(config.width, config.heads)
        self.cross = CrossAttention(config.width, config.heads) if with_tokens else None
        self.feed_forward = ConvFeedForward(config.width, config.hidden, config.conv_kernel)

    def keys_values(self, tokens: Tensor) -> KeysValues | None:
        """Of tokens (B, tokens, H), for all steps; None in a block that does not attend to them."""
        return None if self.cross is None else self.cross.prepare(tokens)

    def forward(
        self,
        x: Tensor,
        modulation: Tensor,
        by: Rotation,
        key_mask: Tensor | None,
        frame_mask: Tensor | None,
        tokens: KeysValues | None,
        token_mask: Tensor,
    ) -> Tensor:
        shared = (modulation + self.table).unsqueeze(2)  # (B, 6, 1, H)
        shift_a, scale_a, gate_a, shift_f, scale_f, gate_f = shared.unbind(1)
        x = torch.addcmul(x, gate_a, self.attention(modulate(x, shift_a, scale_a), by, key_mask))
        if self.cross is not None and tokens is not None:
            x = x + self.cross(functional.layer_norm(x, x.shape[-1:]), tokens, token_mask)
        return torch.addcmul(x, gate_f, self.feed_forward(modulate(x, shift_f, scale_f), frame_mask))
