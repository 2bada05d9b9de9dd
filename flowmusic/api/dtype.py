"""In which floating-point numbers a model generates: what the device multiplies fast, and correctly."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from torch import nn

AUTO = "auto"
DTYPES = (AUTO, "float32", "bfloat16", "float16")
"""What `--dtype` takes."""


def generation_dtype(asked: str, device: torch.device, parts: tuple[nn.Module, ...]) -> torch.dtype:
    """The type in which the steps of the solver and the decoder's layers are computed on a device.

    'auto' is bfloat16 where the hardware multiplies it and every kind of layer in `parts` comes out right in
    it (checked by numbers in a tenth of a second), float32 everywhere else. One machine always chooses alike.

    Raises:
        ValueError: `asked` is no type, or one that this device does not compute in, or not correctly.
    """
    import torch

    if asked not in DTYPES:
        raise ValueError(f"dtype must be one of {', '.join(DTYPES)}, got {asked!r}")
    if asked == "float32":
        return torch.float32
    dtype = torch.bfloat16 if asked == AUTO else getattr(torch, asked)
    assert isinstance(dtype, torch.dtype)
    why = _why_not(dtype, device, parts)
    if why is None:
        return dtype
    if asked == AUTO:
        return torch.float32
    raise ValueError(f"dtype is {asked}, but {why}: use float32, or auto")


def _why_not(dtype: torch.dtype, device: torch.device, parts: tuple[nn.Module, ...]) -> str | None:
    """Half a sentence on why a device should not compute in a type; None where it should."""
    import torch

    from features.precision import cpu_has_bf16, why_wrong

    if device.type == "cpu" and not (dtype == torch.bfloat16 and cpu_has_bf16()):
        return f"this CPU does not multiply {_name(dtype)}"
    if device.type == "cuda" and dtype == torch.bfloat16 and not torch.cuda.is_bf16_supported(False):
        return f"{torch.cuda.get_device_name(device)} does not multiply bfloat16"
    if device.type == "mps" and dtype == torch.bfloat16:
        return "not every Apple GPU multiplies bfloat16"
    reasons = (why_wrong(part, dtype, str(device)) for part in parts)
    return next((reason for reason in reasons if reason is not None), None)


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
