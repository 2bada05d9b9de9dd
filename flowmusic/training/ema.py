"""Exponential moving average of a model's parameters."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Ema:
    """`shadow` holds the averaged tensors by name; early on the average forgets faster."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        if not 0.0 <= decay < 1.0:
            raise ValueError(f"expected 0 <= decay < 1, got {decay}")
        self.decay, self.updates = decay, 0
        self.joined: dict[str, int] = {}  # tensors that came in later, and at which update
        self.shadow: dict[str, Tensor] = {name: t.detach().clone() for name, t in model.state_dict().items()}

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        self.updates += 1
        for name, tensor in model.state_dict().items():
            if tensor.is_floating_point():
                age = self.updates - self.joined.get(name, 0)
                decay = min(self.decay, (1 + age) / (10 + age))
                self.shadow[name].lerp_(tensor, 1.0 - decay)
            else:
                self.shadow[name].copy_(tensor)
