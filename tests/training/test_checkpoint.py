"""Training states: whole or not at all, and going on is the same as never having stopped."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from flowmusic.training.checkpoint import load_training_state, save_tensors, save_training_state
from flowmusic.training.ema import Ema
from flowmusic.training.schedule import learning_rate_at


def parts() -> tuple[nn.Linear, torch.optim.Optimizer, Ema]:
    torch.manual_seed(0)
    model = nn.Linear(4, 3)
    return model, torch.optim.AdamW(model.parameters(), lr=0.01), Ema(model, 0.9)


def train(model: nn.Module, optimiser: torch.optim.Optimizer, ema: Ema, steps: range) -> None:
    for step in steps:
        x = torch.randn(8, 4, generator=torch.Generator().manual_seed(step))
        optimiser.zero_grad()
        model(x).square().mean().backward()
        optimiser.step()
        ema.update(model)


def test_a_resumed_run_equals_an_unbroken_one(tmp_path: Path) -> None:
    whole = parts()
    train(*whole, range(20))
    first = parts()
    train(*first, range(9))
    save_training_state(tmp_path / "state.pt", *first, step=9)
    second = parts()
    step = load_training_state(tmp_path / "state.pt", *second)
    assert step == 9
    train(*second, range(step, 20))
    for name, tensor in whole[0].state_dict().items():
        assert torch.equal(tensor, second[0].state_dict()[name])
        assert torch.equal(whole[2].shadow[name], second[2].shadow[name])


def test_no_file_means_step_zero_and_no_partial_file_stays(tmp_path: Path) -> None:
    assert load_training_state(tmp_path / "state.pt", *parts()) == 0
    save_training_state(tmp_path / "state.pt", *parts(), step=1)
    save_tensors(tmp_path / "weights.safetensors", {"a": torch.ones(2)})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["state.pt", "weights.safetensors"]


def test_a_pickled_object_is_not_loaded(tmp_path: Path) -> None:
    torch.save({"model": Path("/")}, tmp_path / "state.pt")
    with pytest.raises(Exception, match=r"[Ww]eights"):
        load_training_state(tmp_path / "state.pt", *parts())


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
    model, _, ema = parts()
    with torch.no_grad():
        model.weight.fill_(1.0)
    ema.update(model)
    early = ema.shadow["weight"].mean()
    assert early < 1.0
    for _ in range(200):
        ema.update(model)
    assert torch.allclose(ema.shadow["weight"], torch.ones(3, 4), atol=1e-4)
    with pytest.raises(ValueError, match="decay"):
        Ema(model, 1.0)


def test_learning_rate_rises_holds_and_falls() -> None:
    rates = [learning_rate_at(step, 1.0, 10, 100, 40) for step in range(100)]
    assert rates[0] == pytest.approx(0.1) and rates[9] == 1.0
    assert all(rate == 1.0 for rate in rates[10:60])
    assert rates[80] == pytest.approx(0.5) and min(rates) >= 0.01
    assert rates[60:] == sorted(rates[60:], reverse=True)
