"""Reading of Lightning's checkpoints; no pickle is loaded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor


def read_checkpoint(path: Path) -> dict[str, Any]:
    """A checkpoint of ours. ValueError, naming the file, for anything else; no pickle is loaded."""
    if not path.is_file():
        raise ValueError(f"{path} is not a checkpoint: there is no such file")
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # the unpickler refuses a file in many ways
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ValueError(f"{path} cannot be read as a checkpoint: {reason}") from error
    if not isinstance(checkpoint, dict) or "flowmusic" not in checkpoint:
        raise ValueError(f"{path} is not a checkpoint that flowmusic fit wrote")
    return checkpoint


def averaged_weights(checkpoint: dict[str, Any]) -> dict[str, Tensor]:
    """The EMA of a checkpoint's net, without prefixes."""
    prefix = "ema.module."
    found = checkpoint["state_dict"]
    return {key.removeprefix(prefix): value.float() for key, value in found.items() if key.startswith(prefix)}
