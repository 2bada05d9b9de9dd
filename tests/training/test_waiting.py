"""A training step asks a GPU for no number: everything it computes can be queued without waiting for it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from benchmarks.training import random_batch
from flowmusic.model.config import FlowConfig
from flowmusic.training import base
from flowmusic.training.base import Ema
from flowmusic.training.flow_module import FlowTraining

CONFIG = FlowConfig(latent_dim=8, width=16, depth=2, heads=2, text_dim=5, style_dim=8, token_summary=True)
READS = ("_local_scalar_dense", "nonzero", "masked_select", "unique", "equal")
"""Operations whose result decides what the CPU does next, or how large a tensor is."""


class Reads(TorchDispatchMode):
    """Notes every operation that a GPU would be waited for."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        masked = name.startswith("index") and any(
            isinstance(index, Tensor) and index.dtype == torch.bool
            for index in (args[1] if isinstance(args[1], (list, tuple)) else ())
        )
        if masked or any(word in name for word in READS):
            self.found.append(name)
        return func(*args, **(kwargs or {}))


def trained(config: FlowConfig, monkeypatch: pytest.MonkeyPatch) -> FlowTraining:
    module = FlowTraining(config)
    strategy = SimpleNamespace(reduce=lambda value, reduce_op: value, model=module)
    module.__dict__["_trainer"] = SimpleNamespace(
        strategy=strategy, training=True, precision="32-true", global_step=0
    )
    monkeypatch.setattr(module, "log", lambda *_, **__: None)
    return module


def test_a_step_reads_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FlowTraining, "_read_loss", lambda self: None)  # a CPU is not waited for
    module = trained(CONFIG, monkeypatch)
    groups = module.configure_optimizers()["optimizer"].param_groups
    optimiser = torch.optim.AdamW([p for g in groups for p in g["params"]], fused=True)  # as on a GPU
    module.ema.update(module.net)  # reads its number once
    batch = random_batch(CONFIG, 2, 10)
    with Reads() as reads:
        module.training_step(batch, 0).backward()
        module.configure_gradient_clipping(optimiser, 1.0, "norm")
        optimiser.step()
        module.ema.update(module.net)
    assert reads.found == []
    with Reads() as reads:
        bool(torch.isfinite(torch.ones(())))
        torch.ones(3)[torch.tensor([True, False, True])]
    assert len(reads.found) == 2  # it does see them


def test_a_loss_that_is_not_finite_is_found_a_little_later(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a GPU: at the next look, or before a checkpoint, whatever the losses after it are."""
    module = trained(CONFIG, monkeypatch)
    monkeypatch.setattr(base, "READ_EVERY", 4)
    losses = [torch.tensor(value) for value in (1.0, float("nan"), 2.0, 3.0)]
    monkeypatch.setattr(FlowTraining, "_reads_at_once", lambda self, loss: False)
    for loss in losses[:3]:
        assert module.check_loss(loss) is loss
    with pytest.raises(ValueError, match="nan in one of the 4 batches before step 1: lower"):
        module.check_loss(losses[3])
    module = trained(CONFIG, monkeypatch)
    module.check_loss(losses[1])
    with pytest.raises(ValueError, match="the loss became nan at step 0"):
        module.on_save_checkpoint({})


def test_the_average_counts_on_from_what_it_loads() -> None:
    net = nn.Linear(2, 2)
    first, second = Ema(net, 0.99), Ema(net, 0.99)
    for _ in range(5):
        first.update(net)
    second.update(net)
    second.load_state_dict(first.state_dict())
    with torch.no_grad():
        net.weight += 1
    first.update(net)
    second.update(net)
    assert int(first.updates) == int(second.updates) == 6
    assert torch.equal(first.module.weight, second.module.weight)  # type: ignore[arg-type]
