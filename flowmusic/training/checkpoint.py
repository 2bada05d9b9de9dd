"""Atomic writing of weights."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from features.files import whole_file


def save_tensors(path: Path, tensors: Mapping[str, Tensor], dtype: torch.dtype = torch.float32) -> None:
    """Write safetensors; floating tensors are cast to `dtype`."""
    from safetensors.torch import save_file

    cast = {
        key: (t.to(dtype) if t.is_floating_point() else t).contiguous().clone() for key, t in tensors.items()
    }
    with whole_file(path) as partial:
        save_file(cast, partial)
