"""Two processes (gloo): the same training as one with their batches together; one that dies ends both."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from lightning.pytorch.strategies import FSDPStrategy
from torch import Tensor
from torch.distributed.fsdp import FullyShardedDataParallel
from torch.distributed.fsdp.wrap import ModuleWrapPolicy
from torch.multiprocessing.spawn import spawn

from flowmusic.attention import SelfAttention
from flowmusic.cli import main
from flowmusic.conditioning.condition import Condition
from flowmusic.conditioning.quantise import ResidualQuantiser
from flowmusic.conditioning.style import StyleConfig
from flowmusic.model.blocks import ConvFeedForward
from flowmusic.model.config import FlowConfig
from flowmusic.model.transformer import FlowTransformer
from flowmusic.training.checkpoint import read_checkpoint
from flowmusic.training.flow_module import FlowTraining
from flowmusic.training.watch import Watch

TWO = ["--trainer.devices", "2", "--trainer.strategy", "ddp", "--data.init_args.batch_size", "2"]


def start(arguments: list[str]) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "flowmusic", *arguments]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2]), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
    )


def test_two_processes_train_as_one_with_both_batches(tiny_config: Path, tmp_path: Path) -> None:
    runs = {name: tmp_path / name for name in ("one", "two")}
    fit = ["fit", "-c", str(tiny_config), "--trainer.default_root_dir"]
    two = start([*fit, str(runs["two"]), *TWO])
    assert main([*fit, str(runs["one"]), "--data.init_args.streams", "2"]) == 0
    said = two.communicate(timeout=300)[0]
    assert two.returncode == 0, said
    one, both = (read_checkpoint(run / "checkpoints/last.ckpt") for run in runs.values())
    assert one["FlowData"] == both["FlowData"] and both["global_step"] == 8
    for key, value in one["state_dict"].items():
        torch.testing.assert_close(both["state_dict"][key], value, atol=2e-4, rtol=1e-3)
    assert [path.name for path in (runs["two"] / "checkpoints").iterdir()] == ["last.ckpt"]


def test_a_killed_process_ends_the_job_and_says_so(tiny_config: Path, tmp_path: Path) -> None:
    run = tmp_path / "killed"
    first = start(["fit", "-c", str(tiny_config), *TWO, "--trainer.max_steps", "100000",
                   "--trainer.default_root_dir", str(run)])  # fmt: skip
    while not (run / "checkpoints/last.ckpt").is_file():
        assert first.poll() is None, first.communicate()[0]
        time.sleep(0.05)
    children = Path(f"/proc/{first.pid}/task/{first.pid}/children").read_text().split()
    second = next(int(pid) for pid in children if b"flowmusic" in Path(f"/proc/{pid}/cmdline").read_bytes())
    os.kill(second, signal.SIGKILL)
    said = first.communicate(timeout=120)[0]
    assert first.returncode != 0
    assert "another process of the training ended" in said or "terminated with code -9" in said


def quantise_shares(rank: int, folder: str) -> None:
    """One of two processes, with every other part of each batch: its codebooks after some steps."""
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2
    )
    quantiser = ResidualQuantiser(2, 16, 4).train()
    for step in range(30):
        part = quantiser_batch(step)[slice(None, 30 + step) if rank == 0 else slice(30 + step, None)]
        quantiser(part, generator=torch.Generator().manual_seed(1000 * rank + step))
    torch.save(quantiser.state_dict(), f"{folder}/{rank}.pt")
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()


def quantiser_batch(step: int) -> Tensor:
    """60 vectors around a few points; in some steps all of them are in the share of rank 0."""
    generator = torch.Generator().manual_seed(step)
    vectors = 3 * torch.randn(8, 4, generator=torch.Generator().manual_seed(7))[torch.arange(60) % 8]
    return (vectors + 0.3 * torch.randn(60, 4, generator=generator))[: 30 + step if step % 5 == 4 else 60]


def test_style_codebooks_are_those_of_one_process_with_all_vectors(tmp_path: Path) -> None:
    """Their start, their moving averages, and the codes that are replaced; a process may have no vectors."""
    spawn(quantise_shares, (str(tmp_path),), nprocs=2)
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1))
    alone = ResidualQuantiser(2, 16, 4).train()
    for step in range(30):
        alone(quantiser_batch(step), generator=torch.Generator().manual_seed(step))
    for name, value in alone.state_dict().items():
        assert torch.equal(first[name], second[name]), name
        torch.testing.assert_close(first[name], value)


def test_fsdp_is_refused_for_style_and_watch(tiny_data: Path) -> None:
    """Lightning's own strategy asks for CUDA only when a trainer is built."""
    style = StyleConfig(feature_dim=8, depth=1, heads=2, codebooks=2, codes=16)
    shape = FlowConfig(latent_dim=8, width=16, depth=1, heads=2, text_dim=5, style_dim=8)
    strategy = FSDPStrategy(parallel_devices=[torch.device("cpu")])
    trainer: Any = SimpleNamespace(strategy=strategy, precision="32-true", world_size=1)
    plain, styled = FlowTraining(shape), FlowTraining(replace(shape, style=style))
    for module in (plain, styled):
        module.__dict__["_trainer"] = trainer
    plain.setup("fit")
    with pytest.raises(ValueError, match="a model with style cannot be trained with FSDP"):
        styled.setup("fit")
    with pytest.raises(ValueError, match="Watch calls parts of the flow"):
        Watch().setup(trainer, plain, "fit")


def clip_shards(rank: int, meeting: str) -> None:
    """One of two processes with the units of configs/trainer/fsdp.yaml: the gradients before and after."""
    torch.distributed.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=2)
    module = FlowTraining(FlowConfig(latent_dim=4, width=16, depth=1, heads=2, text_dim=4, style_dim=4))
    torch.nn.init.orthogonal_(module.net.project_out.weight)  # zero at the start of training
    n_decayed = [len(group["params"]) for group in module.configure_optimizers()["optimizer"].param_groups]
    units = ModuleWrapPolicy({FlowTransformer, SelfAttention, ConvFeedForward})
    root = FullyShardedDataParallel(
        module, auto_wrap_policy=units, device_id=torch.device("cpu"), use_orig_params=True
    )
    module.__dict__["_trainer"] = SimpleNamespace(strategy=SimpleNamespace(model=root))
    x = torch.randn(2, 6, 4, generator=torch.Generator().manual_seed(rank))
    condition = Condition.null(2, 6, module.config.condition_shape)
    module.__dict__["forward"] = lambda: module.net(x, torch.full((2,), 0.5), condition).square().sum()
    root().backward()

    def gradients() -> Tensor:
        with FullyShardedDataParallel.summon_full_params(root, with_grads=True):
            found = [p.grad.flatten() for p in module.net.parameters() if p.grad is not None]
            return torch.cat(found).clone()

    groups = module.configure_optimizers()["optimizer"].param_groups
    assert [len(group["params"]) for group in groups] == n_decayed and min(n_decayed) > 5
    before = gradients()
    module.configure_gradient_clipping(torch.optim.SGD(module.net.parameters()), 0.25, "norm")
    assert before.norm() > 0.5
    torch.testing.assert_close(gradients(), before * 0.25 / before.norm())
    torch.distributed.barrier()  # else one may leave while the other still needs it
    torch.distributed.destroy_process_group()


def test_gradients_in_shards_are_clipped_by_the_norm_of_all(tmp_path: Path) -> None:
    spawn(clip_shards, (str(tmp_path / "meeting"),), nprocs=2)
