"""The same sound under several names, or with captions that changed: once, in one split, up to date."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from features.audio import write_audio
from flowmusic.codec.build import AnyCodec
from flowmusic.data.prepare import check_data
from flowmusic.data.shards import ShardStore, Share
from flowmusic.data.sound_data import list_sources
from flowmusic.data.sources import find_sources, same_content
from tests.data.preparing import contents, manifest, run


def change(music: Path, index: int, **changes: Any) -> None:
    """Change the entry `index` of a manifest; one beyond its end is a copy of the last."""
    lines = [json.loads(line) for line in music.read_text().splitlines()]
    lines = [*lines, dict(lines[-1])] if index == len(lines) else lines
    lines[index] |= changes
    music.write_text("".join(json.dumps(line) + "\n" for line in lines))


def test_what_is_the_same_is_found_whatever_its_name(tmp_path: Path) -> None:
    long = b"a" * 20_000
    for name, content in (
        ("a", long), ("b", b"short"), ("c", long), ("d", long[:-1] + b"b"), ("e", b"other"), ("f", b"short"),
    ):  # fmt: skip
        (tmp_path / name).write_bytes(content)
    assert same_content([[tmp_path / name] for name in "abcdefgg"]) == [[0, 2], [1, 5], [3], [4], [6], [7]]
    assert same_content([[tmp_path / x for x in pair] for pair in ("ab", "ad", "cf")]) == [[0, 2], [1]]
    assert same_content([]) == []


def test_hidden_files_are_no_music(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in (
        "a.wav",
        "._a.wav",
        "train/b.ogg",
        "train/._b.ogg",
        ".trash/c.wav",
        ".old/song.json",
        "d.m4a",
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(name.encode())
    found = find_sources(tmp_path, valid_share=0.0)
    assert [source.path.name for source in found] == ["a.wav", "b.ogg"]
    assert "is passed over: d.m4a" in caplog.text
    write_audio(tmp_path / "a.wav", np.zeros(100), 32_000)
    assert list_sources(tmp_path, 32_000) == [tmp_path / "a.wav"]


def test_one_sound_is_in_one_split(tmp_path: Path) -> None:
    for index in range(8):
        for name in "ab":
            (tmp_path / f"{name}{index}.wav").write_bytes(bytes([index]) * 100)
            (tmp_path / f"{name}{index}.txt").write_text(f"caption {name}")
    found = {source.path.name: source for source in find_sources(tmp_path, 0.5)}
    assert {source.split for source in found.values()} == {"train", "valid"}
    assert [found[f"a{i}.wav"].split for i in range(8)] == [found[f"b{i}.wav"].split for i in range(8)]
    assert all(source.same_as is None for source in found.values())  # with captions of its own each is used
    for folder in ("train", "valid"):
        (tmp_path / "given" / folder).mkdir(parents=True)
        (tmp_path / "given" / folder / "x.wav").write_bytes(b"sound")
    first, second = find_sources(tmp_path / "given", 0.5)
    assert (first.split, second.split, second.same_as) == ("train", "train", first.path)


def test_the_same_file_is_prepared_by_one_process(tmp_path: Path, codec: AnyCodec) -> None:
    music = manifest(tmp_path / "music", 3)
    (tmp_path / "music/3.wav").write_bytes((tmp_path / "music/2.wav").read_bytes())
    change(music, 3, path="3.wav")
    reports = [run(music, tmp_path / "data", codec, Share(index, 2)) for index in range(2)]
    assert [(report.prepared, report.duplicates) for report in reports] == [(2, 0), (1, 1)]
    assert len(contents(tmp_path / "data")) == 3


@pytest.mark.parametrize("crash", [False, True])
def test_a_changed_caption_takes_the_place_of_the_old(
    tmp_path: Path, codec: AnyCodec, monkeypatch: pytest.MonkeyPatch, crash: bool
) -> None:
    music, out = manifest(tmp_path / "music", 4), tmp_path / "data"
    run(music, out, codec)
    before = contents(out)
    change(music, 1, captions=["changed"])
    if crash:
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(ShardStore, "drop", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
            run(music, out, codec)
    report = run(music, out, codec)
    assert (report.prepared, report.kept, report.replaced) == ((0, 4, 1) if crash else (1, 3, 1))
    after = contents(out)
    assert len(after) == 4 and len(set(after) & set(before)) == 3
    assert check_data(out).problems == []
    assert run(music, out, codec).replaced == 0


def test_processes_replace_only_what_is_their_own(tmp_path: Path, codec: AnyCodec) -> None:
    music, out = manifest(tmp_path / "music", 4), tmp_path / "data"
    for index in range(2):
        run(music, out, codec, Share(index, 2))
    change(music, 1, captions=["changed"])
    assert run(music, out, codec, Share(1, 2)).replaced == 1  # that process prepared it
    change(music, 1, captions=["again"])
    change(music, 0, path="00.wav")
    (tmp_path / "music/0.wav").rename(tmp_path / "music/00.wav")
    (tmp_path / "music/000.wav").write_bytes((tmp_path / "music/00.wav").read_bytes())
    change(music, 4, path="000.wav", captions=["first of all"])  # now the other one has the changed song
    report = run(music, out, codec, Share(0, 2))
    assert len(report.failures) == 1 and "prepare once without --shard" in report.failures[0][1]
    report = run(music, out, codec)
    assert report.failures == [] and report.replaced == 1 and len(contents(out)) == 5


def test_what_stands_there_already_decides_the_split(tmp_path: Path, codec: AnyCodec) -> None:
    music, out = manifest(tmp_path / "music", 2), tmp_path / "data"
    for index in range(2):
        change(music, index, split="train")
    run(music, out, codec)
    (tmp_path / "music/00.wav").write_bytes((tmp_path / "music/1.wav").read_bytes())
    change(music, 2, path="00.wav", captions=["other"], split="valid")
    assert run(music, out, codec).prepared == 1
    assert {text.split()[0] for text in contents(out).values()} == {"train"} and len(contents(out)) == 3
