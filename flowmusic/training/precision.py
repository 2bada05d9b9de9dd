"""Which precisions this hardware computes in, and computes rightly."""

from __future__ import annotations

import torch
from torch import nn

from features.precision import cpu_has_bf16, why_wrong

PRECISIONS = ("32-true", "bf16-mixed", "16-mixed")
"""What a training may run in: weights, average and moments of the optimiser stay in 32 bits."""


def check_precision(precision: str, device: str, net: nn.Module) -> None:
    """Check that training supports a precision and that the hardware computes `net` in it, fast and right.

    Layers are checked forward and backward, one of each kind, by numbers (`features.precision`).

    Raises:
        ValueError: it does not.
    """
    if precision not in PRECISIONS:
        raise ValueError(
            f"trainer.precision must be one of {', '.join(PRECISIONS)}, got {precision!r}: the weights and "
            "their average are kept in 32 bits, because small updates are lost in 16"
        )
    if precision == "32-true":
        return
    is_bf16 = precision.startswith("bf16")
    why = None
    if device == "cpu" and not (is_bf16 and cpu_has_bf16()):
        why = "this CPU does not compute in it (bf16 needs avx512_bf16 or amx_bf16, else it is far slower)"
    elif device == "cuda" and is_bf16 and not torch.cuda.is_bf16_supported(False):
        why = f"{torch.cuda.get_device_name()} does not compute in bfloat16"
    elif device in ("cpu", "cuda"):
        why = why_wrong(net, torch.bfloat16 if is_bf16 else torch.float16, device, gradients=True)
    if why is not None:
        raise ValueError(f"trainer.precision is {precision!r}, but {why}: use --trainer.precision 32-true")
