"""The script for a GPU, run in small on a CPU, and with the packages of a plain PyTorch image alone."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import yaml

from benchmarks import gpu
from flowmusic.model.config import FlowConfig

ROOT = Path(__file__).resolve().parents[2]

PLAIN = """
import os, site, sys
others = {name.split(".")[0] for folder in site.getsitepackages() for name in os.listdir(folder)}
others -= set("torch torchgen functorch numpy safetensors sympy mpmath networkx jinja2 markupsafe".split())
others -= set("fsspec filelock typing_extensions packaging setuptools".split())
class Hidden:
    def __init__(self, finder):
        self.finder = finder
    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        return None if top in others and top[0] != "_" else self.finder.find_spec(name, path, target)
    def __getattr__(self, name):
        return getattr(self.finder, name)
sys.meta_path[:] = [Hidden(finder) for finder in sys.meta_path]
from benchmarks.gpu import main
main(sys.argv[1:])
"""


def test_shapes_are_those_of_the_recipes() -> None:
    for name, config in gpu.CONFIGS.items():
        recipe = yaml.safe_load((ROOT / "configs/model" / f"{name}.yaml").read_text())
        assert FlowConfig.from_dict(recipe["init_args"]["config"]) == config


def test_it_runs_in_small_with_plain_packages(tmp_path: Path) -> None:
    command = [sys.executable, "-c", PLAIN, "--device", "cpu", "--out", str(tmp_path / "gpu.json")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=True)
    about = json.loads((tmp_path / "gpu.json").read_text())
    assert done.stdout.count("\n| ") == len(about["rows"]) + 2
    skipped = [row for row in about["rows"] if "skipped" in row[2]]
    assert skipped == [["extraction: separator", "float32", "skipped: needs demucs"]]
    assert not [row for row in about["rows"] if "failed" in row[2]]
    # of a CPU's own kernels some are wrong in bfloat16: that is what `features.precision` is for
    assert {name for name in about["failed"] if "bfloat16" not in name} == set()
    figures = about["figures"]
    assert figures["latents of a padded clip | error in float32"] == 0.0
    assert 1e-4 < figures["latents of a clip | error in bfloat16"] < 0.1
    assert figures["clips of bundled, 2 at once | bfloat16"] > 0 and figures["CREPE | float32"] > 0
    assert 0 < figures["utilisation of 400m | recomputing"] < 1


def test_what_fails_or_has_no_time_is_a_row_and_the_rest_is_measured(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(run: gpu.Run) -> None:
        raise RuntimeError("no such kernel\nand more")

    monkeypatch.setattr(gpu, "STAGES", {"correctness": broken, "products": gpu.products})
    run = gpu.measure_all(torch.device("cpu"), gpu.SMALL, 5.0, ["correctness", "products"])
    assert run.rows[0] == ("correctness", "", "failed: RuntimeError: no such kernel")
    assert run.failed == ["correctness"] and run.figures["matrix product | float32"] > 0
    late = gpu.measure_all(torch.device("cpu"), gpu.SMALL, 0.0, ["products"])
    assert late.rows == [("products", "", "skipped: no time left")] and time.monotonic() > late.until


def test_a_wrong_kernel_is_named() -> None:
    run = gpu.Run(torch.device("cpu"), gpu.SMALL, time.monotonic() + 60)
    exact = torch.randn(100)
    gpu._compare(run, "CREPE", torch.float16, lambda: exact + 0.001, exact)
    gpu._compare(run, "CREPE", torch.bfloat16, lambda: exact.flip(0), exact)
    gpu._compare(run, "codec", torch.float32, lambda: exact * torch.nan, exact)
    assert run.failed == ["CREPE in bfloat16", "codec in float32"]
    assert [row[2].endswith("WRONG") for row in run.rows] == [False, True, True]
