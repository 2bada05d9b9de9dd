"""Two processes (gloo): the same training as one with their batches together; one that dies ends both."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from lightning.pytorch.strategies import FSDPStrategy
from torch import Tensor
from torch.multiprocessing.spawn import spawn

from flowmusic.cli import main
from flowmusic.conditioning.quantise import ResidualQuantiser
from flowmusic.conditioning.style import StyleConfig
from flowmusic.model.config import FlowConfig
from flowmusic.training.checkpoint import read_checkpoint
from flowmusic.training.flow_module import FlowTraining
from flowmusic.training.sharding import Sharded

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


SHARDED = ["--trainer.devices", "2", "--data.init_args.batch_size", "2", "--trainer.strategy",
           "{class_path: flowmusic.training.sharding.Sharded}"]  # fmt: skip
WATCH = (
    "--trainer.callbacks+={class_path: flowmusic.training.watch.Watch, init_args: {every_n_steps: 4, "
    "n_clips: 1, score: false}}"
)
STREAMS = ["--data.init_args.streams", "2"]


def assert_alike(first: dict[str, Any], second: dict[str, Any]) -> None:
    """Weights, average and moments, but for the order in which sums were made."""
    assert first["FlowData"] == second["FlowData"] and first["global_step"] == second["global_step"]
    assert first["state_dict"].keys() == second["state_dict"].keys()
    for key, value in first["state_dict"].items():
        torch.testing.assert_close(second["state_dict"][key], value, atol=2e-4, rtol=1e-3)
    moments, others = (checkpoint["optimizer_states"][0]["state"] for checkpoint in (first, second))
    assert moments.keys() == others.keys()
    for key, state in moments.items():
        assert state.keys() == others[key].keys()
        torch.testing.assert_close(others[key]["exp_avg"], state["exp_avg"], atol=1e-3, rtol=1e-2)


def test_shared_out_weights_train_alike_and_go_on_in_any_number_of_processes(
    tiny_config: Path, tmp_path: Path
) -> None:
    """Two processes with a half of each weight stop after 8 steps, one goes on; and the other way round."""
    fit = ["fit", "-c", str(tiny_config), *STREAMS, "--trainer.default_root_dir"]
    two = start([*fit, str(tmp_path / "two"), *SHARDED, WATCH, "--model.init_args.recompute", "true"])
    assert main([*fit, str(tmp_path / "one")]) == 0
    said = two.communicate(timeout=300)[0]
    assert two.returncode == 0, said
    last = {run: tmp_path / run / "checkpoints/last.ckpt" for run in ("one", "two")}
    assert_alike(*(read_checkpoint(path) for path in last.values()))
    assert (tmp_path / "two/samples/step-0000008/clip-0.wav").is_file()
    shutil.copytree(tmp_path / "one", tmp_path / "back")
    further = ["--ckpt_path", "last", "--trainer.max_steps", "10"]
    back = start([*fit, str(tmp_path / "back"), *SHARDED, *further])
    for run in last:
        assert main([*fit, str(tmp_path / run), *further]) == 0
    said = back.communicate(timeout=300)[0]
    assert back.returncode == 0, said
    one = read_checkpoint(last["one"])
    assert one["global_step"] == 10
    for run in ("two", "back"):
        assert_alike(one, read_checkpoint(tmp_path / run / "checkpoints/last.ckpt"))


def test_what_cannot_be_shared_out_is_refused() -> None:
    style = StyleConfig(feature_dim=8, depth=1, heads=2, codebooks=2, codes=16)
    shape = FlowConfig(latent_dim=8, width=16, depth=1, heads=2, text_dim=5, style_dim=8, style=style)
    module = FlowTraining(shape)
    module.__dict__["_trainer"] = SimpleNamespace(strategy=Sharded())
    with pytest.raises(ValueError, match="only a flow without style can be shared out over processes"):
        module.configure_model()
    module.__dict__["_trainer"] = SimpleNamespace(strategy=FSDPStrategy())
    with pytest.raises(ValueError, match="flattens the weights; expected flowmusic"):
        module.setup("fit")
