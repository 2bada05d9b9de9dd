"""Preparing goes on after a crash, in several processes, and leaves nothing half done."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import safetensors.torch
import torch

from flowmusic.codec.build import AnyCodec
from flowmusic.data import shards
from flowmusic.data.prepare import Preparation, check_data
from flowmusic.data.shards import ShardStore, Share, shard_files, write_shard
from flowmusic.data.sources import find_sources
from tests.data.preparing import contents, info, manifest, preparer, run


def interrupted(music: Path, out: Path, codec: AnyCodec, share: Share, after: int) -> None:
    def interrupt(done: int, total: int) -> None:
        if done == after:
            raise KeyboardInterrupt

    work = Preparation(out, info(codec), preparer(codec), share)
    with pytest.raises(KeyboardInterrupt):
        work.run(find_sources(music, 0.2), interrupt)


def killed(work: Callable[[], object], place: str) -> None:
    """Do `work` in a process that is killed in the middle of the first file that it writes in `place`."""
    write = safetensors.torch.save_file

    def write_or_die(
        tensors: dict[str, torch.Tensor], path: Path, metadata: dict[str, str] | None = None
    ) -> None:
        if f"/{place}/" in str(path):
            path.write_bytes(b"half a file")
            os.kill(os.getpid(), signal.SIGKILL)
        write(tensors, path, metadata)

    process = os.fork()
    if process == 0:
        try:
            torch.set_num_threads(1)  # other threads are not there after a fork
            setattr(safetensors.torch, "save_file", write_or_die)  # noqa: B010 - of another type
            work()
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == -signal.SIGKILL


def test_killed_and_started_again_gives_the_same_data(tmp_path: Path, codec: AnyCodec) -> None:
    music = manifest(tmp_path / "music", 7)
    run(music, tmp_path / "whole", codec)
    sources = find_sources(music, 0.2)

    def interrupt(done: int, total: int) -> None:
        if done == 5:
            raise KeyboardInterrupt

    work = Preparation(tmp_path / "broken", info(codec), preparer(codec), Share())
    with pytest.raises(KeyboardInterrupt):
        work.run(sources, interrupt)
    assert check_data(tmp_path / "broken").problems != []  # some wait for a shard
    report = run(music, tmp_path / "broken", codec)
    assert (report.prepared, report.kept) == (2, 5)
    assert contents(tmp_path / "broken") == contents(tmp_path / "whole")
    assert check_data(tmp_path / "broken").problems == []
    assert run(music, tmp_path / "broken", codec).prepared == 0


def test_processes_share_the_work(tmp_path: Path, codec: AnyCodec) -> None:
    music = manifest(tmp_path / "music", 5)
    run(music, tmp_path / "one", codec)
    for index in range(2):
        run(music, tmp_path / "two", codec, Share(index, 2))
    assert contents(tmp_path / "two") == contents(tmp_path / "one")


@pytest.mark.parametrize(("place", "prepared"), [("data/train", 0), ("0-of-1/train", 1)])
def test_a_process_killed_while_it_writes_leaves_nothing_behind(
    tmp_path: Path, codec: AnyCodec, place: str, prepared: int
) -> None:
    music, out = manifest(tmp_path / "music", 2), tmp_path / "data"
    killed(lambda: run(music, out, codec), place)
    assert len(list(out.rglob("partial-*"))) == 1
    assert shard_files(out, "train") == []  # neither training nor the other processes of an array see it
    assert "partial" not in " ".join(check_data(out).problems)
    assert run(music, out, codec).prepared == prepared
    assert check_data(out).problems == [] and len(contents(out)) == 2 and not list(out.rglob("partial-*"))


def test_files_that_another_process_is_writing_are_left_alone(tmp_path: Path, codec: AnyCodec) -> None:
    out = tmp_path / "data"
    others = [out / "train/partial-1-of-2-00000-x.safetensors", out / "partial-data-x.json",
              out / "pending/1-of-2/train/partial-ab-x.safetensors"]  # fmt: skip
    own = [out / "train/partial-0-of-2-00000-x.safetensors", out / "partial-failures-0-of-2-x.jsonl",
           out / "pending/0-of-2/train/partial-ab-x.safetensors",
           out / "pending/0-of-3/train/partial-ab-x.safetensors"]  # fmt: skip
    for path in others + own:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"half a file")
    run(manifest(tmp_path / "music", 2), out, codec, Share(0, 2))
    assert sorted(out.rglob("partial-*")) == sorted(others)
    assert check_data(out).problems in ([], [f"{out / 'train'} holds no music"])


@pytest.mark.parametrize(
    ("before", "after"), [([Share(0, 2), Share(1, 2)], [Share()]), ([Share()], [Share(0, 2), Share(1, 2)])]
)
def test_what_waited_under_another_number_of_shares_is_packed(
    tmp_path: Path, codec: AnyCodec, before: list[Share], after: list[Share]
) -> None:
    music, out = manifest(tmp_path / "music", 6), tmp_path / "data"
    for share in before:
        interrupted(music, out, codec, share, 2)
    reports = [run(music, out, codec, share) for share in after]
    assert sum(report.prepared for report in reports) == 6 - 2 * len(before)
    assert check_data(out).problems == [] and len(contents(out)) == 6
    assert not list((out / "pending").rglob("*.safetensors"))


def test_a_shard_taken_away_costs_no_other(tmp_path: Path, codec: AnyCodec) -> None:
    music, out = manifest(tmp_path / "music", 7), tmp_path / "data"
    run(music, out, codec, per_shard=2)
    whole = contents(out)
    shard_files(out, "train")[0].unlink()
    assert run(music, out, codec, per_shard=2).prepared == 2
    assert contents(out) == whole


def test_another_process_may_tidy_up_first(
    tmp_path: Path, codec: AnyCodec, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "data"

    def write_and_start_another(path: Path, songs: shards.Songs) -> None:
        write_shard(path, songs)
        ShardStore(out, Share(1, 2), 3)

    monkeypatch.setattr(shards, "write_shard", write_and_start_another)
    assert run(manifest(tmp_path / "music", 2), out, codec, Share(0, 2)).failures == []
    assert not list((out / "pending").rglob("*.safetensors"))
