"""Recordings of packages: where they are found, what is kept, what is told."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest

from features.audio import read_audio, write_audio
from tools.recordings import main

TONE = np.sin(np.arange(8000) * 0.1, dtype=np.float32)[None] * 0.25


def _listing(tmp_path: Path, **archive: str) -> list[str]:
    sets = [
        {"split": "train", "package": "a", "folder": "music", "files": ["one"], **archive},
        {"split": "test", "package": "b", "folder": "usr/music", "files": ["two words"]},
    ]
    (tmp_path / "list.json").write_text(json.dumps({"sets": sets}))
    write_audio(tmp_path / "packages/b/usr/music/two words.wav", TONE, 16000)
    places = {"listing": "list.json", "packages": "packages", "out": "out"}
    return [part for name, place in places.items() for part in (f"--{name}", str(tmp_path / place))]


def test_tracks_come_out_of_folders_and_archives(tmp_path: Path) -> None:
    arguments = _listing(tmp_path, archive="all.zip")
    write_audio(tmp_path / "one.wav", np.concatenate([TONE, -TONE]), 16000)
    (tmp_path / "packages/a").mkdir()
    with zipfile.ZipFile(tmp_path / "packages/a/all.zip", "w") as archive:
        archive.write(tmp_path / "one.wav", "music/one.wav")
        archive.writestr("other/thing.txt", "not music")
    assert main(arguments) == 0
    stereo = read_audio(tmp_path / "out/train/a-one.wav")
    mono = read_audio(tmp_path / "out/test/b-two_words.wav")
    assert (stereo.n_channels, mono.n_channels) == (2, 1) and mono.sample_rate == 32000
    assert abs(float(np.abs(mono.samples).max()) - 0.8) < 0.01
    assert not (tmp_path / "packages/a/unpacked/other").exists()
    before = (tmp_path / "out/test/b-two_words.wav").stat().st_mtime_ns
    assert main(arguments) == 0 and (tmp_path / "out/test/b-two_words.wav").stat().st_mtime_ns == before


def test_what_is_missing_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(_listing(tmp_path))
    assert "music/one" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(_listing(tmp_path, archive="none.zip"))
    assert "none.zip" in capsys.readouterr().err
