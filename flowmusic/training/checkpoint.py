"""Atomic writing of weights and training states; nothing here loads a pickle."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from features.files import whole_file
from flowmusic.training.ema import Ema


def save_tensors(path: Path, tensors: Mapping[str, Tensor], dtype: torch.dtype = torch.float32) -> None:
    """Write safetensors; floating tensors are cast to `dtype`."""
    from safetensors.torch import save_file

    cast = {
        key: (t.to(dtype) if t.is_floating_point() else t).contiguous().clone() for key, t in tensors.items()
    }
    with whole_file(path) as partial:
        save_file(cast, partial)


def save_training_state(
    path: Path, model: nn.Module, optimiser: torch.optim.Optimizer, ema: Ema, step: int
) -> None:
    """Write all that is needed to go on with training."""
    state = {
        "model": model.state_dict(),
        "optimiser": optimiser.state_dict(),
        "ema": ema.shadow,
        "ema_joined": ema.joined,
        "step": step,
    }
    with whole_file(path) as partial:
        torch.save(state, partial)


def load_training_state(path: Path, model: nn.Module, optimiser: torch.optim.Optimizer, ema: Ema) -> int:
    """Restore what `save_training_state` wrote; returns the step to go on from, 0 without a file."""
    if not path.is_file():
        return 0
    state = torch.load(path, map_location="cpu", weights_only=True)
    model.load_state_dict(state["model"])
    optimiser.load_state_dict(state["optimiser"])
    ema.shadow, ema.updates, ema.joined = state["ema"], int(state["step"]), state.get("ema_joined", {})
    return int(state["step"])
