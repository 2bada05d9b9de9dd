"""Which precisions this hardware computes in."""

from __future__ import annotations

import torch


def check_precision(precision: str, device: str) -> None:
    """ValueError where 16-bit floats are asked for and the hardware does not compute with them."""
    if "16" not in precision:
        return
    if device == "cpu":
        if not precision.startswith("bf16") or not cpu_has_bf16():
            raise ValueError(
                f"trainer.precision is {precision!r}, but this CPU does not compute in it (bf16-mixed needs "
                "avx512_bf16 or amx_bf16, else it is far slower): use --trainer.precision 32-true"
            )
    elif device == "cuda" and precision.startswith("bf16") and not torch.cuda.is_bf16_supported(False):
        raise ValueError(
            f"trainer.precision is {precision!r}, but {torch.cuda.get_device_name()} does not compute in "
            "bfloat16: use --trainer.precision 32-true"
        )


def cpu_has_bf16() -> bool:
    """Whether the CPU multiplies bfloat16 itself; torch emulates it elsewhere, about 100 times slower."""
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
