"""A tiny language model with random weights."""

from __future__ import annotations

import pytest
import torch

from flowmusic.lm.config import LmConfig
from flowmusic.lm.transformer import TokenTransformer


def config(pattern: str = "delay", **values: object) -> LmConfig:
    shape: dict[str, object] = {
        "latent_dim": 8,
        "image_dim": 2,
        "codebooks": 3,
        "codes": 16,
        "width": 32,
        "depth": 2,
        "heads": 2,
        "depth_width": 16,
        "depth_heads": 2,
        "text_dim": 12,
        "style_dim": 8,
    }
    return LmConfig.from_dict(shape | {"pattern": pattern} | values)


@pytest.fixture(params=["delay", "depth"])
def model(request: pytest.FixtureRequest) -> TokenTransformer:
    """Of both patterns, with codebooks and conditions that mean something."""
    torch.manual_seed(0)
    net = TokenTransformer(config(request.param)).eval()
    torch.nn.init.normal_(net.latents.sound)
    torch.nn.init.normal_(net.latents.image)
    torch.nn.init.normal_(net.embed)
    heads = net.heads if net.within is None else net.within.heads
    assert heads is not None
    torch.nn.init.normal_(heads)  # else all codes are about as likely
    for parameter in net.parameters():  # zeros at the start of training would hide what is wrong
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.2)
    return net
