"""The numerical check of 16-bit layers: right ones pass, garbage is found, CREPE falls back and says so."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from features import precision
from features.crepe import CHANNELS, CrepeNetwork, load_crepe
from features.melody import CrepeMelody
from features.precision import Operation, relative_error, why_wrong, wrong_operations

BF16 = torch.bfloat16


@pytest.fixture(autouse=True)
def no_memory() -> Iterator[None]:
    relative_error.cache_clear()
    yield
    relative_error.cache_clear()


def broken(monkeypatch: pytest.MonkeyPatch, name: str, is_wrong: Callable[[Tensor, Tensor], bool]) -> None:
    """Let a function of torch.nn.functional give garbage in bfloat16 where `is_wrong(input, weight)`."""
    right = getattr(functional, name)

    def garbled(x: Tensor, weight: Tensor, *args: object, **kwargs: object) -> Tensor:
        y: Tensor = right(x, weight, *args, **kwargs)
        return y.roll(1, -1) if x.dtype == BF16 and is_wrong(x, weight) else y

    monkeypatch.setattr(functional, name, garbled)


def every_kind() -> nn.Module:
    return nn.ModuleList(
        [
            nn.Conv1d(6, 6, 7, padding=3, groups=6),
            nn.Conv1d(8, 4, 3, stride=2, dilation=2),
            nn.Conv2d(4, 8, (1, 64)),
            nn.Conv2d(3, 5, 3, padding="same"),
            nn.Conv3d(2, 2, 3),
            nn.ConvTranspose1d(4, 6, 8, stride=4),
            nn.ConvTranspose2d(4, 2, (8, 1), (4, 1)),
            nn.Linear(12, 20),
        ]
    )


def test_rounding_is_no_fault() -> None:
    """float16's and float32's products too; every kind of layer can be computed at all."""
    model = every_kind()
    found = {Operation.of(layer) for layer in model.children()}
    assert None not in found and len(found) == 8
    for operation in (*found, precision.PRODUCT):
        assert operation is not None
        assert 0 < relative_error(operation, torch.float16, "cpu", True) < 0.01
        assert relative_error(operation, torch.float32, "cpu", True) == 0


@pytest.mark.parametrize("name", ["conv1d", "conv2d", "conv_transpose1d", "linear"])
@pytest.mark.parametrize("gradients", [False, True])
def test_garbage_of_each_kind_is_found(name: str, gradients: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    model = every_kind()
    assert not any(item.function == name for item, _ in wrong_operations(model, torch.float32))
    broken(monkeypatch, name, lambda x, weight: True)
    relative_error.cache_clear()
    wrong = wrong_operations(model, BF16, gradients=gradients)
    expected = {item for layer in model.children() if (item := Operation.of(layer)) and item.function == name}
    assert {item for item, _ in wrong if item.function == name} == expected
    assert all(error > 0.5 for item, error in wrong if item.function == name)


def test_garbage_of_one_layout_and_nan_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    model = nn.Conv2d(4, 8, (1, 64))
    operation = Operation.of(model)
    assert operation is not None
    last = torch.channels_last
    broken(
        monkeypatch, "conv2d", lambda x, weight: not x.is_contiguous() and x.is_contiguous(memory_format=last)
    )
    assert relative_error(operation, BF16, "cpu", False) > 0.5
    monkeypatch.setattr(functional, "conv2d", lambda x, weight, **_: x * float("nan"))
    relative_error.cache_clear()
    assert relative_error(operation, BF16, "cpu", False) == float("inf")


def test_a_wrong_gradient_alone_is_found_for_training_only(monkeypatch: pytest.MonkeyPatch) -> None:
    class Garbled(torch.autograd.Function):
        @staticmethod
        def forward(ctx: object, y: Tensor) -> Tensor:
            return y.clone()

        @staticmethod
        def backward(ctx: object, gradient: Tensor) -> Tensor:  # type: ignore[override]
            return gradient.roll(3, -1) * (1 if gradient.dtype == torch.float32 else -1)

    right = functional.conv1d
    monkeypatch.setattr(functional, "conv1d", lambda *args, **kwargs: Garbled.apply(right(*args, **kwargs)))
    model = nn.Conv1d(4, 4, 3)
    said = why_wrong(model, torch.float16, gradients=True)
    assert said is not None and "conv1d with a weight of 4 x 4 x 3: relative error" in said
    assert why_wrong(model, torch.float16) is None


def test_products_of_matrices_are_checked_without_any_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    right = torch.matmul
    monkeypatch.setattr(torch, "matmul", lambda a, b: right(a, b) * (2 if a.dtype == BF16 else 1))
    assert [item.function for item, _ in wrong_operations(nn.ReLU(), BF16)] == ["matmul"]


@pytest.mark.parametrize("capacity", sorted(CHANNELS))
def test_crepe_s_own_layers_are_those_checked(capacity: str) -> None:
    shapes = {item.weight for layer in CrepeNetwork(capacity).modules() if (item := Operation.of(layer))}
    assert (CHANNELS[capacity][0], 4, 1, 128) in shapes
    assert (360, 4 * CHANNELS[capacity][-1]) in shapes


def test_crepe_computes_in_float32_where_bfloat16_is_wrong(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As on CPUs with AMX: convolutions of four input channels are garbage."""
    monkeypatch.setattr(precision, "cpu_has_bf16", lambda: True)
    windows = torch.randn(2, 1024, generator=torch.Generator().manual_seed(0))
    exact = load_crepe()(windows)
    broken(monkeypatch, "conv2d", lambda x, weight: weight.shape[1] == 4)
    with caplog.at_level(logging.WARNING):
        melody = CrepeMelody(dtype=BF16)
    assert (
        "CREPE tiny computes in float32: bfloat16 comes out wrong here (conv2d with a weight of"
        in caplog.text
    )
    assert torch.equal(melody.network(windows), exact)
    assert melody.version == CrepeMelody().version


def test_a_fault_of_the_sizes_in_use_alone_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of CREPE's second convolution in channels-last memory, in the length that it gets from the first."""
    network = CrepeNetwork("tiny").to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    windows = torch.randn(3, 1024, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        before = network(windows)
    own = wrong_operations(network, BF16, example=windows)  # what this processor gets wrong by itself
    broken(monkeypatch, "conv2d", lambda x, weight: x.shape == (3, 128, 1, 191) and not x.is_contiguous())
    name = "conv2d with a weight of 16 x 128 x 1 x 64"
    if name in {str(item) for item, _ in own}:
        pytest.skip("this processor gets the very layer wrong")
    assert name not in {str(item) for item, _ in wrong_operations(network, BF16)}
    wrong = {str(item): error for item, error in wrong_operations(network, BF16, example=windows)}
    assert wrong.pop(name) > 0.5 and wrong.keys() == {str(item) for item, _ in own}
    with torch.no_grad():
        assert torch.equal(network(windows), before), "the network is as it was"


def test_crepe_computes_in_float32_where_the_cpu_lacks_bfloat16(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(precision, "cpu_has_bf16", lambda: False)
    assert load_crepe(dtype=BF16).dtype_name == "float32"
    assert "this CPU does not multiply bfloat16" in caplog.text


def test_crepe_computes_in_bfloat16_where_that_is_right(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(precision, "cpu_has_bf16", lambda: True)
    monkeypatch.setattr(precision, "wrong_operations", lambda *args, **_: [])
    melody = CrepeMelody(dtype=BF16)
    assert melody.network.dtype_name == "bfloat16" and melody.version.endswith("-bfloat16")
    assert not caplog.records
