"""A small flow model whose every weight matters, and conditions for it."""

from __future__ import annotations

import pytest
import torch

from flowmusic.conditioning.condition import Condition
from flowmusic.conditioning.style import StyleTokens
from flowmusic.conditioning.text import TextTokens
from flowmusic.model.config import FlowConfig
from flowmusic.model.transformer import FlowTransformer

CONFIG = FlowConfig(
    latent_dim=12,
    width=32,
    depth=3,
    heads=2,
    text_dim=16,
    style_dim=8,
    time_channels=32,
    cross_every=2,
    token_summary=True,
    text_adapter=24,
)


@pytest.fixture
def config() -> FlowConfig:
    return CONFIG


@pytest.fixture
def model() -> FlowTransformer:
    """Weights that start at zero (gates, nulls, the output) are moved, or nothing would be tested."""
    torch.manual_seed(0)
    model = FlowTransformer(CONFIG).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.15 * torch.randn_like(parameter))
    return model.requires_grad_(False)


@pytest.fixture
def condition() -> Condition:
    """Three items of 20 frames: texts of 5, 2 and no tokens, styles of no, 3 and 1; item 1 has context."""
    generator = torch.Generator().manual_seed(1)
    null = Condition.null(3, 20, CONFIG.condition_shape)
    values = {name: torch.rand(null.get(name).shape, generator=generator) for name in null.names}
    masks = {f"{name}_mask": torch.ones_like(null.mask(name)) for name in null.names}
    text = TextTokens(torch.randn(3, 5, 16, generator=generator), lengths_mask([5, 2, 0], 5))
    style = StyleTokens(torch.randn(3, 3, 8, generator=generator), lengths_mask([0, 3, 1], 3))
    known = torch.zeros(3, 20, dtype=torch.bool)
    known[1, 4:9] = True
    return null.having(**values, **masks).with_tokens(text, style).with_context(values["context"], known)


def lengths_mask(lengths: list[int], longest: int) -> torch.Tensor:
    """(B, longest) bool: True on the first of each length."""
    return torch.arange(longest)[None] < torch.tensor(lengths)[:, None]
