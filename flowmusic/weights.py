"""Files of weights: read, checked against what a module expects, and written whole or not at all."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from features.tensor_files import read_tensors, write_tensors

CONFIG_FILE = "config.json"
"""Where a model states its shape."""


def read_weights(path: Path) -> dict[str, Tensor]:
    """Tensors of a safetensors file in float32. ValueError, naming it, where it is something else."""
    tensors, _ = read_tensors(path)
    return {key: value.float() if value.is_floating_point() else value for key, value in tensors.items()}


def check_weights(expected: Mapping[str, Tensor], found: Mapping[str, Tensor], path: Path) -> None:
    """ValueError, naming file and key, unless both hold the same keys and shapes, all finite."""
    for key, value in expected.items():
        if key not in found:
            raise ValueError(f"{path} lacks the weights {key!r} that {CONFIG_FILE} asks for")
        if found[key].shape != value.shape:
            shapes = f"{tuple(found[key].shape)}; {CONFIG_FILE} asks for {tuple(value.shape)}"
            raise ValueError(f"{path} holds {key!r} of shape {shapes}")
        if not torch.isfinite(found[key].sum()):  # one pass: a sum of finite weights is finite
            raise ValueError(f"{path} holds NaN or infinite numbers in {key!r}")
    unknown = sorted(set(found) - set(expected))
    if unknown:
        raise ValueError(f"{path} holds weights {unknown[0]!r} that the model in {CONFIG_FILE} does not have")


def load_exactly(module: nn.Module, weights: Mapping[str, Tensor], path: Path) -> None:
    """Fill `module` with weights that were read from `path`; ValueError unless they are exactly its own."""
    check_weights(module.state_dict(), weights, path)
    module.load_state_dict(weights)


def save_tensors(path: Path, tensors: Mapping[str, Tensor], dtype: torch.dtype = torch.float32) -> None:
    """Write safetensors, whole or not at all; floating tensors are cast to `dtype`."""
    write_tensors(path, {key: _stored(value, dtype) for key, value in tensors.items()})


def _stored(value: Tensor, dtype: torch.dtype) -> Tensor:
    value = value.detach().cpu()
    return (value.to(dtype) if value.is_floating_point() else value).contiguous().clone()
