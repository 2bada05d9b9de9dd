"""The flow transformer: velocity(x_t, t, condition)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from flowmusic.attention import KeysValues, Rotation, rotation
from flowmusic.conditioning.condition import Condition
from flowmusic.conditioning.style_encoder import StyleConditioner
from flowmusic.conditioning.temporal import TemporalConditioner
from flowmusic.conditioning.tokens import TokenConditioner, TokenSummary
from flowmusic.model.blocks import MODULATIONS, Block, TimeEmbedding, modulate
from flowmusic.model.config import FlowConfig
from flowmusic.model.image import ImageHead


@dataclass(frozen=True)
class ReadTokens:
    """Text and style as the blocks attend to them; no part of it depends on the frames of the clip.

    Shape:
        keys_values  one per block, None where a block has no cross-attention
        mask         (B, 1, 1, L + M + 2) bool
    """

    keys_values: tuple[KeysValues | None, ...]
    mask: Tensor

    @staticmethod
    def cat(parts: Sequence[ReadTokens]) -> ReadTokens:
        """Join along the batch; all have equally many tokens."""
        blocks = zip(*(part.keys_values for part in parts), strict=True)
        return ReadTokens(
            tuple(None if of_block[0] is None else KeysValues.cat(of_block) for of_block in blocks),
            torch.cat([part.mask for part in parts]),
        )


@dataclass(frozen=True)
class Prepared:
    """All of a condition that depends neither on x_t nor on t: computed once for all steps.

    Shape:
        temporal    (B, T, H)              controls and context, projected
        frame_mask  None or (B, T) bool    False on frames that are padding
    """

    temporal: Tensor
    tokens: ReadTokens
    frame_mask: Tensor | None
    rotation: Rotation


class FlowTransformer(nn.Module):
    """Velocity of the flow from noise to latents, given text, style, controls and known latents.

    Shape: x_t (B, T, D), t (B,) in [0, 1], Condition of B items and T frames -> velocity (B, T, D)
    """

    def __init__(self, config: FlowConfig) -> None:
        super().__init__()
        self.config = config
        self.recompute = False  # in training, blocks are computed again for the backward pass: less memory
        self.temporal = TemporalConditioner(config.condition_shape, config.sound_dim, config.width)
        self.tokens = TokenConditioner(config.text_dim, config.style_dim, config.width)
        self.project_in = nn.Linear(config.sound_dim, config.width, bias=False)
        self.time = TimeEmbedding(config.time_channels, config.width)
        self.modulation = nn.Linear(config.width, MODULATIONS * config.width)
        crossing = [index % config.cross_every == 0 for index in range(config.depth)]
        self.blocks: Sequence[Block] = nn.ModuleList(Block(config, cross) for cross in crossing)  # type: ignore[assignment]
        self.modulation_out = nn.Linear(config.width, 2 * config.width)
        self.project_out = nn.Linear(config.width, config.sound_dim)
        self.image = ImageHead(config) if config.image_dim else None
        self.summary = (
            TokenSummary(config.text_dim, config.style_dim, config.width, config.text_adapter)
            if config.token_summary
            else None
        )
        self.style = None if config.style is None else StyleConditioner(config.style, config.style_dim)
        for layer in (self.modulation, self.modulation_out, self.project_out):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    @property
    def dtype(self) -> torch.dtype:
        """That of the weights with which the steps of a solver are computed."""
        return self.project_in.weight.dtype

    def compute_in(self, dtype: torch.dtype) -> FlowTransformer:
        """Hold the weights of the steps in `dtype`, for inference; returns itself.

        What is computed once a clip, the embedding of the time and the velocity stay in float32.
        """
        for part in (self.project_in, *self.blocks, self.project_out):
            part.to(dtype)
        if self.image is not None:
            self.image.compute_in(dtype)
        return self

    def read_tokens(self, condition: Condition) -> ReadTokens:
        """Keys and values of the text and the style."""
        tokens, mask = self.tokens(condition)
        tokens = tokens.to(self.dtype)
        return ReadTokens(tuple(block.keys_values(tokens) for block in self.blocks), mask[:, None, None])

    def prepare(
        self, condition: Condition, frame_mask: Tensor | None = None, tokens: ReadTokens | None = None
    ) -> Prepared:
        """What the solver computes once a clip.

        frame_mask (B, T): False where a clip is padded. tokens: `read_tokens` of the condition, where
        they are at hand.
        """
        if frame_mask is not None and frame_mask.shape != condition.context_mask.shape:
            raise ValueError(
                f"frame_mask must be {tuple(condition.context_mask.shape)}, got {tuple(frame_mask.shape)}"
            )
        head_dim = self.config.width // self.config.heads
        tokens = self.read_tokens(condition) if tokens is None else tokens
        temporal = self.temporal(condition)
        if self.summary is not None:
            temporal = temporal + self.summary(condition)
        return Prepared(
            temporal=temporal.to(self.dtype),
            tokens=tokens,
            frame_mask=frame_mask,
            rotation=rotation(condition.n_frames, head_dim, temporal.device, self.dtype),
        )

    def velocity(self, x_t: Tensor, t: Tensor, prepared: Prepared) -> Tensor:
        """Velocity (B, T, D) at x_t (B, T, D) and t (B,); ValueError where they do not fit together."""
        batch_size, n_frames = prepared.temporal.shape[:2]
        if x_t.shape != (batch_size, n_frames, self.config.latent_dim) or t.shape != (batch_size,):
            raise ValueError(
                f"x_t must be {(batch_size, n_frames, self.config.latent_dim)} and t {(batch_size,)}, "
                f"got {tuple(x_t.shape)} and {tuple(t.shape)}"
            )
        time = self.time(t)  # (B, H)
        with torch.autocast(x_t.device.type, enabled=False):
            modulation = self.modulation(time).unflatten(-1, (MODULATIONS, -1))  # (B, 6, H)
            shift, scale = self.modulation_out(time).unsqueeze(1).chunk(2, dim=-1)  # (B, 1, H)
        modulation, shift, scale = (part.to(self.dtype) for part in (modulation, shift, scale))
        mask = prepared.frame_mask
        key_mask = None if mask is None else mask[:, None, None]  # (B, 1, 1, T)
        frames = None if mask is None else mask.unsqueeze(-1)  # (B, T, 1)
        sound_t, image_t = x_t.split((self.config.sound_dim, self.config.image_dim), dim=-1)
        # under autocast the weights are in float32, and the residual stream stays there too
        x = (self.project_in(sound_t.to(self.dtype)) + prepared.temporal).to(self.dtype)
        recompute = self.recompute and torch.is_grad_enabled()
        tokens = prepared.tokens
        for block, keys_values in zip(self.blocks, tokens.keys_values, strict=True):
            inputs = (x, modulation, prepared.rotation, key_mask, frames, keys_values, tokens.mask)
            x = checkpoint(block, *inputs, use_reentrant=False) if recompute else block(*inputs)
        hidden = modulate(x, shift, scale)
        velocity: Tensor = self.project_out(hidden).float()
        if self.image is None:
            return velocity
        image = self.image(image_t, t, hidden, time, prepared.rotation, key_mask, frames)
        return torch.cat([velocity, image], dim=-1)

    def forward(
        self, x_t: Tensor, t: Tensor, condition: Condition, frame_mask: Tensor | None = None
    ) -> Tensor:
        return self.velocity(x_t, t, self.prepare(condition, frame_mask))
