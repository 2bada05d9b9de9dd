"""The processes of a batch: no orphans, no two runs in one folder, a GPU for each."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import time
from pathlib import Path

import pytest

from features.files import locked
from flowmusic.api.model import FlowMusic
from flowmusic.batch import ranks
from flowmusic.batch.ranks import device_of_rank
from flowmusic.batch.run import MAX_WAIT, _trainer
from flowmusic.batch.sources import write_manifest
from tests.batch.conftest import QUIET, command, finished, run


def made_by(rank: int, out: Path) -> list[Path]:
    sidecars = sorted(finished(out))
    return [path for path in sidecars if json.loads(path.read_text())["row"]["rank"] == rank]


def test_no_process_goes_on_without_the_first(tiny_model: Path, model: FlowMusic, tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [{"seed": seed, "duration": 2, "steps": 150} for seed in range(12)]
    manifest, out = write_manifest(tmp_path / "manifest.jsonl", rows), tmp_path / "out"
    process = subprocess.Popen(
        command(tiny_model, manifest, out, "--devices", "2", "--workers", "0"), env=os.environ | QUIET
    )
    try:
        while process.poll() is None and not made_by(1, out):
            time.sleep(0.02)
    finally:
        process.kill()
        process.wait()
    with locked(out / ".rank-1.lock", 60):  # the other has ended
        kept = {path: path.stat().st_mtime_ns for path in finished(out)}
        assert 1 <= len(made_by(1, out)) < 6, "it did not do all of its half"
    assert str(run(model, manifest, out)) == "12 clips"
    assert {path: path.stat().st_mtime_ns for path in kept} == kept, "each clip is made once"
    assert not list(out.glob(".rank-*"))


@pytest.mark.parametrize("rank", [0, 1, 7])
def test_two_runs_do_not_write_in_one_folder(
    rank: int, model: FlowMusic, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ranks, "PATIENCE_S", 0.0)
    manifest, out = (
        write_manifest(tmp_path / "manifest.jsonl", [{"seed": 1, "duration": 1}]),
        tmp_path / "out",
    )
    out.mkdir()
    with locked(out / f".rank-{rank}.lock"):
        with pytest.raises(ValueError, match=r"another run is still writing in .*out"):
            run(model, manifest, out)
        assert not (out / "batch.json").exists() and not (out / "clips").exists()
    assert str(run(model, manifest, out)) == "1 clips"


def test_ranks_of_one_run_do_not_stop_each_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranks, "PATIENCE_S", 0.0)
    with ranks.alone_in(tmp_path, 1, 2, False), ranks.alone_in(tmp_path, 0, 2, False):
        assert len(list(tmp_path.glob(".rank-*.lock"))) == 2
    with (
        ranks.alone_in(tmp_path, 2, 3, False),
        pytest.raises(ValueError, match="another run"),
        ranks.alone_in(tmp_path, 0, 2, False),
    ):
        pass


def test_without_locks_there_is_no_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*args: object) -> None:
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr("fcntl.flock", missing)
    with (
        pytest.raises(ValueError, match=r"cannot be locked .*not implemented"),
        ranks.alone_in(tmp_path, 0, 1, True),
    ):
        pass


@pytest.mark.parametrize(
    ("device", "devices", "environment", "expected"),
    [
        ("cuda", 2, {}, "cuda:0"),
        ("cuda", 2, {"LOCAL_RANK": "1"}, "cuda:1"),
        ("cuda", 4, {"SLURM_LOCALID": "3"}, "cuda:3"),
        ("cuda", 1, {"SLURM_LOCALID": "3"}, "cuda"),
        ("cpu", 2, {"LOCAL_RANK": "1"}, "cpu"),
    ],
)
def test_each_process_has_its_gpu(
    device: str,
    devices: int,
    environment: dict[str, str],
    expected: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("LOCAL_RANK", "SLURM_LOCALID"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert device_of_rank(device, devices) == expected


def test_a_process_that_is_done_waits_for_the_others(model: FlowMusic, tmp_path: Path) -> None:
    assert _trainer(model, 2, 1, tmp_path).strategy._timeout == MAX_WAIT  # type: ignore[attr-defined]
