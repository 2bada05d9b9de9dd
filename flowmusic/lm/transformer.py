"""The token transformer: logits of the tokens of a frame, given those of earlier frames and conditions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from flowmusic.attention import KeysValues, Rotation, rotation
from flowmusic.conditioning.condition import Condition
from flowmusic.conditioning.style_encoder import StyleConditioner
from flowmusic.conditioning.temporal import TemporalConditioner
from flowmusic.conditioning.tokens import TokenConditioner, TokenSummary
from flowmusic.lm.blocks import Cache, CausalBlock
from flowmusic.lm.config import LmConfig
from flowmusic.lm.tokens import LatentTokens


@dataclass(frozen=True)
class Prepared:
    """All of a condition, as the model reads it: computed once a clip.

    Shape:
        temporal    (B, T, H)   what each frame knows: controls around it, known latents, mean tokens
        keys_values one per block, None where a block has no cross-attention
        mask        (B, 1, 1, L + M + 2) bool
    """

    temporal: Tensor
    keys_values: tuple[KeysValues | None, ...]
    mask: Tensor
    rotation: Rotation

    def positions(self, start: int, end: int) -> Rotation:
        """The rotation of some of its frames."""
        return Rotation(self.rotation.cosines[start:end], self.rotation.sines[start:end])


class TokenTransformer(nn.Module):
    """Logits of K tokens a frame. Controls are known in advance: a frame also sees later ones.

    The tokens of a frame are predicted by codebook, in the order of `LatentTokens`, by the pattern of the
    configuration. With the delay pattern, step s of the sequence holds token k of frame s - k.

    Shape: codes (B, T, K), Condition of B items and T frames -> logits (B, T, K, codes)
    """

    def __init__(self, config: LmConfig) -> None:
        super().__init__()
        self.config = config
        self.recompute = False  # in training, blocks are computed again for the backward pass: less memory
        n_tokens, width = config.tokens_per_frame, config.width
        self.latents = LatentTokens(config)
        self.temporal = TemporalConditioner(config.condition_shape, config.sound_dim, width)
        self.around = nn.Conv1d(width, width, config.lookahead, padding=config.lookahead // 2, groups=width)
        self.tokens = TokenConditioner(config.text_dim, config.style_dim, width)
        self.summary = TokenSummary(config.text_dim, config.style_dim, width)
        # one code more: of a frame that there is not, before the first one
        self.embed = nn.Parameter(0.02 * torch.randn(n_tokens, config.codes + 1, width))
        self.blocks: Sequence[CausalBlock] = nn.ModuleList(  # type: ignore[assignment]
            CausalBlock(width, config.heads, config.hidden, index % config.cross_every == 0, config.window)
            for index in range(config.depth)
        )
        self.norm = nn.LayerNorm(width)
        self.within = WithinFrame(config) if config.pattern == "depth" else None
        self.heads = None if self.within else nn.Parameter(0.02 * torch.randn(n_tokens, config.codes, width))
        self.style = None if config.style is None else StyleConditioner(config.style, config.style_dim)

    @property
    def n_steps_more(self) -> int:
        """By how many steps the sequence is longer than the clip has frames."""
        return 0 if self.within is not None else self.config.tokens_per_frame - 1

    def prepare(self, condition: Condition) -> Prepared:
        """What generation computes once a clip."""
        temporal = self.temporal(condition)
        temporal = temporal + self.around(temporal.transpose(1, 2)).transpose(1, 2) + self.summary(condition)
        more = self.n_steps_more
        if more:  # steps after the clip's end, which finish its last frames
            temporal = torch.cat([temporal, temporal[:, -1:].expand(-1, more, -1)], dim=1)
        tokens, mask = self.tokens(condition)
        head_dim = self.config.width // self.config.heads
        return Prepared(
            temporal,
            tuple(block.keys_values(tokens) for block in self.blocks),
            mask[:, None, None],
            rotation(temporal.shape[1], head_dim, temporal.device),
        )

    def forward(self, codes: Tensor, condition: Condition) -> Tensor:
        """Logits (B, T, K, codes) of codes (B, T, K), each given those before it."""
        prepared = self.prepare(condition)
        if self.within is not None:
            states = self.states(self.before(codes), prepared)  # (B, T, H)
            return self.within(states, codes)
        # after K - 1 steps the last token of the last frame is predicted
        delayed = delay(codes, self.config.codes)  # (B, T + K - 1, K)
        states = self.states(self.before(delayed), prepared)
        return undelay(self.frame_logits(states), codes.shape[1])

    def losses(self, codes: Tensor, condition: Condition) -> Tensor:
        """Cross entropy in nats of each of the codes (B, T, K), given those before it: (B, T, K), float32."""
        if self.within is not None:
            logits = self(codes, condition)
            return functional.cross_entropy(
                logits.flatten(0, 2).float(), codes.flatten(), reduction="none"
            ).view_as(codes)
        # in the order of the steps: to gather logits by frame costs a copy of all of them for each codebook
        delayed = delay(codes, self.config.codes)  # (B, T + K - 1, K)
        logits = self.frame_logits(self.states(self.before(delayed), self.prepare(condition)))
        losses = functional.cross_entropy(
            logits.flatten(0, 2).float(), delayed.flatten(), ignore_index=self.config.codes, reduction="none"
        )
        return undelay(losses.view_as(delayed), codes.shape[1])

    def before(self, codes: Tensor) -> Tensor:
        """The codes (B, T, K) that each step sees: those of the step before it, and none at first."""
        start = torch.full_like(codes[:, :1], self.config.codes)
        return torch.cat([start, codes[:, :-1]], dim=1)

    def states(
        self, seen: Tensor, prepared: Prepared, caches: Sequence[Cache] | None = None, start: int = 0
    ) -> Tensor:
        """Hidden states (B, S, H) of the steps from `start`, of which each sees codes (B, S, K)."""
        end = start + seen.shape[1]
        rows = seen + torch.arange(seen.shape[2], device=seen.device) * self.embed.shape[1]
        embedded = functional.embedding_bag(rows.flatten(0, 1), self.embed.flatten(0, 1), mode="sum")
        x = prepared.temporal[:, start:end] + embedded.view(*seen.shape[:2], -1)
        by = prepared.positions(start, end)
        recompute = self.recompute and torch.is_grad_enabled()
        for index, (block, tokens) in enumerate(zip(self.blocks, prepared.keys_values, strict=True)):
            inputs = (x, by, tokens, prepared.mask, None if caches is None else caches[index])
            x = checkpoint(block, *inputs, use_reentrant=False) if recompute else block(*inputs)
        hidden: Tensor = self.norm(x)
        return hidden

    def frame_logits(self, states: Tensor) -> Tensor:
        """(B, S, H) -> (B, S, K, codes), of the delay pattern."""
        assert self.heads is not None
        logits = functional.linear(states, self.heads.flatten(0, 1))  # one product is faster than K
        return logits.unflatten(-1, self.heads.shape[:2])

    def empty_caches(self, prepared: Prepared) -> list[Cache]:
        """A cache of each block for all steps of the clip."""
        batch_size, n_steps, _ = prepared.temporal.shape
        return [block.empty_cache(batch_size, n_steps, prepared.temporal) for block in self.blocks]


class WithinFrame(nn.Module):
    """The tokens of one frame, one after the other: a small transformer over codebooks.

    Shape: states (B, T, H), codes (B, T, K) -> logits (B, T, K, codes)
    """

    cosines: Tensor
    sines: Tensor

    def __init__(self, config: LmConfig) -> None:
        super().__init__()
        n_tokens, width = config.tokens_per_frame, config.depth_width
        self.project = nn.Linear(config.width, width)
        self.embed = nn.Parameter(0.02 * torch.randn(n_tokens - 1, config.codes, width))
        self.position = nn.Parameter(0.02 * torch.randn(n_tokens, width))
        self.blocks: Sequence[CausalBlock] = nn.ModuleList(  # type: ignore[assignment]
            CausalBlock(width, config.depth_heads, 3 * width) for _ in range(config.depth_blocks)
        )
        self.norm = nn.LayerNorm(width)
        self.heads = nn.Parameter(0.02 * torch.randn(n_tokens, config.codes, width))
        # of all tokens of a frame, once: a clip takes thousands of steps
        by = rotation(n_tokens, width // config.depth_heads, torch.device("cpu"))
        self.register_buffer("cosines", by.cosines, persistent=False)
        self.register_buffer("sines", by.sines, persistent=False)

    def forward(self, states: Tensor, codes: Tensor) -> Tensor:
        n_tokens = codes.shape[2]
        embedded = [self.embed[index][codes[..., index]] for index in range(n_tokens - 1)]
        earlier = torch.stack([torch.zeros_like(embedded[0]), *embedded], dim=2)  # (B, T, K, W)
        x = (self.project(states).unsqueeze(2) + earlier + self.position).flatten(0, 1)  # (B T, K, W)
        by = Rotation(self.cosines, self.sines)
        for block in self.blocks:
            x = block(x, by)
        logits = torch.einsum("nkw,kcw->nkc", self.norm(x), self.heads)
        return logits.unflatten(0, codes.shape[:2])

    def empty_caches(self, batch_size: int, like: Tensor) -> list[Cache]:
        """A cache of each block for the tokens of one frame."""
        return [block.empty_cache(batch_size, len(self.position), like) for block in self.blocks]

    def step(self, projected: Tensor, index: int, code: Tensor | None, caches: Sequence[Cache]) -> Tensor:
        """Logits (B, codes) of token `index` of a frame, after `code` (B,) of the one before it.

        projected (B, W) is the frame's state through `project`.
        """
        x = projected + self.position[index]
        if code is not None:
            x = x + self.embed[index - 1][code]
        x = x.unsqueeze(1)
        by = Rotation(self.cosines[index : index + 1], self.sines[index : index + 1])
        for block, cache in zip(self.blocks, caches, strict=True):
            x = block(x, by, cache=cache)
        logits: Tensor = self.norm(x)[:, 0] @ self.heads[index].T
        return logits


def delay(codes: Tensor, blank: float) -> Tensor:
    """Codes (B, T, K, ...) -> (B, T + K - 1, K, ...): token k stands k steps later; `blank` where there is
    none.
    """
    batch_size, n_frames, n_tokens = codes.shape[:3]
    delayed = codes.new_full((batch_size, n_frames + n_tokens - 1, *codes.shape[2:]), blank)
    for index in range(n_tokens):
        delayed[:, index : index + n_frames, index] = codes[:, :, index]
    return delayed


def undelay(values: Tensor, n_frames: int) -> Tensor:
    """(B, T + K - 1, K, ...) -> (B, T, K, ...): what `delay` did, undone."""
    n_tokens = values.shape[2]
    return torch.stack([values[:, index : index + n_frames, index] for index in range(n_tokens)], dim=2)
