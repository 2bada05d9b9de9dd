"""Training of the style conditioner beside the flow: what keeps its codes in use and about style."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from flowmusic.conditioning.style import StyleTokens
from flowmusic.conditioning.style_encoder import StyleConditioner, StyleFeatures

TEMPERATURE = 0.2
COMMITMENT = 0.05


def encode_styles(
    conditioner: StyleConditioner, pairs: StyleFeatures, generator: torch.Generator
) -> tuple[StyleTokens, Tensor]:
    """Style tokens of B items and the conditioner's own loss, from (B excerpts, then B others) of B songs.

    In training each excerpt may use 1 to all codebooks at random (quantiser dropout). The loss of a flow
    model says little about style at first, and the codes would collapse before it does; so the conditioner
    also has to tell from two excerpts whether they are of one song. Outside training the loss is zero; so
    it is where all songs of a batch are too short for an excerpt, and then no item has tokens.
    """
    n_items = pairs.mask.shape[0] // 2
    if not bool(pairs.mask.any()):
        none = pairs.values.new_zeros(n_items, 0, conditioner.project_in.out_features)
        if conditioner.training:  # other processes may have vectors, and wait for what this one adds
            conditioner.quantiser(pairs.values.new_zeros(0, none.shape[2]), None, generator)
        # every parameter takes part, with a gradient of zero: DDP waits for all of them
        parts = [parameter.flatten()[:0].sum() for parameter in conditioner.parameters()]
        return StyleTokens(none, none.new_zeros(n_items, 0, dtype=torch.bool)), torch.stack(parts).sum()
    if not conditioner.training:
        first = StyleFeatures(pairs.values[:n_items], pairs.mask[:n_items])
        return conditioner(first).tokens, torch.zeros(())
    codebooks = torch.randint(1, conditioner.config.codebooks + 1, (2 * n_items,), generator=generator)
    encoding = conditioner(pairs, codebooks, generator)
    tokens, mask = encoding.tokens.tokens, encoding.tokens.mask
    loss = contrast(tokens, mask) + COMMITMENT * encoding.commitment
    return StyleTokens(tokens[:n_items], mask[:n_items]), loss


def contrast(tokens: Tensor, mask: Tensor) -> Tensor:
    """InfoNCE (arXiv 1807.03748, eq. 4) of the mean tokens (2 B, M, N): which of the second half is of the
    same song as each of the first, and the other way round. Items without an excerpt are left out; where
    none has one it is zero.
    """
    given = mask.any(dim=1).reshape(2, -1).all(dim=0)  # (B,)
    counts = mask.sum(dim=1, keepdim=True).clamp(min=1)
    means = functional.normalize((tokens * mask.unsqueeze(-1)).sum(dim=1) / counts, dim=-1)  # (2 B, N)
    first, second = means.reshape(2, -1, means.shape[1])[:, given]
    if not len(first):
        return first.sum()
    alike = first @ second.T / TEMPERATURE  # (B, B)
    own = torch.arange(alike.shape[0], device=alike.device)
    return (functional.cross_entropy(alike, own) + functional.cross_entropy(alike.T, own)) / 2
