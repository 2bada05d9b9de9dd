"""Corpus songs and sound files as references."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from features.audio import write_audio
from features.chroma import SILENT
from flowmusic.composer.score import STEMS
from flowmusic.evaluation.references import (
    find_references,
    labels_as_extracted,
    load_clip,
)
from flowmusic.evaluation.report import write_text
from tests.refusals import wav

RATE = 32_000
SONG: dict[str, Any] = {
    "chords": [
        {"start_s": 0.0, "end_s": 3.0, "label": "C:maj"},
        {"start_s": 3.0, "end_s": 6.0, "label": "A:min"},
    ],
    "melody": [
        {"start_s": 0.0, "end_s": 2.0, "midi": 60, "velocity": 90},
        {"start_s": 2.5, "end_s": 6.0, "midi": 69, "velocity": 90},
    ],
    "drums": [{"time_s": time_s, "midi": 36, "velocity": 90} for time_s in (0.5, 1.5, 2.5, 2.505, 3.5)],
    "captions": ["a tune", "another"],
}


def write_song(folder: Path, duration_s: float = 6.0, song: dict[str, Any] = SONG) -> Path:
    rng = np.random.default_rng(len(str(folder)))
    for stem in STEMS:
        write_audio(folder / f"{stem}.wav", 0.1 * rng.standard_normal(round(duration_s * RATE)), RATE)
    (folder / "song.json").write_text(json.dumps(song))
    return folder


def test_songs_and_files_are_found_in_order(tmp_path: Path) -> None:
    write_song(tmp_path / "corpus" / "test" / "b")
    write_song(tmp_path / "corpus" / "test" / "a")
    assert [item.name for item in find_references([tmp_path / "corpus"])] == ["test-a", "test-b"]
    assert find_references([tmp_path / "corpus" / "test" / "a"])[0].is_song
    write_audio(tmp_path / "files" / "x.flac", np.zeros(100), RATE)
    write_audio(tmp_path / "files" / "y.wav", np.zeros(100), RATE)
    (tmp_path / "files" / "notes.txt").write_text("no sound")
    (tmp_path / "files" / "._y.wav").write_bytes(b"\0\5\x16\7")
    (tmp_path / "files" / "folder.wav").mkdir()
    files = find_references([tmp_path / "files"])
    assert [(item.name, item.is_song) for item in files] == [("x", False), ("y", False)]


def test_n_references_are_spread_over_the_list_and_names_are_unique(tmp_path: Path) -> None:
    for i in range(7):
        write_audio(tmp_path / f"{i}.wav", np.zeros(100), RATE)
    assert [item.name for item in find_references([tmp_path], 3)] == ["0", "3", "6"]
    assert len(find_references([tmp_path], 99)) == 7
    twice = find_references([tmp_path / "0.wav", tmp_path / "0.wav"])
    assert len({item.name for item in twice}) == 2


def test_bad_references_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="nowhere does not exist"):
        find_references([tmp_path / "nowhere"])
    with pytest.raises(ValueError, match="holds neither songs"):
        find_references([tmp_path])
    with pytest.raises(ValueError, match="at least one"):
        find_references([], 1)
    song = write_song(tmp_path / "short", 3.0)
    with pytest.raises(ValueError, match=r"short lasts 3\.00 s; expected at least 5 s"):
        load_clip(find_references([song])[0], 5.0)
    assert load_clip(find_references([song])[0], 5.0, allow_shorter=True).audio.duration_s == 3.0
    (song / "melody.wav").unlink()
    with pytest.raises(ValueError, match=r"melody\.wav does not exist"):
        load_clip(find_references([song])[0], 3.0)
    broken = write_song(tmp_path / "broken", 3.0, {"chords": []})
    with pytest.raises(ValueError, match=r"song\.json lacks melody, drums"):
        load_clip(find_references([broken])[0], 3.0)


def test_silence_and_many_channels_are_named(tmp_path: Path) -> None:
    sound = wav(tmp_path / "silent.wav", np.zeros(3 * RATE), RATE)
    with pytest.raises(ValueError, match=r"silent\.wav, from 0\.5 s on, is silent"):
        load_clip(find_references([sound])[0], 2.0)
    sound = wav(tmp_path / "eight.wav", np.full((3 * RATE, 8), 0.1), RATE)
    with pytest.raises(ValueError, match=r"eight\.wav, .* has 8 channels; expected mono or stereo"):
        load_clip(find_references([sound])[0], 2.0)


def test_channels_that_cancel_out_are_turned_over(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    left = np.random.default_rng(0).uniform(-0.5, 0.5, 3 * RATE).astype(np.float32)
    write_audio(tmp_path / "x.wav", np.stack([left, -left]), RATE)
    clip = load_clip(find_references([tmp_path / "x.wav"])[0], 3.0).audio
    np.testing.assert_allclose(clip.samples[0], clip.samples[1], atol=2**-14)
    assert "x.wav: its channels cancel out" in caplog.text


def test_the_clip_is_the_middle_of_the_mix(tmp_path: Path) -> None:
    from features.audio import read_audio

    song = write_song(tmp_path / "song")
    clip = load_clip(find_references([song])[0], 4.0)
    assert clip.start_s == 1.0 and clip.audio.duration_s == 4.0
    mix = sum(read_audio(song / f"{stem}.wav").mono() for stem in STEMS)
    assert np.allclose(clip.audio.mono(), np.asarray(mix)[RATE : 5 * RATE], atol=1e-6)
    assert clip.caption in SONG["captions"]
    assert clip.labels is not None and clip.labels.duration_s == 4.0


def test_labels_are_cut_to_the_clips_own_clock() -> None:
    labels = labels_as_extracted(SONG, 1.0, 4.0)
    assert [(item.start_s, item.end_s, item.label) for item in labels.chords] == [
        (0, 2, "C:maj"),
        (2, 4, "A:min"),
    ]
    assert labels.onsets_s == pytest.approx([0.5, 1.5, 2.5])  # 2.505 is the same stroke
    at = {round(float(time_s), 2): i for i, time_s in enumerate(labels.f0_times_s)}
    assert labels.f0_hz[at[0.51]] == pytest.approx(261.63, abs=0.01)
    assert labels.confidence[at[1.21]] == 0.0 and labels.f0_hz[at[1.21]] == 0.0
    assert labels.f0_hz[at[3.01]] == pytest.approx(440.0)
    assert (
        labels.chroma[2] == 0 and labels.chroma[-1] == 9 and labels.chroma[9] == SILENT
    )  # 0.26, 4.0, 1.15 s


def test_references_of_any_name(music_file: Path, tmp_path: Path) -> None:
    names = [b"caf\xe9.wav", "für #1.wav".encode(), b"x" * 250 + b"1.wav", b"x" * 250 + b"2.wav"]
    for name in names:
        shutil.copy(music_file, tmp_path / os.fsdecode(name))
    found = find_references([tmp_path])
    assert {os.fsencode(item.path.name) for item in found} == set(names)
    assert len({item.name for item in found}) == 4 and all(
        len(os.fsencode(item.name)) < 170 for item in found
    )
    assert {os.fsdecode(b"caf\xe9"), "für #1"} <= {item.name.split("-", 1)[1] for item in found}
    clips = [load_clip(item, 2.0) for item in found]
    report = write_text(tmp_path / "report.md", "\n".join(clip.name for clip in clips))
    assert "caf\\udce9" in report.read_bytes().decode("utf-8")
