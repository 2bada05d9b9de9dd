"""What goes wrong in a batch: one row is noted with its reason and the others are made."""

from __future__ import annotations

import csv
import os
import re
import weakref
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from features.cache import FeatureCache
from features.extract import Extractors
from flowmusic.api.clip import Clip
from flowmusic.api.model import FlowMusic
from flowmusic.api.prepared import Prepared
from flowmusic.api.request import Request
from flowmusic.batch.manifest import Manifest, Row
from flowmusic.batch.run import ClipMaker, default_settings, no_progress, run_batch
from flowmusic.batch.sources import reference_rows, write_manifest
from flowmusic.batch.store import ClipStore
from flowmusic.batch.table import BatchSummary, write_tables
from flowmusic.cli import main
from flowmusic.commands.batch import EXIT_INCOMPLETE
from tests.batch.conftest import run
from tests.refusals import LFS_POINTER

ROWS: list[dict[str, object]] = [{"seed": seed, "chords": "C", "duration": 1} for seed in range(3)]
STARVED = "CUDA out of memory. Tried to allocate 20.00 GiB"


class UnsendableError(Exception):
    """One that cannot be sent between processes: it is not made again from its message."""

    def __init__(self, one: str, two: str) -> None:
        super().__init__(f"{one} {two}")


def sums() -> None:
    np.zeros(2) + np.zeros(3)


ERRORS: dict[str, tuple[Callable[[], object], str]] = {
    "memory": (lambda: _raise(MemoryError()), "MemoryError"),
    "gpu memory": (lambda: _raise(torch.OutOfMemoryError(STARVED)), f"OutOfMemoryError: {STARVED}"),
    "runtime": (lambda: _raise(RuntimeError("two\nlines")), "RuntimeError: two lines"),
    "type": (lambda: _raise(TypeError("no such thing")), "TypeError: no such thing"),
    "assertion": (lambda: _raise(AssertionError()), "AssertionError"),
    "numpy": (sums, "ValueError: operands could not be broadcast together with shapes (2,) (3,)"),
    "odd": (lambda: _raise(UnsendableError("a", "b")), "UnsendableError: a b"),
    "request": (lambda: Request(steps=0), "steps must be a whole number from 1 to 1000, got 0"),
}


def _raise(error: BaseException) -> None:
    raise error


def lines(summary: BatchSummary) -> list[dict[str, str]]:
    with summary.table.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("batch_size", [1, 3])
