"""Which precisions this hardware computes in, and computes rightly."""

from __future__ import annotations

import torch
from torch import nn

from features.precision import cpu_has_bf16, why_wrong


def check_precision(precision: str, device: str, net: nn.Module) -> None:
    """Check that the hardware computes `net` in a 16-bit precision, fast and with the right result.

    Layers are checked forward and backward, one of each kind, by numbers (`features.precision`).

    Raises:
        ValueError: it does not.
    """
    if "16" not in precision:
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
