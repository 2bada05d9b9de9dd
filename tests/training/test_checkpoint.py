"""What is written of weights, how they are averaged, and the schedule of the rate."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from flowmusic.training.base import Ema, Optimisation, learning_rate_at
from flowmusic.training.checkpoint import WholeFileCheckpoints, read_checkpoint
from flowmusic.weights import save_tensors


def test_a_pickled_object_is_not_loaded(tmp_path: Path) -> None:
    WholeFileCheckpoints().save_checkpoint({"flowmusic": {}, "path": Path("/")}, tmp_path / "a.ckpt")
    with pytest.raises(ValueError, match=r"a\.ckpt cannot be read as a checkpoint"):
        read_checkpoint(tmp_path / "a.ckpt")
    torch.save({"state_dict": {}}, tmp_path / "b.ckpt")
    with pytest.raises(ValueError, match=r"b\.ckpt is not a checkpoint that flowmusic fit wrote"):
        read_checkpoint(tmp_path / "b.ckpt")


def test_floats_are_cast_and_whole_numbers_are_not(tmp_path: Path) -> None:
    from safetensors.torch import load_file

    save_tensors(
        tmp_path / "w.safetensors",
        {"f": torch.ones(2), "u": torch.tensor([200], dtype=torch.uint8)},
        torch.float16,
    )
    loaded = load_file(tmp_path / "w.safetensors")
    assert loaded["f"].dtype == torch.float16 and loaded["u"].dtype == torch.uint8


def test_ema_lags_behind_and_catches_up() -> None:
    torch.manual_seed(0)
    model = nn.Linear(4, 3)
    ema = Ema(model, 0.9)
    with torch.no_grad():
        model.weight.fill_(1.0)
    ema.update(model)
    assert isinstance(ema.module, nn.Linear) and ema.module.weight.mean() < 1.0
    for _ in range(200):
        ema.update(model)
    assert torch.allclose(ema.module.weight, torch.ones(3, 4), atol=1e-4)
    assert not ema.module.weight.requires_grad and model.weight.requires_grad
    with pytest.raises(ValueError, match="ema_decay"):
        Optimisation(ema_decay=1.0)


def test_learning_rate_rises_holds_and_falls() -> None:
    rates = [learning_rate_at(step, 1.0, 10, 100, 40) for step in range(100)]
    assert rates[0] == pytest.approx(0.1) and rates[9] == 1.0
    assert all(rate == 1.0 for rate in rates[10:60])
    assert rates[80] == pytest.approx(0.5) and min(rates) >= 0.01
    assert rates[60:] == sorted(rates[60:], reverse=True)
