"""Preparing: what is written for a file, failures, and the check of a folder."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from features.audio import Audio, write_audio
from features.controls import CONTROL_CHANNELS
from flowmusic.cli import main
from flowmusic.codec.build import AnyCodec
from flowmusic.commands.prepare import _duration, _TimeLeft, data_info
from flowmusic.conditioning.style_features import CodecFeatures
from flowmusic.data.prepare import Piece, Preparation, Preparer, check_data
from flowmusic.data.shards import DataInfo, ShardReader, Share, read_listing, shard_files
from flowmusic.data.sources import Source, find_sources
from flowmusic.data.style_excerpts import extract_in_parts
from tests.data.preparing import RATE, contents, info, manifest, preparer, run, tone
from tests.refusals import LFS_POINTER


def test_labels_captions_and_latents_of_a_file(tmp_path: Path, codec: AnyCodec) -> None:
    report = run(manifest(tmp_path / "music", 2), tmp_path / "data", codec)
    assert (report.prepared, report.failures) == (2, [])
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


def rendered(folder: Path, rate: int, melody_rate: int | None = None) -> Source:
    """A song of 3 s: a tone, a click each half second and a chord, as three stems."""
    folder.mkdir(parents=True)
    times_s = np.arange(3 * rate) / rate
    clicks = np.sin(2 * np.pi * 180 * times_s) * np.exp(-(times_s % 0.5) * 40)
    stems = {"drums": clicks, "melody": np.sin(2 * np.pi * 440 * times_s), "backing": 0 * times_s}
    for name, samples in stems.items():
        found = melody_rate if name == "melody" and melody_rate else rate
        write_audio(folder / f"{name}.wav", 0.3 * np.stack([samples, samples]).astype(np.float32), found)
    labels = {"captions": ["a"], "chords": [{"start_s": 0.0, "end_s": 3.0, "label": "C:maj"}]}
    labels["melody"] = [{"start_s": 0.0, "end_s": 3.0, "midi": 69}]
    (folder / "song.json").write_text(json.dumps(labels))
    return Source(folder, "train")


def test_rendered_songs_of_any_rate_are_prepared_alike(tmp_path: Path, codec: AnyCodec) -> None:
    deaf = replace(preparer(codec), extracted_s=0.0)
    usual, lower = (
        next(deaf.pieces(rendered(tmp_path / f"{rate}", rate))).tensors for rate in (RATE, 16_000)
    )
    assert usual["latents"].shape == lower["latents"].shape == (75, codec.latent_dim)
    assert usual["drums"].shape == lower["drums"].shape == (150, 4)
    low = [tensors["drums"][:, 0].float() for tensors in (usual, lower)]
    assert float(low[0].max()) > 150 and float((low[0] - low[1]).abs().mean()) < 8
    with pytest.raises(ValueError, match="must have one rate and length"):
        next(deaf.pieces(rendered(tmp_path / "mixed", RATE, melody_rate=16_000)))


class Shaped:
    """Features of 50 a second, one frame short of what there is: the length heard, and the place in it."""

    feature_rate = 50.0

    def extract(self, audio: Audio) -> torch.Tensor:
        n = round(audio.duration_s * 50) - 1
        return torch.stack([torch.full((n,), audio.duration_s), torch.arange(n).float()], dim=1)


def test_other_features_for_style_are_kept(tmp_path: Path, codec: AnyCodec) -> None:
    source = find_sources(manifest(tmp_path / "music", 1), 0)[0]
    plain = next(preparer(codec).pieces(source)).tensors
    styled = next(
        replace(preparer(codec), style=CodecFeatures(codec, codec.latent_dim)).pieces(source)
    ).tensors
    assert set(styled) - set(plain) == {"style_features"}
    assert torch.equal(styled["style_features"], plain["latents"])
    longer = find_sources(manifest(tmp_path / "longer", 1, duration_s=7.0), 0)[0]
    extracted = next(replace(preparer(codec), style=Shaped()).pieces(longer)).tensors["style_features"]
    assert extracted.shape == (350, 2) and set(extracted[:, 0].tolist()) == {
        3.5
    }  # two parts, none beyond 4.5 s


@pytest.mark.parametrize(("duration_s", "extracted_s"), [(2.0, 2.0), (4.5, 4.5), (10.0, 10 / 3)])
def test_features_for_style_are_heard_no_longer_than_an_excerpt(
    duration_s: float, extracted_s: float
) -> None:
    found = extract_in_parts(Shaped(), Audio(np.zeros((2, round(duration_s * RATE)), np.float32), RATE))
    assert found.shape == (round(duration_s * 50), 2)
    torch.testing.assert_close(found[:, 0], torch.full((len(found),), extracted_s), rtol=0, atol=1e-3)
    starts = (found[:, 1] == 0).nonzero().flatten() / 50  # each part is where it was heard
    assert [round(float(start) / extracted_s, 1) for start in starts] == list(
        range(round(duration_s / extracted_s))
    )


def test_long_recordings_are_cut_and_nothing_is_lost(tmp_path: Path, codec: AnyCodec) -> None:
    source = find_sources(manifest(tmp_path, 1, duration_s=7.0), 0.0)[0]
    pieces = list(preparer(codec, piece_s=3.0).pieces(source))
    assert [piece.tensors["latents"].shape[0] for piece in pieces] == [75, 75, 25]
    assert [piece.tensors["chords"].shape[0] for piece in pieces] == [150, 150, 50]


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
    assert report.prepared == 1 and len(report.failures) == 2
    lines = (tmp_path / "data/failures-0-of-1.jsonl").read_text().splitlines()
    assert [Path(json.loads(line)["path"]).name for line in lines] == ["0.wav", "1.wav"]


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (PermissionError(13, "Permission denied", "0.wav"), "[Errno 13] Permission denied: '0.wav'"),
        (RuntimeError("Kernel size\nis greater than input"), "RuntimeError: Kernel size is greater"),
        (MemoryError(), "MemoryError"),
        (KeyError("melody"), "KeyError: 'melody'"),
    ],
)  # fmt: skip
def test_whatever_a_file_does_the_others_go_on(
    tmp_path: Path, codec: AnyCodec, monkeypatch: pytest.MonkeyPatch, error: Exception, reason: str
) -> None:
    pieces = Preparer.pieces

    def refuse_the_first(self: Preparer, source: Source) -> Iterator[Piece]:
        if source.path.name == "0.wav":
            raise error
        return pieces(self, source)

    monkeypatch.setattr(Preparer, "pieces", refuse_the_first)
    report = run(manifest(tmp_path / "music", 2), tmp_path / "data", codec)
    assert report.prepared == 1 and len(report.failures) == 1
    assert report.failures[0][0].endswith("0.wav") and report.failures[0][1].startswith(reason)


def test_captions_that_are_not_utf_8_are_a_failure_of_their_file(tmp_path: Path, codec: AnyCodec) -> None:
    manifest(tmp_path / "music", 3)
    (tmp_path / "music/1.txt").write_bytes("dolce, più mosso".encode("latin-1"))
    (tmp_path / "music/2.txt").write_text("più mosso", encoding="utf-8")
    for index in (0, 2):
        (tmp_path / f"music/{index}.wav").unlink()
    tone(tmp_path / "music/2.wav", 0.5, 330)  # too short: nothing has to be listened to
    report = run(tmp_path / "music", tmp_path / "data", codec)
    assert [Path(path).name for path, _ in report.failures] == ["1.wav", "2.wav"]
    assert (
        "1.txt, line 1: cannot be read as UTF-8 text; expected captions, one a line" in report.failures[0][1]
    )


def test_a_full_disk_ends_the_run_with_the_name_of_the_file(tmp_path: Path, codec: AnyCodec) -> None:
    import resource

    sources = find_sources(manifest(tmp_path / "music", 2), 0.2)
    work = Preparation(tmp_path / "data", info(codec), preparer(codec), Share())
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))  # bytes of a file, then writing fails
    try:
        with pytest.raises(OSError, match=r"pending/0-of-1/.*\.safetensors cannot be written: .*too large"):
            work.run(sources, lambda done, total: None)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not list((tmp_path / "data").rglob("partial-*"))


def test_other_settings_are_not_mixed_in(tmp_path: Path, codec: AnyCodec) -> None:
    out, plain = tmp_path / "data", preparer(codec)
    run(manifest(tmp_path / "music", 2), out, codec)
    for other, work, name in (
        (data_info("tiny", codec, "t5", 4, {}), plain, "text_encoder"),
        (info(codec), replace(plain, piece_s=30.0), "piece_s"),
        (info(codec), replace(plain, extracted_s=8.0), "extracted_s"),
        (replace(info(codec), valid_share=0.2), plain, "valid_share"),
        (info(codec, per_shard=9), plain, "songs_per_shard"),
    ):
        with pytest.raises(ValueError, match=f"was prepared with {name} .* .now .*: choose another folder"):
            Preparation(out, other, work, Share())


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
        ('{"path": "a.wav", "captions": "più"}', "line 1: cannot be read as UTF-8 text; expected a manifest"),
        ('{"path": "a.wav", "split": "all"}', "split"),
        ('{"path": "a.wav"}\n{"path": "b.wav",}', r"line 2: it is not JSON: .* \(no comma may stand"),
        ('{"path": "a.wav", "path": "b.wav"}', "line 1: the key 'path' stands there twice"),
        ('\n# the songs\n{"path": "a.wav"}', r"line 2: it is not JSON: .* \(JSON has no comments\)"),
        ('[{"path": "a.wav"}]', 'line 1: expected an object with "path"'),
        ("path,captions\na.wav,slow", "line 1: it is not JSON"),
        ('{"path": "a\\u0000.wav"}', 'line 1: "path" must be the path of a file'),
        ('{"path": "a.wav", "chords": 5}', 'line 1: "chords" must be the path of a file, got 5'),
        ('{"path": "a.wav", "drums": "\\ud800"}', 'line 1: "drums" must be the path of a file'),
        ('{"path": "a.wav", "captions": ["\\ud800"]}', 'line 1: "captions" must be texts without control'),
        ('{"path": "a.wav", "duration": NaN}', 'line 1: "duration" must be seconds, got nan'),
        ('{"path": "a.wav", "duration": true}', 'line 1: "duration" must be seconds, got True'),
        ("version https://git-lfs.github.com/spec/v1", "is a Git LFS pointer"),
        ("", "is empty; expected a manifest"),
    ):
        path.write_text(text + "\n", encoding="latin-1")
        with pytest.raises(ValueError, match=message):
            find_sources(path, 0.1)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_captions_and_manifests_of_any_encoding(encoding: str, tmp_path: Path) -> None:
    text = "più mosso\r\n\r\nfür Flügel 🎵\r\n"
    tone(tmp_path / "music" / "a.wav", 0.5, 330)
    (tmp_path / "music" / "a.txt").write_bytes(text.encode(encoding))
    (source,) = find_sources(tmp_path / "music", 0.1)
    assert source.captions == ("più mosso", "für Flügel 🎵")
    row = json.dumps({"path": "music/a.wav", "captions": [*source.captions, "a\u2028b"]}, ensure_ascii=False)
    (tmp_path / "music.jsonl").write_bytes(f"\r\n{row}\r\n".encode(encoding))
    (listed,) = find_sources(tmp_path / "music.jsonl", 0.1)
    assert listed.captions == (*source.captions, "a\u2028b") and listed.path == source.path


def test_names_that_are_not_utf_8_are_prepared_as_others_are(tmp_path: Path, codec: AnyCodec) -> None:
    """Beside one that cannot be: a Git LFS pointer."""
    music = manifest(tmp_path / "music", 3)
    names = [os.fsdecode(b"caf\xe9 #1.wav"), "x" * 251 + ".wav", "1.wav"]
    rows = [json.loads(line) for line in music.read_text().splitlines()]
    for index, name in enumerate(names):
        (tmp_path / f"music/{index}.wav").rename(tmp_path / "music" / name)
        rows[index]["path"] = name
    music.write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "music" / "1.wav").write_bytes(LFS_POINTER)
    report = run(music, tmp_path / "data", codec)
    assert report.prepared == 2 and check_data(tmp_path / "data").problems == []
    ((path, reason),) = report.failures
    assert (
        path.endswith("1.wav") and "is a Git LFS pointer, not the file itself: run `git lfs pull`" in reason
    )
    assert {source.path.name for source in find_sources(tmp_path / "music", 0.1)} == set(names)


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
    assert {"extracted_drums", "extracted_melody", "extracted_chords", "latents", "text"} <= set(song)
    assert song["extracted_melody"].shape[0] == 2 * song["latents"].shape[0]
    assert DataInfo.load(out).text_dim == 384
    capsys.readouterr()
    assert main(["prepare", "--out", str(tmp_path / "nothing"), "--check"]) == 2
    assert "holds no prepared data" in capsys.readouterr().err


def test_the_command_says_which_settings_differ(
    tmp_path: Path, tiny_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    music, out = manifest(tmp_path / "music", 2), tmp_path / "data"
    command = ["prepare", str(music), "--out", str(out), "--codec", str(tiny_model)]
    assert main(command) == 0 and main(command) == 0
    assert main([*command, "--valid-share", "0.3"]) == 2
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert "was prepared with valid_share 0.05 (now 0.3): choose another folder, or the same" in said


def test_the_time_left_is_that_of_the_last_files(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = [0.0]
    monkeypatch.setattr("flowmusic.commands.prepare.time.monotonic", lambda: clock[0])
    say = _TimeLeft()
    for done in range(201):
        say(done, 1000)
        clock[0] += 0.01 if done < 100 else 60.0  # a hundred files were there already
    lines = capsys.readouterr().err.splitlines()
    assert lines[-1] == "200 of 1000, about 13.3 h left"
    assert 15 < len(lines) < 25  # every five minutes where stderr is no terminal
    assert [_duration(seconds) for seconds in (40, 130, 3e5)] == ["40 s", "2 min", "3.5 days"]


@pytest.mark.skipif(torch.accelerator.is_available(), reason="there is a GPU")
def test_a_device_that_is_not_here_is_refused_before_any_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = manifest(tmp_path / "music", 2)
    assert main(["prepare", str(path), "--out", str(tmp_path / "data"), "--device", "cuda"]) == 2
    assert "there is no device 'cuda' here; expected cpu" in capsys.readouterr().err
    assert not (tmp_path / "data").exists()
