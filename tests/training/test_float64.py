"""No float64 tensor reaches an accelerator: Apple's GPUs (MPS) have none."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from flowmusic.attention import rotation
from flowmusic.codec.spectral import SpectralCodec, SpectralCodecConfig
from flowmusic.training import codec_module
from flowmusic.training.codec_module import Moments, fit_components


class NoFloat64(TorchDispatchMode):
    """Fails where an operation makes a float64 tensor on a device other than the CPU."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, torch.Tensor) and tensor.dtype == torch.float64:
                assert tensor.device.type == "cpu", f"{func} makes float64 on {tensor.device}"
        return result


def test_a_rotation_is_computed_on_the_cpu() -> None:
    with NoFloat64():  # a meta tensor has a device of its own, but no numbers
        by = rotation(10, 8, torch.device("meta"))
    assert by.cosines.device.type == "meta" and by.cosines.dtype == torch.float32


def test_moments_leave_the_device_before_they_are_summed() -> None:
    class OnDevice:
        def cpu(self) -> torch.Tensor:
            return torch.ones(5, 3)

    moments = Moments()
    moments.add(OnDevice())  # type: ignore[arg-type]
    assert moments.outer.dtype == torch.float64 and moments.count == 5


def test_components_are_fitted_on_the_cpu(monkeypatch: Any) -> None:
    """The codec that is fitted in float64 is a copy on the CPU; the codec itself gets float32 values."""
    codec = SpectralCodec(SpectralCodecConfig(latent_dim=4, decoder_width=8, decoder_depth=1))
    fitted: list[SpectralCodec] = []
    fit = SpectralCodec.fit_components

    def fit_and_note(codec: SpectralCodec, *moments: Any) -> Any:
        fitted.append(codec)
        return fit(codec, *moments)

    monkeypatch.setattr(SpectralCodec, "fit_components", fit_and_note)

    class Noise:
        def draw(self, excerpt_s: float) -> Any:
            return torch.randn(2, 32000, generator=torch.Generator().manual_seed(len(fitted))).numpy()

    monkeypatch.setattr(codec_module, "COMPONENTS_EXCERPT_S", 1.0)
    kept = fit_components(codec, Noise(), 2)  # type: ignore[arg-type]
    assert fitted and fitted[0] is not codec and 0 < kept < 1
    assert bool(codec.components.any()) and codec.components.dtype == torch.float32
    assert torch.equal(codec.components, fitted[0].components)
