"""Batches with a tiny model: each clip once, the same bytes however it is run, nothing lost."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from features.audio import read_audio
from flowmusic.api.clip import Clip
from flowmusic.api.model import FlowMusic
from flowmusic.api.sampling import Draw
from flowmusic.batch.manifest import Manifest
from flowmusic.batch.run import default_settings, run_batch
from flowmusic.batch.sources import write_manifest
from flowmusic.batch.store import OutOfSpaceError
from flowmusic.cli import main
from tests.batch.conftest import QUIET, command, finished, run

ROWS: list[dict[str, object]] = [
    {"chords": "Am | F", "duration": 1},
    {"chords": "C", "text": "piano", "duration": 1.5, "seed": 3},
    {"chords": "G | D", "duration": 1, "steps": 2},
    {"duration": 1, "seed": 8},
]


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    return write_manifest(tmp_path / "manifest.jsonl", ROWS)


def sounds(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((out / "clips").glob("*.wav"))}


def test_a_manifest_becomes_clips_and_tables(model: FlowMusic, manifest: Path, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    summary = run_batch(model, manifest, tmp_path / "out", progress=lambda *step: seen.append(step))
    assert summary is not None and summary.complete and str(summary) == "4 clips"
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]
    with summary.table.open(newline="") as file:
        table = list(csv.DictReader(file))
    assert [row["status"] for row in table] == ["finished"] * 4
    assert [row["line"] for row in table] == ["1", "2", "3", "4"]
    assert all(row["adherence_chords"] for row in table[:3]) and table[3]["adherence_chords"] == ""
    page = (tmp_path / "out" / "index.html").read_text()
    for row in table:
        clip = tmp_path / "out" / row["file"]
        assert f'src="{row["file"]}"' in page
        assert np.abs(read_audio(clip).samples).max() <= 0.95
        assert json.loads(clip.with_suffix(".json").read_text())["row"]["line"] == int(row["line"])
    assert page.count("<tr") == 5 and "<script>" in page and "http" not in page


def test_rows_are_made_together_where_the_model_makes_several_clips_at_once(
    model: FlowMusic, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = write_manifest(tmp_path / "manifest.jsonl", [ROWS[0], ROWS[0] | {"seed": 1}, *ROWS[1:3]])
    run(model, manifest, tmp_path / "alone")
    sizes: list[int] = []
    render = FlowMusic._render

    def counted(self: FlowMusic, draws: Sequence[Draw], *more: Any) -> list[Clip]:
        sizes.append(len(draws))
        return render(self, draws, *more)

    monkeypatch.setattr(FlowMusic, "_render", counted)
    model.batch_size = 3
    seen: list[tuple[int, int]] = []
    settings = replace(default_settings(model), scores=True, candidates=1)
    run_batch(model, manifest, tmp_path / "out", settings, progress=lambda *step: seen.append(step))
    assert sorted(sizes) == [1, 1, 2] and seen == [(3, 4), (4, 4)]
    alone, together = sounds(tmp_path / "alone"), sounds(tmp_path / "out")
    assert alone.keys() == together.keys()
    for path in (tmp_path / "alone" / "clips").glob("*.wav"):
        made = read_audio(tmp_path / "out" / "clips" / path.name).samples
        assert np.abs(made - read_audio(path).samples).max() < 1e-3


def test_a_clip_of_a_batch_is_made_again_from_its_sidecar(
    model: FlowMusic, manifest: Path, tmp_path: Path
) -> None:
    run(model, manifest, tmp_path / "out", suffix=".flac")
    for path in (tmp_path / "out" / "clips").glob("*.json"):
        again = tmp_path / "again.flac"
        assert main(["generate", "--from", str(path), "-o", str(again), "--overwrite"]) == 0
        assert again.read_bytes() == path.with_suffix(".flac").read_bytes()


def test_order_does_not_change_the_bytes_and_finished_clips_stay(
    model: FlowMusic, manifest: Path, tmp_path: Path
) -> None:
    run(model, manifest, tmp_path / "out")
    backwards = write_manifest(tmp_path / "backwards.jsonl", ROWS[::-1])
    run(model, backwards, tmp_path / "turned")
    assert sounds(tmp_path / "out") == sounds(tmp_path / "turned")
    clips = sorted((tmp_path / "out" / "clips").iterdir())
    before = [(path, path.stat().st_mtime_ns) for path in clips]
    clips[0].unlink()
    (tmp_path / "out" / "failed").mkdir()
    places = (
        "clips/partial-a-0123456789-77.wav",
        "clips/partial-partial-a-0123456789-77-abcd1234.wav",
        "failed/partial-a-0123456789-abcd1234.json",
        "partial-table-abcd1234.csv",
        "partial-index-2-abcd1234.html",
    )
    leftovers = [tmp_path / "out" / place for place in places]
    for leftover in leftovers:
        leftover.write_bytes(b"RIFF")
    longer = write_manifest(tmp_path / "longer.jsonl", [{"seed": 99, "duration": 1}, *ROWS])
    assert str(run(model, longer, tmp_path / "out")) == "5 clips"
    changed = [path for path, time_ns in before if path.stat().st_mtime_ns != time_ns]
    assert {path.stem for path in changed} == {clips[0].stem}
    assert not any(leftover.exists() for leftover in leftovers)


def test_what_cannot_be_read_is_in_the_table_and_the_rest_goes_on(
    tiny_model: Path, tmp_path: Path, music_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "broken.wav").write_bytes(b"no sound at all")
    rows: list[dict[str, object]] = [
        {"drums": "nowhere.wav"},
        {"melody": "broken.wav"},
        {"melody": str(music_file), "duration": 1},
    ]
    manifest = write_manifest(tmp_path / "manifest.jsonl", rows)
    arguments = ["batch", str(manifest), "--out", str(tmp_path / "out"), "--separator", "none", "--no-scores"]
    arguments += ["--checkpoint", str(tiny_model), "--workers", "0"]
    assert main(arguments) == 3
    assert "1 clips, 2 failed" in capsys.readouterr().out
    with (tmp_path / "out" / "table.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert [row["status"] for row in table] == ["failed", "failed", "finished"]
    assert "nowhere.wav does not exist" in table[0]["error"] and "broken.wav" in table[1]["error"]
    (tmp_path / "broken.wav").write_bytes(music_file.read_bytes())
    (tmp_path / "nowhere.wav").write_bytes(music_file.read_bytes())
    assert main(arguments) == 0, "what was repaired is made"
    assert not list((tmp_path / "out" / "failed").iterdir())


def test_bad_rows_stop_the_batch_before_any_work(
    tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "manifest.jsonl").write_text('{"seed": 1}\n{"tempo": 3}\n{"seed": -1}\n')
    out = tmp_path / "out"
    assert (
        main(["batch", str(tmp_path / "manifest.jsonl"), "--out", str(out), "--checkpoint", str(tiny_model)])
        == 2
    )
    conditions = capsys.readouterr().err
    assert (
        "line 2: unknown key 'tempo'" in conditions
        and "line 3: seed must be" in conditions
        and "2 bad rows" in conditions
    )
    assert not out.exists()


def test_a_folder_of_another_batch_is_refused(model: FlowMusic, manifest: Path, tmp_path: Path) -> None:
    run(model, manifest, tmp_path / "out")
    with pytest.raises(ValueError, match=r"other settings \(loudness differ\)"):
        run(model, manifest, tmp_path / "out", loudness=-20.0)


def test_killed_at_any_time_it_goes_on(tiny_model: Path, model: FlowMusic, tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [{"seed": seed, "duration": 2, "steps": 40} for seed in range(12)]
    manifest = write_manifest(tmp_path / "manifest.jsonl", rows)
    out = tmp_path / "out"
    process = subprocess.Popen(command(tiny_model, manifest, out, "--workers", "0"), env=os.environ | QUIET)
    while process.poll() is None and len(finished(out)) < 2:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    kept = {path: path.stat().st_mtime_ns for path in finished(out)}
    assert 2 <= len(kept) < 12 and not (out / "table.csv").exists()
    assert str(run(model, manifest, out)) == "12 clips"
    assert {path: path.stat().st_mtime_ns for path in kept} == kept, "finished clips are not made again"
    run(model, manifest, tmp_path / "whole")
    assert sounds(out) == sounds(tmp_path / "whole")
    assert {path.suffix for path in (out / "clips").iterdir()} == {".wav", ".json"}


def test_two_processes_share_the_rows_and_make_the_same_bytes(
    tiny_model: Path, model: FlowMusic, manifest: Path, tmp_path: Path
) -> None:
    out = tmp_path / "two"
    arguments = command(tiny_model, manifest, out, "--devices", "2", "--workers", "1", "--verbose")
    result = subprocess.run(arguments, capture_output=True, text=True, env=os.environ | QUIET, timeout=500)
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == f"4 clips: {out / 'table.csv'}"
    run(model, manifest, tmp_path / "one")
    assert sounds(out) == sounds(tmp_path / "one")
    ranks = [json.loads(path.read_text())["row"]["rank"] for path in (out / "clips").glob("*.json")]
    assert sorted(ranks) == [0, 0, 1, 1], "each process has its half"


def test_threads_of_the_caller_do_not_change_the_bytes(
    model: FlowMusic, manifest: Path, tmp_path: Path
) -> None:
    import torch

    before = torch.get_num_threads()
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            run(model, manifest, tmp_path / f"{threads}")
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert sounds(tmp_path / "1") == sounds(tmp_path / "3")
    sidecar = next((tmp_path / "3" / "clips").glob("*.json"))
    assert json.loads(sidecar.read_text())["threads"] == 1


def test_a_full_disk_leaves_no_half_clip(tiny_model: Path, manifest: Path, tmp_path: Path) -> None:
    """A limit on the size of files stands for the end of the disk: writing stops in the middle of a clip."""
    code = (
        "import resource, signal, sys\n"
        "from flowmusic.cli import main\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    arguments = command(tiny_model, manifest, tmp_path / "out", "--workers", "0")[3:]
    result = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, env=os.environ | QUIET
    )
    assert result.returncode == 2, result.stderr
    last = result.stderr.strip().splitlines()[-1]
    assert "cannot write" in last and "run again to go on" in last
    assert list((tmp_path / "out" / "clips").iterdir()) == []


def test_what_goes_wrong_in_writing_is_not_the_row_s_fault(
    model: FlowMusic, manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from flowmusic.api import clip as generation

    def full(*_: object) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(generation, "write_audio", full)
    with pytest.raises(OutOfSpaceError, match="No space left on device"):
        run(model, manifest, tmp_path / "out")
    assert not (tmp_path / "out" / "failed").exists()


def test_a_batch_of_candidates_keeps_the_best(model: FlowMusic, tmp_path: Path) -> None:
    manifest = write_manifest(tmp_path / "manifest.jsonl", ROWS[:1])
    run(model, manifest, tmp_path / "out", scores=True, candidates=2)
    (sidecar,) = (tmp_path / "out" / "clips").glob("*.json")
    made = json.loads(sidecar.read_text())
    assert [item["seed"] for item in made["candidates"]] == [0, 1]
    assert made["overall"] == max(item["overall"] for item in made["candidates"])


def test_long_tables_have_pages(model: FlowMusic, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from flowmusic.batch import table
    from flowmusic.batch.store import ClipStore

    monkeypatch.setattr(table, "ROWS_PER_PAGE", 3)
    manifest = write_manifest(
        tmp_path / "manifest.jsonl", [{"seed": seed, "text": "<b>"} for seed in range(7)]
    )
    store = ClipStore(tmp_path, default_settings(model))
    assert str(table.write_tables(Manifest(manifest), store)) == "0 clips, 7 not made"
    pages = [(tmp_path / name).read_text() for name in ("index.html", "index-2.html", "index-3.html")]
    assert [page.count("<tr") - 1 for page in pages] == [3, 3, 1]
    assert "<b>" not in "".join(pages) and all('href="index-2.html"' in page for page in pages)
