"""Preparing: what is written for a file, going on after a crash, failures, and the check of a folder."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from features.audio import write_audio
from features.controls import CONTROL_CHANNELS
from features.listen import Listener
from flowmusic.cli import main
from flowmusic.codec.build import AnyCodec
from flowmusic.commands.prepare import data_info
from flowmusic.conditioning.style_features import CodecFeatures
from flowmusic.conditioning.text import TextTokens
from flowmusic.data.prepare import Preparer
from flowmusic.data.prepare_run import Preparation, Share, check_data
from flowmusic.data.shards import DataInfo, ShardReader, read_listing, shard_files
from flowmusic.data.sources import find_sources
from flowmusic.training.init_from import read_codec

RATE = 32_000
LAB = "0.0 1.0 C:maj\n1.0 9.0 A:min\n"
MELODY = "time,f0\n" + "".join(f"{i / 10},440\n" for i in range(100))


class Letters:
    """A text encoder of one state a letter: small, and told apart at a glance."""

    text_dim = 4

    def encode(self, prompts: object) -> TextTokens:
        assert isinstance(prompts, list)
        return TextTokens.of_prompts([torch.full((len(p), 4), float(ord(p[0]))) for p in prompts], 4)


@pytest.fixture(scope="module")
def codec(tiny_model: Path) -> AnyCodec:
    return read_codec(tiny_model)


def preparer(codec: AnyCodec, piece_s: float = 60.0) -> Preparer:
    return Preparer(codec, Letters(), Listener(), piece_s)


def info(codec: AnyCodec) -> DataInfo:
    return data_info("tiny", codec, "letters", 4, {})


def tone(path: Path, duration_s: float, f0_hz: float) -> None:
    times_s = np.arange(round(duration_s * RATE)) / RATE
    write_audio(path, 0.3 * np.sin(2 * np.pi * f0_hz * times_s)[None].astype(np.float32), RATE)


def manifest(folder: Path, n: int, duration_s: float = 2.0) -> Path:
    """`n` tones with labels for all three controls, so that no extractor has to listen."""
    import pretty_midi

    kit = pretty_midi.PrettyMIDI()
    kit.instruments.append(pretty_midi.Instrument(0, is_drum=True))
    kit.instruments[0].notes = [pretty_midi.Note(90, 36, i / 2, i / 2 + 0.1) for i in range(20)]
    folder.mkdir(parents=True, exist_ok=True)
    kit.write(str(folder / "kit.mid"))
    (folder / "a.lab").write_text(LAB)
    (folder / "a.csv").write_text(MELODY)
    lines = []
    for index in range(n):
        tone(folder / f"{index}.wav", duration_s, 220.0 * 1.1**index)
        line = {"path": f"{index}.wav", "captions": ["ab", "c"], "duration": duration_s}
        lines.append(line | {"drums": "kit.mid", "melody": "a.csv", "chords": "a.lab"})
    path = folder / "music.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def run(music: Path, out: Path, codec: AnyCodec, share: Share | None = None, per_shard: int = 3) -> object:
    sources = find_sources(music, 0.2)
    work = Preparation(out, info(codec), preparer(codec), share or Share(), per_shard)
    return work.run(sources, lambda done, total: None)


def contents(out: Path) -> dict[str, str]:
    """Digest of every song of a data folder by its key, and its split."""
    return {
        song.key: f"{path.parent.name} {song.digest}"
        for split in ("train", "valid")
        for path in shard_files(out, split)
        for song in read_listing(path)
    }


def test_labels_captions_and_latents_of_a_file(tmp_path: Path, codec: AnyCodec) -> None:
    report = run(manifest(tmp_path / "music", 2), tmp_path / "data", codec)
    assert (report.prepared, report.failures) == (2, [])  # type: ignore[attr-defined]
    shard = shard_files(tmp_path / "data", "train")[0]
    entry = read_listing(shard)[0]
    song = ShardReader().song(shard, entry.key)
    assert song["latents"].shape == (50, codec.latent_dim) and entry.n_frames == 50
    assert {name: song[name].shape for name in CONTROL_CHANNELS} == {
        name: (100, channels) for name, channels in CONTROL_CHANNELS.items()
    }
    chords = song["chords"][:]
    assert not torch.equal(chords[25], chords[75]) and int(chords[25, 0]) == 255  # C major, then A minor
    assert song["text_lengths"][:].tolist() == [2, 1] and song["text"][0:1].tolist() == [[97.0] * 4]
    assert check_data(tmp_path / "data").problems == []
    split = {text.split()[0] for text in contents(tmp_path / "data").values()}
    assert split == {"train", "valid"}  # the share is small, but one file is always for validation


def test_other_features_for_style_are_kept(tmp_path: Path, codec: AnyCodec) -> None:
    source = find_sources(manifest(tmp_path / "music", 1), 0)[0]
    plain = next(preparer(codec).pieces(source)).tensors
    styled = next(replace(preparer(codec), style=CodecFeatures(codec)).pieces(source)).tensors
    assert set(styled) - set(plain) == {"style_features"}
    assert torch.equal(styled["style_features"], plain["latents"])


def test_long_recordings_are_cut_and_nothing_is_lost(tmp_path: Path, codec: AnyCodec) -> None:
    source = find_sources(manifest(tmp_path, 1, duration_s=7.0), 0.0)[0]
    pieces = list(preparer(codec, piece_s=3.0).pieces(source))
    assert [piece.tensors["latents"].shape[0] for piece in pieces] == [75, 75, 25]
    assert [piece.tensors["chords"].shape[0] for piece in pieces] == [150, 150, 50]


def test_killed_and_started_again_gives_the_same_data(tmp_path: Path, codec: AnyCodec) -> None:
    music = manifest(tmp_path / "music", 7)
    run(music, tmp_path / "whole", codec)
    sources = find_sources(music, 0.2)

    def interrupt(done: int, total: int) -> None:
        if done == 5:
            raise KeyboardInterrupt

    work = Preparation(tmp_path / "broken", info(codec), preparer(codec), Share(), 3)
    with pytest.raises(KeyboardInterrupt):
        work.run(sources, interrupt)
    assert check_data(tmp_path / "broken").problems != []  # some wait for a shard
    report = run(music, tmp_path / "broken", codec)
    assert (report.prepared, report.kept) == (2, 5)  # type: ignore[attr-defined]
    assert contents(tmp_path / "broken") == contents(tmp_path / "whole")
    assert check_data(tmp_path / "broken").problems == []
    assert run(music, tmp_path / "broken", codec).prepared == 0  # type: ignore[attr-defined]


def test_processes_share_the_work(tmp_path: Path, codec: AnyCodec) -> None:
    music = manifest(tmp_path / "music", 5)
    run(music, tmp_path / "one", codec)
    for index in range(2):
        run(music, tmp_path / "two", codec, Share(index, 2))
    assert contents(tmp_path / "two") == contents(tmp_path / "one")


def test_shares() -> None:
    array = {"SLURM_ARRAY_TASK_ID": "5", "SLURM_ARRAY_TASK_MIN": "4", "SLURM_ARRAY_TASK_COUNT": "8"}
    assert Share.parse(None, array) == Share(1, 8) and Share.parse(None, {}) == Share(0, 1)
    assert Share.parse("2/3", array) == Share(2, 3)
    for wrong in ("3/3", "1", "a/b", "-1/2"):
        with pytest.raises(ValueError, match="shard"):
            Share.parse(wrong)


def test_failures_are_reported_by_file(tmp_path: Path, codec: AnyCodec) -> None:
    music = manifest(tmp_path / "music", 3)
    (tmp_path / "music/0.wav").write_bytes(b"RIFF nothing")
    (tmp_path / "music/1.wav").unlink()
    report = run(music, tmp_path / "data", codec)
    assert report.prepared == 1 and len(report.failures) == 2  # type: ignore[attr-defined]
    lines = (tmp_path / "data/failures-0-of-1.jsonl").read_text().splitlines()
    assert [Path(json.loads(line)["path"]).name for line in lines] == ["0.wav", "1.wav"]


def test_another_codec_is_not_mixed_in(tmp_path: Path, codec: AnyCodec) -> None:
    run(manifest(tmp_path / "music", 2), tmp_path / "data", codec)
    other = data_info("tiny", codec, "t5", 4, {})
    with pytest.raises(ValueError, match="prepared with another text_encoder"):
        Preparation(tmp_path / "data", other, preparer(codec), Share(), 3)


def test_damage_is_found(tmp_path: Path, codec: AnyCodec) -> None:
    run(manifest(tmp_path / "music", 2), tmp_path / "data", codec)
    shard = shard_files(tmp_path / "data", "train")[0]
    content = bytearray(shard.read_bytes())
    content[-3] ^= 255
    shard.write_bytes(content)
    problems = check_data(tmp_path / "data").problems
    assert len(problems) == 1 and "is not what was written" in problems[0]


def test_manifest_errors_name_the_line(tmp_path: Path) -> None:
    path = tmp_path / "music.jsonl"
    for text, message in (
        ('{"path": "a.wav", "titel": 1}', "line 1: unknown keys"),
        ("{", "line 1"),
        ('{"path": "a.wav", "split": "all"}', "split"),
        ("", "holds no music"),
    ):
        path.write_text(text + "\n")
        with pytest.raises(ValueError, match=message):
            find_sources(path, 0.1)


def test_the_command_listens_and_checks(
    tmp_path: Path, music_file: Path, tiny_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, out = tmp_path / "music", tmp_path / "data"
    folder.mkdir()
    (folder / "a.wav").write_bytes(music_file.read_bytes())
    (folder / "a.txt").write_text("calm piano\n")
    (folder / "b.wav").write_text("no sound")
    command = ["prepare", str(folder), "--out", str(out), "--codec", str(tiny_model)]
    assert main([*command, "--max-failures", "0.5", "--valid-share", "0"]) == 0
    assert "b.wav" in capsys.readouterr().out
    assert main([*command, "--valid-share", "0"]) == 2  # half of the files fail
    assert main(["prepare", "--out", str(out), "--check"]) == 0
    shard = shard_files(out, "train")[0]
    song = ShardReader().song(shard, read_listing(shard)[0].key)
    assert {"heard_drums", "heard_melody", "heard_chords", "latents", "text"} <= set(song)
    assert song["heard_melody"].shape[0] == 2 * song["latents"].shape[0]
    assert DataInfo.load(out).text_dim == 384
    capsys.readouterr()
    assert main(["prepare", "--out", str(tmp_path / "nothing"), "--check"]) == 2
    assert "holds no prepared data" in capsys.readouterr().err
