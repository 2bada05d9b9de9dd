"""Two processes (gloo): the same training as one with their batches together; one that dies ends both."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import torch
from torch import Tensor
from torch.distributed.fsdp import FullyShardedDataParallel
from torch.distributed.fsdp.wrap import ModuleWrapPolicy
from torch.multiprocessing.spawn import spawn

from flowmusic.cli import main
from flowmusic.conditioning.condition import Condition
from flowmusic.model.attention import SelfAttention
from flowmusic.model.blocks import ConvFeedForward
from flowmusic.model.config import FlowConfig
from flowmusic.model.transformer import FlowTransformer
from flowmusic.training.checkpoint import read_checkpoint
from flowmusic.training.flow_module import FlowTraining

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


def clip_shards(rank: int, meeting: str) -> None:
    """One of two processes with the units of configs/trainer/fsdp.yaml: the gradients before and after."""
    torch.distributed.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=2)
    module = FlowTraining(FlowConfig(latent_dim=4, width=16, depth=1, heads=2, text_dim=4, style_dim=4))
    torch.nn.init.orthogonal_(module.net.project_out.weight)  # zero at the start of training
    units = ModuleWrapPolicy({FlowTransformer, SelfAttention, ConvFeedForward})
    root = FullyShardedDataParallel(
        module, auto_wrap_policy=units, device_id=torch.device("cpu"), use_orig_params=True
    )
    module.__dict__["_trainer"] = SimpleNamespace(strategy=SimpleNamespace(model=root))
    x = torch.randn(2, 6, 4, generator=torch.Generator().manual_seed(rank))
    condition = Condition.null(2, 6, module.config)
    module.__dict__["forward"] = lambda: module.net(x, torch.full((2,), 0.5), condition).square().sum()
    root().backward()

    def gradients() -> Tensor:
        with FullyShardedDataParallel.summon_full_params(root, with_grads=True):
            found = [p.grad.flatten() for p in module.net.parameters() if p.grad is not None]
            return torch.cat(found).clone()

    before = gradients()
    module.configure_gradient_clipping(torch.optim.SGD(module.net.parameters()), 0.25, "norm")
    assert before.norm() > 0.5
    torch.testing.assert_close(gradients(), before * 0.25 / before.norm())
    torch.distributed.barrier()  # else one may leave while the other still needs it
    torch.distributed.destroy_process_group()


def test_gradients_in_shards_are_clipped_by_the_norm_of_all(tmp_path: Path) -> None:
    spawn(clip_shards, (str(tmp_path / "meeting"),), nprocs=2)