@pytest.mark.parametrize("kind", ERRORS)
def test_a_row_that_fails_in_making_is_noted(
    kind: str, batch_size: int, model: FlowMusic, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail, reason = ERRORS[kind]
    real = FlowMusic.prepare

    def some(model: FlowMusic, request: Request, *more: Any) -> Prepared:
        if request.seed == 1:
            fail()
        return real(model, request, *more)

    monkeypatch.setattr(FlowMusic, "prepare", some)
    model.batch_size = batch_size
    summary = run(model, write_manifest(tmp_path / "manifest.jsonl", ROWS), tmp_path / "out")
    assert [line["status"] for line in lines(summary)] == ["finished", "failed", "finished"]
    assert lines(summary)[1]["error"] == reason
    assert str(summary) == f"2 clips, 1 failed (line 2: {reason})"


class Starved(Extractors):
    """Fails with the error of a kind where a melody is asked for; the process says who it is."""

    kind = ""

    def extract(self, references: Any, *more: Any, **named: Any) -> Any:
        if any(item.role == "melody" for item in references):
            note_process(self.cache)
            ERRORS[self.kind][0]()
        return super().extract(references, *more, **named)


def note_process(cache: FeatureCache | None) -> None:
    assert cache is not None
    cache.folder.mkdir(parents=True, exist_ok=True)
    (cache.folder / f"{os.getpid()}.asked").touch()


@pytest.mark.parametrize("kind", ERRORS)
def test_a_row_that_fails_in_extracting_ahead_is_noted(
    kind: str, tiny_model: Path, music_file: Path, tmp_path: Path
) -> None:
    extractors = Starved("none", cache=FeatureCache(tmp_path / "cache"))
    extractors.kind = kind
    model = FlowMusic.from_pretrained(tiny_model, extractors=extractors)
    manifest = write_manifest(
        tmp_path / "manifest.jsonl", [{"melody": str(music_file), "duration": 1}, *ROWS[:1]]
    )
    summary = run(model, manifest, tmp_path / "out")
    assert [line["status"] for line in lines(summary)] == ["failed", "finished"]
    assert lines(summary)[0]["error"] == ERRORS[kind][1]


def test_a_row_that_fails_in_a_worker_process_is_noted(
    tiny_model: Path, music_file: Path, tmp_path: Path
) -> None:
    """With the worst of them: an error that cannot be sent."""
    extractors = Starved("none", cache=FeatureCache(tmp_path / "cache"))
    extractors.kind = "odd"
    model = FlowMusic.from_pretrained(tiny_model, extractors=extractors)
    rows: list[dict[str, object]] = [{"melody": str(music_file), "duration": 1}, *ROWS[:1]]
    manifest = write_manifest(tmp_path / "manifest.jsonl", rows)
    settings = replace(default_settings(model), scores=False)
    summary = run_batch(model, manifest, tmp_path / "out", settings, workers=1)
    assert summary is not None
    assert [(line["status"], line["error"]) for line in lines(summary)] == [
        ("failed", "UnsendableError: a b"),
        ("finished", ""),
    ]
    (asked,) = (tmp_path / "cache").glob("*.asked")
    assert asked.stem != str(os.getpid()), "it failed in the other process"


def test_files_of_odd_names_and_stand_ins_are_rows_of_their_own(
    model: FlowMusic, music_file: Path, tmp_path: Path
) -> None:
    """A Git LFS pointer fails alone; names that are not UTF-8 are made, and the tables are UTF-8."""
    names = [b"caf\xe9.wav", b'a\nb "#.wav', "🎵.wav".encode(), b"x" * 251 + b".wav"]
    folder = tmp_path / "references"
    folder.mkdir()
    for name in names:
        (folder / os.fsdecode(name)).symlink_to(music_file)
    for placeholder in ("lfs.wav", "page.mid"):
        (folder / placeholder).write_bytes(LFS_POINTER)
    manifest = write_manifest(tmp_path / "manifest.jsonl", reference_rows(folder, ["drums"]))
    summary = run(model, manifest, tmp_path / "out")
    assert (summary.finished, summary.failed) == (4, 2)
    failed = [line for line in lines(summary) if line["status"] == "failed"]
    assert {Path(line["drums"] or line["melody"]).name for line in failed} == {"lfs.wav", "page.mid"}
    assert all(
        "is a Git LFS pointer, not the file itself: run `git lfs pull`" in line["error"] for line in failed
    )
    for path in (summary.table, tmp_path / "out" / "index.html", *(tmp_path / "out").rglob("*.json")):
        path.read_bytes().decode("utf-8")


def test_a_damaged_sidecar_fails_its_row_alone(model: FlowMusic, tmp_path: Path) -> None:
    manifest = write_manifest(tmp_path / "manifest.jsonl", ROWS)
    run(model, manifest, tmp_path / "out")
    sidecar = sorted((tmp_path / "out" / "clips").glob("*.json"))[0]
    for content, message in ((b'{"format": 1,}', "no comma may stand"), (LFS_POINTER, "run `git lfs pull`")):
        sidecar.write_bytes(content)
        summary = run(model, manifest, tmp_path / "out")
        assert (summary.finished, summary.failed) == (2, 1)
        assert str(sidecar) in summary.first_failure and message in summary.first_failure


def test_a_plot_that_fails_is_its_row_s_fault(
    model: FlowMusic, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def draw(clip: Clip, *_: object) -> None:
        if clip.info.seed == 1:
            raise MemoryError
        real(clip, *_)  # type: ignore[arg-type]

    real = Clip.draw
    monkeypatch.setattr(Clip, "draw", draw)
    summary = run(model, write_manifest(tmp_path / "manifest.jsonl", ROWS), tmp_path / "out", plots=True)
    assert [(line["status"], line["error"]) for line in lines(summary)] == [
        ("finished", ""),
        ("failed", "MemoryError"),
        ("finished", ""),
    ]


@pytest.mark.parametrize(("device", "freed"), [("cuda", [True]), ("cpu", [])])
def test_out_of_memory_frees_the_gpu_s_cache(
    device: str, freed: list[bool], model: FlowMusic, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once the tensors of the error's frames are gone, or else nothing would be freed."""
    held: list[weakref.ref[torch.Tensor]] = []
    seen: list[bool] = []

    def starve(*_: object) -> None:
        tensor = torch.zeros(3)
        held.append(weakref.ref(tensor))
        raise torch.OutOfMemoryError(STARVED)

    monkeypatch.setattr(ClipMaker, "_make", starve)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: seen.append(held[-1]() is None))
    maker = ClipMaker(model, ClipStore(tmp_path, default_settings(model)), no_progress)
    maker.made_with = (SimpleNamespace(model=SimpleNamespace(device=torch.device(device))),)  # type: ignore[assignment]
    assert maker._why_not_made([Row(1, "a", Request())]) == f"OutOfMemoryError: {STARVED}"
    assert seen == freed

    monkeypatch.setattr(ClipMaker, "_make", lambda *_: _raise(TypeError("x")))
    assert maker._why_not_made([Row(1, "a", Request())]) == "TypeError: x"
    assert seen == freed, "nothing is freed for other errors"


def test_the_command_names_the_first_reason_and_where_the_others_are(
    tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows: list[dict[str, object]] = [*ROWS[:1], {"drums": "first.wav"}]
    out = tmp_path / "out"
    words = ["--out", str(out), "--no-scores", "--workers", "0", "--checkpoint", str(tiny_model)]
    manifest = str(write_manifest(tmp_path / "manifest.jsonl", rows))
    assert main(["batch", manifest, *words]) == EXIT_INCOMPLETE
    said = capsys.readouterr().out
    assert said.startswith(f"1 clips, 1 failed (line 2: {tmp_path / 'first.wav'} does not exist")
    assert "others" not in said and said.endswith(f"): {out / 'table.csv'}\n")
    manifest = str(write_manifest(tmp_path / "manifest.jsonl", [*rows, {"drums": "second.wav"}]))
    assert main(["batch", manifest, *words]) == EXIT_INCOMPLETE
    said = capsys.readouterr().out
    assert said.startswith("1 clips, 2 failed (line 2: ") and "second.wav" not in said
    assert said.endswith(f"; the others' reasons are in the table): {out / 'table.csv'}\n")
    assert "second.wav does not exist" in (out / "table.csv").read_text(encoding="utf-8")


def test_only_what_is_half_written_is_removed(
    model: FlowMusic, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half-written files are made by the code that writes them, killed before it can clean up."""
    rows = [{"name": "partial-mix"} | ROWS[0], *ROWS[1:]]
    manifest, out = write_manifest(tmp_path / "manifest.jsonl", rows), tmp_path / "out"
    first = run(model, manifest, out)
    clip = model.generate(chords="C", duration=1.0)
    store = ClipStore(out, replace(default_settings(model), scores=False, plots=True))
    row = next(iter(Manifest(manifest)))
    kept = {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()}

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    def write_settings() -> None:
        (out / "batch.json").rename(tmp_path / "kept.json")
        try:
            store.open()
        finally:
            (tmp_path / "kept.json").rename(out / "batch.json")

    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", killed)
        patched.setattr(Path, "unlink", lambda *_, **__: None)
        for write in (
            lambda: store.save(row.name, clip),
            lambda: clip.save(store.audio_path(row.name), plot=True, extractors=model.extractors),
            lambda: store.fail(row.name, "why"),
            lambda: write_tables(Manifest(manifest), store),
            lambda: write_manifest(out / "manifest.jsonl", rows),
            write_settings,
        ):
            with pytest.raises(KeyboardInterrupt):
                write()
    left = {path for path in out.rglob("*") if path.is_file()} - set(kept)
    places = {re.sub(r"-[a-z0-9_]{8}(?=\.)", "", str(path.relative_to(out))).split("/")[0] for path in left}
    assert places == {
        "clips",
        "failed",
        "partial-table.csv",
        "partial-index.html",
        "partial-manifest.jsonl",
        "partial-batch.json",
    }
    assert {path.suffix for path in left} == {".wav", ".json", ".csv", ".html", ".jsonl"}
    own = [".gitignore", "clips/.notes", "clips/._mine.wav", "failed/.keep", "partial-list.txt"]
    own += [
        "clips/partial-mix.wav",
        "clips/partial-one-2.wav",
        "failed/partial-why.json",
        "partial-table.csv",
    ]
    for place in own:
        (out / place).parent.mkdir(exist_ok=True)
        (out / place).write_bytes(b"the user's")
    assert str(run(model, manifest, out)) == str(first) == "3 clips"
    assert not any(path.exists() for path in left), "what was half-written is gone"
    assert all((out / place).read_bytes() == b"the user's" for place in own)
    clips = {path: time_ns for path, time_ns in kept.items() if path.parent.name == "clips"}
    assert any(path.name.startswith("partial-mix-") for path in clips)
    assert {path: path.stat().st_mtime_ns for path in clips} == clips, "no clip was made again"


@pytest.mark.parametrize("sign", "=+-@\t\r")
def test_cells_that_a_spreadsheet_would_calculate_are_text(
    sign: str, model: FlowMusic, tmp_path: Path
) -> None:
    text = f"{sign}HYPERLINK(1)"
    store = ClipStore(tmp_path, default_settings(model))
    manifest = Manifest(write_manifest(tmp_path / "manifest.jsonl", [{"text": text}, {"text": "1=1"}]))
    first, second = manifest
    store.fail(first.name, text)
    made, other = lines(write_tables(manifest, store))
    assert made["text"] == made["error"] == f"'{text}"
    assert other["text"] == "1=1" and second.request.text == "1=1"


@pytest.mark.parametrize("content", ["{", "[]", "\xff"])
def test_a_folder_whose_settings_cannot_be_read_is_refused(
    content: str, model: FlowMusic, tmp_path: Path
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "batch.json").write_bytes(content.encode("latin-1"))
    with pytest.raises(ValueError, match=r"out/batch\.json is not .*that a batch writes|what a batch writes"):
        run(model, write_manifest(tmp_path / "manifest.jsonl", ROWS), tmp_path / "out")
