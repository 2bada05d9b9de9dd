"""Attention: rotary positions, self-attention over frames, cross-attention to tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

ROPE_THETA = 10000.0


@dataclass(frozen=True)
class Rotation:
    """Cosines and sines of the rotary angles, each (T, 1, head_dim / 2)."""

    cosines: Tensor
    sines: Tensor


def rotation(
    n_frames: int, head_dim: int, device: torch.device, dtype: torch.dtype = torch.float32
) -> Rotation:
    """Angles frame * theta^(-2 i / head_dim) of RoFormer (arXiv 2104.09864, eq. 15)."""
    # float64: at long clips the angle of the fastest pair would lose its fraction in float32; on the CPU,
    # because Apple's GPUs (MPS) have no float64
    powers = torch.arange(0, head_dim, 2, dtype=torch.float64, device="cpu") / head_dim
    angles = torch.arange(n_frames, dtype=torch.float64, device="cpu")[:, None] * ROPE_THETA**-powers
    cosines, sines = (part.to(dtype).to(device)[:, None] for part in (angles.cos(), angles.sin()))
    return Rotation(cosines, sines)  # (T, 1, head_dim / 2)


def rotate(x: Tensor, by: Rotation) -> Tensor:
    """Turn the pairs (first half, second half) of x (..., T, heads, head_dim) by their angles."""
    first, second = x.chunk(2, dim=-1)
    cosines, sines = by.cosines.to(x.dtype), by.sines.to(x.dtype)
    return torch.cat([first * cosines - second * sines, second * cosines + first * sines], dim=-1)


def attend(q: Tensor, k: Tensor, v: Tensor, key_mask: Tensor | None) -> Tensor:
    """softmax(q k' / sqrt(head_dim)) v of (B, heads, T, head_dim); a key_mask is False where none may look.

    In training on a CPU in bfloat16 two plain products are twice as fast, forward and backward, as torch's
    fused kernel (16 x 5 heads x 250 frames on a Zen 4 core: 38 against 76 ms; 12 x 5 x 200 on one with AMX:
    14 against 27). Forward alone the fused one is twice as fast.
    """
    if q.device.type != "cpu" or q.dtype != torch.bfloat16 or not torch.is_grad_enabled():
        return functional.scaled_dot_product_attention(q, k, v, attn_mask=key_mask)
    scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)  # (B, heads, T, keys)
    if key_mask is not None:
        scores = scores.masked_fill(~key_mask, -torch.inf)
    extracted: Tensor = scores.softmax(dim=-1) @ v
    return extracted


class SelfAttention(nn.Module):
    """Every frame attends to every frame; queries and keys are normalised (arXiv 2302.05442, §2.1).

    Shape: x (B, T, H), key_mask None or (B, 1, 1, T) bool -> (B, T, H)
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.to_qkv = nn.Linear(width, 3 * width)
        self.norm_q = nn.LayerNorm(width // heads, bias=False)
        self.norm_k = nn.LayerNorm(width // heads, bias=False)
        self.to_out = nn.Linear(width, width)

    def forward(self, x: Tensor, by: Rotation, key_mask: Tensor | None) -> Tensor:
        qkv = self.to_qkv(x).unflatten(-1, (3, self.heads, -1))  # (B, T, 3, heads, head_dim)
        q, k, v = qkv.unbind(2)
        q, k = rotate(self.norm_q(q), by), rotate(self.norm_k(k), by)
        extracted = attend(
            q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), key_mask
        )  # (B, heads, T, head_dim)
        out: Tensor = self.to_out(extracted.transpose(1, 2).flatten(2))  # (B, T, H)
        return out


@dataclass(frozen=True)
class KeysValues:
    """Keys and values of the tokens of one cross-attention, each (B, heads, tokens, head_dim)."""

    keys: Tensor
    values: Tensor

    @staticmethod
    def cat(parts: Sequence[KeysValues]) -> KeysValues:
        """Join along the batch."""
        return KeysValues(
            torch.cat([part.keys for part in parts]), torch.cat([part.values for part in parts])
        )


class CrossAttention(nn.Module):
    """Every frame attends to the tokens of text and style. The output starts at zero.

    Shape: x (B, T, H), tokens (B, tokens, H), key_mask (B, 1, 1, tokens) bool -> (B, T, H)
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.to_q = nn.Linear(width, width)
        self.to_kv = nn.Linear(width, 2 * width)
        self.norm_q = nn.LayerNorm(width // heads, bias=False)
        self.norm_k = nn.LayerNorm(width // heads, bias=False)
        self.to_out = nn.Linear(width, width)
        nn.init.zeros_(self.to_out.weight)
        nn.init.zeros_(self.to_out.bias)

    def prepare(self, tokens: Tensor) -> KeysValues:
        """Keys and values depend on the tokens alone: computed once a clip, used at every step."""
        keys, values = self.to_kv(tokens).unflatten(-1, (2, self.heads, -1)).unbind(2)
        return KeysValues(self.norm_k(keys).transpose(1, 2), values.transpose(1, 2))

    def forward(self, x: Tensor, tokens: KeysValues, key_mask: Tensor) -> Tensor:
        q = self.norm_q(self.to_q(x).unflatten(-1, (self.heads, -1))).transpose(1, 2)
        extracted = attend(q, tokens.keys, tokens.values, key_mask)
        out: Tensor = self.to_out(extracted.transpose(1, 2).flatten(2))  # (B, T, H)
        return out
