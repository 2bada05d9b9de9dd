"""Whether this machine computes a model's layers rightly in a 16-bit precision: found by numbers, not flags.

oneDNN of torch 2.13 on CPUs with AMX gives garbage for some bfloat16 convolutions of few input channels
(relative error 1.0), silently. So every kind of layer is computed in both precisions before it is used.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor, nn
from torch.nn import functional

logger = logging.getLogger(__name__)

TOLERANCE = 0.05
"""Largest relative error (RMS) that is rounding: bfloat16 gives about 0.003, wrong kernels about 1."""

_FUNCTIONS: dict[type[nn.Module], str] = {
    nn.Conv1d: "conv1d",
    nn.Conv2d: "conv2d",
    nn.Conv3d: "conv3d",
    nn.ConvTranspose1d: "conv_transpose1d",
    nn.ConvTranspose2d: "conv_transpose2d",
    nn.Linear: "linear",
}
_BATCH, _EXTENT, _OTHER_EXTENT = 2, 63, 15


@dataclass(frozen=True)
class Operation:
    """A layer without its values: the function of torch.nn.functional, its weight's shape, its settings.

    `settings` are the keyword arguments (stride, padding, dilation, groups) of a convolution.
    """

    function: str
    weight: tuple[int, ...]
    settings: tuple[tuple[str, object], ...] = ()

    @classmethod
    def of(cls, layer: nn.Module) -> Operation | None:
        """What a convolution or a linear layer computes; None for other layers."""
        name = next((name for kind, name in _FUNCTIONS.items() if isinstance(layer, kind)), None)
        if name is None:
            return None
        settings = {} if name == "linear" else {
            key: getattr(layer, key) for key in ("stride", "padding", "dilation", "groups")
        }  # fmt: skip
        assert isinstance(layer.weight, Tensor)
        return cls(name, tuple(layer.weight.shape), tuple(settings.items()))

    def __str__(self) -> str:
        return f"{self.function} with a weight of {' x '.join(map(str, self.weight))}"

    def input_shape(self) -> tuple[int, ...]:
        """(B, channels, ...) or (B, features): large enough for the kernels that real inputs take."""
        if self.function == "linear":
            return (_BATCH * _EXTENT, self.weight[1])
        groups = dict(self.settings)["groups"]
        assert isinstance(groups, int)
        channels = self.weight[0] if "transpose" in self.function else self.weight[1] * groups
        *others, last = self.weight[2:]
        return (_BATCH, channels, *(k if k == 1 else k + _OTHER_EXTENT for k in others), last + _EXTENT)

    def run(self, x: Tensor, weight: Tensor) -> Tensor:
        # looked up by name at each call: what is checked is what layers call
        y: Tensor = getattr(functional, self.function)(x, weight, **dict(self.settings))
        return y


PRODUCT = Operation("matmul", (_BATCH * _EXTENT, _BATCH * _EXTENT))
"""The product of two matrices, as attention computes it."""


@lru_cache(maxsize=1024)
def relative_error(operation: Operation, dtype: torch.dtype, device: str, gradients: bool) -> float:
    """Largest RMS error, relative to float32, of one operation's results on random numbers; inf for NaN.

    Both precisions get the same numbers, rounded to `dtype` beforehand. Images are tried contiguous and
    channels-last. With `gradients` those of input and weight count as well. Milliseconds, once a process.
    """
    generator = torch.Generator().manual_seed(0)
    product = operation is PRODUCT
    shape = operation.weight if product else operation.input_shape()
    values = [torch.randn(size, generator=generator) for size in (shape, operation.weight)]
    formats = [torch.contiguous_format] + ([torch.channels_last] if len(shape) == 4 else [])
    laid_out = [[value.to(device).contiguous(memory_format=layout) for value in values] for layout in formats]
    return max(_error(operation, values, dtype, gradients) for values in laid_out)


def errors_in_use(model: nn.Module, example: Tensor, dtype: torch.dtype) -> dict[Operation, float]:
    """Errors as of `relative_error`, of each layer on its input while `model` computes `example`.

    These are the very sizes and layouts in use; kernels are chosen by them.
    """
    errors: dict[Operation, float] = {}

    def compare(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        operation = Operation.of(layer)
        assert operation is not None and isinstance(layer.weight, Tensor)
        error = _error(operation, [inputs[0], layer.weight.detach()], dtype, False)
        errors[operation] = max(error, errors.get(operation, 0.0))

    layers = [layer for layer in model.modules() if Operation.of(layer) is not None]
    hooks = [layer.register_forward_hook(compare) for layer in layers]
    try:
        with torch.no_grad():
            model(example)
    finally:
        for hook in hooks:
            hook.remove()
    return errors


def _error(operation: Operation, values: list[Tensor], dtype: torch.dtype, gradients: bool) -> float:
    """Largest RMS error relative to float32; inf where NaN comes out."""
    rounded = [value.to(dtype) for value in values]
    found, exact = (_results(operation, rounded, kind, gradients) for kind in (dtype, torch.float32))
    pairs = zip(found, exact, strict=True)
    errors = [float((result - reference).norm() / reference.norm()) for result, reference in pairs]
    return max(error if error == error else float("inf") for error in errors)


def _results(operation: Operation, values: list[Tensor], dtype: torch.dtype, gradients: bool) -> list[Tensor]:
    """The output, and the gradients of its product with fixed numbers, in float32."""
    with torch.inference_mode(False), torch.set_grad_enabled(gradients), torch.autocast("cpu", enabled=False):
        x, weight = (value.to(dtype).requires_grad_(gradients) for value in values)
        y = torch.matmul(x, weight) if operation is PRODUCT else operation.run(x, weight)
        results = [y]
        if gradients:
            direction = torch.linspace(-1.0, 1.0, y.numel(), device=y.device).view_as(y)
            results += torch.autograd.grad(y, [x, weight], direction.to(dtype))
    return [result.detach().float() for result in results]


def wrong_operations(
    model: nn.Module,
    dtype: torch.dtype,
    device: str = "cpu",
    gradients: bool = False,
    example: Tensor | None = None,
) -> list[tuple[Operation, float]]:
    """The kinds of a model's convolutions and linear layers that come out wrong, with their relative errors.

    On random numbers, and on an `example` of the model's input if one is given. Products of matrices, which
    attention needs, are always among those that are checked.
    """
    found = {operation for layer in model.modules() if (operation := Operation.of(layer)) is not None}
    in_use = {} if example is None else errors_in_use(model, example, dtype)
    errors = [
        (operation, max(relative_error(operation, dtype, device, gradients), in_use.get(operation, 0.0)))
        for operation in (*sorted(found, key=str), PRODUCT)
    ]
    return [(operation, error) for operation, error in errors if error > TOLERANCE]


def why_wrong(
    model: nn.Module,
    dtype: torch.dtype,
    device: str = "cpu",
    gradients: bool = False,
    example: Tensor | None = None,
) -> str | None:
    """Half a sentence on what this machine computes wrongly in `dtype`; None where all is right."""
    wrong = wrong_operations(model, dtype, device, gradients, example)
    if not wrong:
        return None
    operation, error = max(wrong, key=lambda item: item[1])
    others = f" and {len(wrong) - 1} more" if len(wrong) > 1 else ""
    return f"{_name(dtype)} comes out wrong here ({operation}{others}: relative error {error:.2g})"


def cpu_has_bf16() -> bool:
    """Whether the CPU multiplies bfloat16 itself; torch emulates it elsewhere, about 100 times slower."""
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def supported_dtype(model: nn.Module, dtype: torch.dtype, what: str, example: Tensor) -> torch.dtype:
    """`dtype`, or float32 with a warning where the CPU lacks it or computes a layer of `model` wrongly in it.

    For inference on the CPU; `what` names the model in the warning, `example` is an input as it will get.
    """
    if dtype == torch.float32:
        return dtype
    if dtype != torch.bfloat16 or not cpu_has_bf16():
        why: str | None = f"this CPU does not multiply {_name(dtype)}"
    else:
        why = why_wrong(model, dtype, example=example)
    if why is None:
        return dtype
    logger.warning("%s computes in float32: %s", what, why)
    return torch.float32


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
