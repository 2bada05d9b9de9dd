"""A training that is killed goes on as if nothing had happened."""

from __future__ import annotations

import csv
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

from flowmusic.api.pretrained import load_pretrained
from flowmusic.cli import main
from flowmusic.data.flow_data import FlowBatch, FlowData
from flowmusic.model.config import FlowConfig
from flowmusic.training.checkpoint import read_checkpoint
from flowmusic.training.flow_module import FlowTraining
from tests.training.conftest import INFO, assert_equal, write_data
from tests.training.test_configs import CONFIGS

STEPS = "80"


def losses(run: Path) -> dict[int, float]:
    """Training loss by step over all starts of a run; what a later start wrote counts."""
    found: dict[int, float] = {}
    for path in sorted(run.glob("logs/version_*/metrics.csv"), key=lambda p: int(p.parent.name[8:])):
        with path.open() as file:
            for row in csv.DictReader(file):
                if row.get("train/loss"):
                    found[int(row["step"])] = float(row["train/loss"])
    return found


def kill_after_a_checkpoint(arguments: list[str], last: Path) -> int:
    """Start a training in a process of its own and SIGKILL it soon after its second checkpoint."""
    process = subprocess.Popen(
        [sys.executable, "-m", "flowmusic", *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    seen: set[int] = set()
    while len(seen) < 2 and process.poll() is None:
        if last.is_file():
            seen.add(last.stat().st_mtime_ns)
        time.sleep(0.002)
    time.sleep(0.05)  # somewhere between two checkpoints, or while one is written
    process.send_signal(signal.SIGKILL)
    process.communicate()
    return process.returncode


def test_a_killed_run_goes_on_bit_by_bit(tiny_config: Path, tmp_path: Path) -> None:
    more = [
        "--trainer.max_steps",
        STEPS,
        "--checkpoint.every_n_steps",
        "7",
        "--trainer.val_check_interval",
        "50",
    ]
    whole, broken = (str(tmp_path / name) for name in ("whole", "broken"))
    fit = ["fit", "-c", str(tiny_config), *more, "--ckpt_path", "last", "--trainer.default_root_dir"]
    last = Path(broken) / "checkpoints/last.ckpt"
    assert kill_after_a_checkpoint([*fit, broken], last) == -signal.SIGKILL
    reached = read_checkpoint(last)["global_step"]
    assert 0 < reached < int(STEPS)

    assert main([*fit, whole]) == 0  # nothing to go on from: starts at the beginning
    assert main([*fit, broken]) == 0
    first, second = (read_checkpoint(Path(run) / "checkpoints/last.ckpt") for run in (whole, broken))
    for part in ("state_dict", "optimizer_states", "lr_schedulers", "FlowData", "global_step"):
        assert_equal(first[part], second[part], part)
    unbroken, resumed = losses(Path(whole)), losses(Path(broken))
    assert len(unbroken) == int(STEPS)
    assert all(unbroken[step] == resumed[step] for step in range(reached, int(STEPS)))
    assert not [
        path for path in last.parent.iterdir() if path.name != "last.ckpt" and path.stat().st_size == 0
    ]


def test_a_fine_tuning_goes_on_bit_by_bit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The recipe as it is shipped, shorter: of the frozen text adapter nothing is left to chance."""
    info = replace(INFO, latent_dim=172, text_dim=384)
    data = write_data(tmp_path / "data", {"train": [[200, 210]], "valid": [[200]]}, info=info)
    fit = [
        "fit", "-c", str(CONFIGS / "finetune.yaml"), "--data.init_args.folder", str(data),
        "--data.init_args.batch_size", "2", "--data.init_args.excerpt_frames", "40",
        "--data.init_args.valid_batches", "0", "--trainer.max_steps", "4", "--trainer.callbacks", "[]",
        "--trainer.val_check_interval", "100", "--trainer.logger", "false", "--checkpoint.every_n_steps", "2",
        "--model.init_args.optimisation.warmup_steps", "1", "--trainer.enable_progress_bar", "false",
        "--trainer.accelerator", "cpu", "--ckpt_path", "last", "--trainer.default_root_dir",
    ]  # fmt: skip
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    assert main([*fit, str(whole)]) == 0
    step = FlowTraining.training_step

    def fail_at_the_fourth(module: FlowTraining, batch: FlowBatch, batch_idx: int) -> torch.Tensor:
        if module.global_step == 3:
            raise MemoryError("the machine is full")
        return step(module, batch, batch_idx)

    with monkeypatch.context() as patched:
        patched.setattr(FlowTraining, "training_step", fail_at_the_fourth)
        assert main([*fit, str(broken)]) == 1
    assert read_checkpoint(broken / "checkpoints/last.ckpt")["global_step"] == 2
    assert main([*fit, str(broken)]) == 0
    first, second = (read_checkpoint(run / "checkpoints/last.ckpt") for run in (whole, broken))
    for part in ("state_dict", "optimizer_states", "lr_schedulers", "FlowData", "global_step"):
        assert_equal(first[part], second[part], part)
    adapter = [key for key in first["state_dict"] if key.startswith("net.summary.adapter")]
    start = load_pretrained().flow.state_dict()
    assert adapter and all(
        torch.equal(first["state_dict"][key], start[key.removeprefix("net.")]) for key in adapter
    )


def test_eight_songs_fit_the_recipe_of_fine_tuning(tmp_path: Path) -> None:
    """Songs of ten seconds, one of them for validation: fewer excerpts than the recipe's batch."""
    info = replace(INFO, latent_dim=172, text_dim=384)
    lengths = {"train": [[250] * 7], "valid": [[250]]}
    data = write_data(tmp_path / "data", lengths, info=info)
    fit = ["fit", "-c", "finetune", "--data.init_args.folder", str(data), "--trainer.max_steps", "2",
           "--trainer.val_check_interval", "2", "--trainer.enable_progress_bar", "false",
           "--trainer.default_root_dir", str(tmp_path / "run")]  # fmt: skip
    assert main(fit) == 0
    assert read_checkpoint(tmp_path / "run/checkpoints/last.ckpt")["global_step"] == 2


def test_what_is_frozen_has_no_dropout_in_training() -> None:
    shape = FlowConfig(latent_dim=8, width=16, depth=1, heads=2, text_dim=5, style_dim=4, token_summary=True)
    module = FlowTraining(replace(shape, text_adapter=6))
    module.train()
    summary = module.net.summary
    assert module.net.training and summary is not None and summary.training and summary.adapter is not None
    assert not summary.adapter.training and not summary.adapter.dropout.training
    assert not any(part.training for part in module.average.modules() if list(part.parameters()))


def test_dropout_of_a_step_depends_on_its_batch_alone() -> None:
    """A module with dropout that is trained draws the same in a step, whatever was drawn before."""
    module = FlowTraining(FlowConfig(latent_dim=8, width=16, depth=1, heads=2, text_dim=5, style_dim=4))
    module.__dict__["_fabric"] = None
    module.__dict__["_trainer"] = SimpleNamespace(global_rank=0)
    drawn = []
    for number in (3, 4, 3):
        batch: Any = SimpleNamespace(number=number)
        module.on_train_batch_start(batch, 0)
        drawn.append(torch.nn.functional.dropout(torch.ones(100), 0.5))
    assert torch.equal(drawn[0], drawn[2]) and not torch.equal(drawn[0], drawn[1])


def test_going_on_with_other_batches_is_refused(tiny_config: Path, capsys: Any) -> None:
    assert main(["fit", "-c", str(tiny_config)]) == 0
    more = ["--ckpt_path", "last", "--data.init_args.batch_size", "2", "--trainer.max_steps", "12"]
    assert main(["fit", "-c", str(tiny_config), *more]) == 2
    assert "init_from" in capsys.readouterr().err.splitlines()[-1]


def test_accumulated_and_recomputed_steps_train_the_same(tiny_config: Path, tmp_path: Path) -> None:
    """Two batches of a step, and blocks computed again: the same weights as without, up to rounding."""
    plain, recomputed = tmp_path / "plain", tmp_path / "recomputed"
    fit = [
        "fit",
        "-c",
        str(tiny_config),
        "--trainer.accumulate_grad_batches",
        "2",
        "--trainer.max_steps",
        "4",
    ]
    assert main([*fit, "--trainer.default_root_dir", str(plain)]) == 0
    again = ["--model.init_args.recompute", "true", "--trainer.default_root_dir", str(recomputed)]
    assert main([*fit, *again]) == 0
    first, second = (read_checkpoint(run / "checkpoints/last.ckpt") for run in (plain, recomputed))
    assert first["global_step"] == 4 and first["FlowData"]["next_batch"] == 8
    for key, value in first["state_dict"].items():
        torch.testing.assert_close(value, second["state_dict"][key])


def test_two_batches_of_a_step_train_as_one_of_both(
    tiny_config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without context: each batch is a mean over its unknown frames, whatever their number."""
    whole, halves = tmp_path / "whole", tmp_path / "halves"
    fit = ["fit", "-c", str(tiny_config), "--trainer.max_steps", "4", "--data.init_args.streams", "2",
           "--data.init_args.dropout.no_context", "1", "--trainer.default_root_dir"]  # fmt: skip
    assert main([*fit, str(whole)]) == 0
    draw = FlowData.draw_batch

    def draw_half(data: FlowData, split: str, number: int, streams: list[int]) -> FlowBatch:
        """Of the items of a batch, which depend on its number, those of one stream."""
        return replace(draw(data, split, number // 2, [number % 2]), number=number)

    monkeypatch.setattr(FlowData, "draw_batch", draw_half)
    smaller = ["--data.init_args.batch_size", "2", "--trainer.accumulate_grad_batches", "2",
               "--trainer.val_check_interval", "8"]  # fmt: skip
    assert main([*fit, str(halves), *smaller]) == 0
    one, both = (read_checkpoint(run / "checkpoints/last.ckpt") for run in (whole, halves))
    assert one["global_step"] == both["global_step"] == 4 and both["FlowData"]["next_batch"] == 8
    for key, value in one["state_dict"].items():
        torch.testing.assert_close(both["state_dict"][key], value, atol=2e-4, rtol=1e-3)
