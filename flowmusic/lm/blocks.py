"""Parts of the language model: causal attention with a cache of keys and values, one block."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from flowmusic.attention import CrossAttention, KeysValues, Rotation, attend, rotate


@dataclass
class Cache:
    """Keys and values of what was seen, each (B, heads, longest, head_dim), of which `length` are filled."""

    keys: Tensor
    values: Tensor
    length: int = 0

    def append(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Add those of further positions (B, heads, T, head_dim); gives all that are filled."""
        end = self.length + keys.shape[2]
        self.keys[:, :, self.length : end], self.values[:, :, self.length : end] = keys, values
        self.length = end
        return self.keys[:, :, :end], self.values[:, :, :end]


class CausalAttention(nn.Module):
    """Every position attends to itself and those just before it; queries and keys are normalised.

    window: how many positions that are, itself counted; None: all.

    Shape: x (B, T, H) -> (B, T, H). With a cache, x are the positions that follow those in it: one, or, where
    the cache is empty, any number.
    """

    def __init__(self, width: int, heads: int, window: int | None = None) -> None:
        super().__init__()
        self.heads, self.window = heads, window
        self.to_qkv = nn.Linear(width, 3 * width)
        self.norm_q = nn.LayerNorm(width // heads, bias=False)
        self.norm_k = nn.LayerNorm(width // heads, bias=False)
        self.to_out = nn.Linear(width, width)

    def forward(self, x: Tensor, by: Rotation, cache: Cache | None = None) -> Tensor:
        q, k, v = self.to_qkv(x).unflatten(-1, (3, self.heads, -1)).unbind(2)
        q, k = rotate(self.norm_q(q), by).transpose(1, 2), rotate(self.norm_k(k), by).transpose(1, 2)
        v = v.transpose(1, 2)
        n = x.shape[1]
        if cache is not None:
            k, v = cache.append(k, v)
        mask = None
        if n > 1:
            mask = torch.ones(n, k.shape[2], dtype=torch.bool, device=x.device).tril()
            if self.window is not None and self.window < n:
                mask = mask.triu(1 - self.window)
        elif self.window is not None:
            k, v = k[:, :, -self.window :], v[:, :, -self.window :]
        extracted = attend(q, k, v, mask)  # (B, heads, T, head_dim)
        out: Tensor = self.to_out(extracted.transpose(1, 2).flatten(2))
        return out


class CausalBlock(nn.Module):
    """Causal attention, in some blocks cross-attention to tokens, feed-forward; each after a layer norm."""

    def __init__(
        self, width: int, heads: int, hidden: int, with_tokens: bool = False, window: int | None = None
    ) -> None:
        super().__init__()
        self.norm_attention, self.norm_mlp = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = CausalAttention(width, heads, window)
        self.cross = CrossAttention(width, heads) if with_tokens else None
        self.expand, self.contract = nn.Linear(width, hidden), nn.Linear(hidden, width)

    def keys_values(self, tokens: Tensor) -> KeysValues | None:
        """Of tokens (B, tokens, H), for all frames; None in a block that does not attend to them."""
        return None if self.cross is None else self.cross.prepare(tokens)

    def forward(
        self,
        x: Tensor,
        by: Rotation,
        tokens: KeysValues | None = None,
        token_mask: Tensor | None = None,
        cache: Cache | None = None,
    ) -> Tensor:
        x = x + self.attention(self.norm_attention(x), by, cache)
        if self.cross is not None and tokens is not None and token_mask is not None:
            x = x + self.cross(functional.layer_norm(x, x.shape[-1:]), tokens, token_mask)
        out: Tensor = x + self.contract(functional.gelu(self.expand(self.norm_mlp(x))))
        return out

    def empty_cache(self, batch_size: int, longest: int, like: Tensor) -> Cache:
        """A cache for `longest` positions of a batch, of the device and type of `like`."""
        attention = self.attention
        size = (batch_size, attention.heads, longest, attention.to_out.in_features // attention.heads)
        return Cache(like.new_zeros(size), like.new_zeros(size))
