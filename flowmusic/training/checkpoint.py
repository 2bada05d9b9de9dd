"""Atomic writing of weights and training states; nothing here loads a pickle."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from flowmusic.training.ema import Ema


def _replace_atomically(path: Path, partial: str) -> None:
    Path(partial).chmod(0o644)
    os.replace(partial, path)


def save_tensors(path: Path, tensors: Mapping[str, Tensor], dtype: torch.dtype = torch.float32) -> None:
    """Write safetensors, whole or not at all; floating tensors are cast to `dtype`."""
    from safetensors.torch import save_file

    path.parent.mkdir(parents=True, exist_ok=True)
    handle, partial = tempfile.mkstemp(dir=path.parent, prefix=f"partial-{path.stem}-", suffix=path.suffix)
    os.close(handle)
    cast = {
        key: (t.to(dtype) if t.is_floating_point() else t).contiguous().clone() for key, t in tensors.items()
    }
    try:
        save_file(cast, partial)
        _replace_atomically(path, partial)
    finally:
        Path(partial).unlink(missing_ok=True)


def save_training_state(
    path: Path, model: nn.Module, optimiser: torch.optim.Optimizer, ema: Ema, step: int
) -> None:
    """Write all that is needed to go on with training."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, partial = tempfile.mkstemp(dir=path.parent, prefix=f"partial-{path.stem}-", suffix=path.suffix)
    os.close(handle)
    try:
        state = {
            "model": model.state_dict(),
            "optimiser": optimiser.state_dict(),
            "ema": ema.shadow,
            "step": step,
        }
        torch.save(state, partial)
        _replace_atomically(path, partial)
    finally:
        Path(partial).unlink(missing_ok=True)


def load_training_state(path: Path, model: nn.Module, optimiser: torch.optim.Optimizer, ema: Ema) -> int:
    """Restore what `save_training_state` wrote; returns the step to go on from, 0 without a file."""
    if not path.is_file():
        return 0
    state = torch.load(path, map_location="cpu", weights_only=True)
    model.load_state_dict(state["model"])
    optimiser.load_state_dict(state["optimiser"])
    ema.shadow, ema.updates = state["ema"], int(state["step"])
    return int(state["step"])
