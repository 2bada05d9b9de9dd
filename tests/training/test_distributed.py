"""Two processes (gloo): the same training as one with their batches together; one that dies ends both."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import torch

from flowmusic.cli import main
from flowmusic.training.init_from import read_checkpoint

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
