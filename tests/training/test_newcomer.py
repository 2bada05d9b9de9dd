"""The path of docs/training.md: a folder of songs becomes a fine-tuned model that is heard."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import soundfile

from features.audio import write_audio
from flowmusic.cli import main

ROOT = Path(__file__).parents[2]
SMALLER = shlex.split(
    "--trainer.max_steps 2 --trainer.val_check_interval 2 --trainer.log_every_n_steps 1 "
    "--trainer.enable_progress_bar false --data.init_args.batch_size 1 --data.init_args.excerpt_frames 40 "
    "--data.init_args.valid_batches 1"
)


def commands() -> list[list[str]]:
    """The first block of shell commands in the document."""
    text = (ROOT / "docs/training.md").read_text(encoding="utf-8")
    block = re.search(r"## Your own music.*?```sh\n(.*?)```", text, re.DOTALL)
    assert block is not None
    return [shlex.split(line, comments=True)[1:] for line in block[1].strip().splitlines()]


def test_own_songs_are_prepared_learned_and_heard(
    tmp_path: Path, music: tuple[np.ndarray, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    samples, rate = music
    monkeypatch.chdir(tmp_path)
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    for index in range(3):
        write_audio(tmp_path / f"songs/{index}.wav", np.tile(samples, 5)[:, index * 1000 :], rate)
    (tmp_path / "songs/0.txt").write_text("a calm piano trio\n")
    found = commands()
    assert [words[0] for words in found] == ["prepare", "prepare", "fit", "export", "generate"]
    watch = ["--trainer.callbacks", "[{class_path: flowmusic.training.watch.Watch, init_args: "
             "{every_n_steps: 2, n_clips: 1}}]"]  # fmt: skip
    for words in found:
        more = {"fit": [*SMALLER, *watch], "generate": ["--duration", "1", "--steps", "1"]}
        assert main([*words, *more.get(words[0], [])]) == 0, words
    clip, rate = soundfile.read(tmp_path / "clip.wav")
    assert len(clip) == rate and np.abs(clip).max() > 0.001
    folder = tmp_path / "runs/mine"
    assert {path.name for path in (folder / "samples/step-0000002").iterdir()} == {"clip-0.wav", "clip-0.png"}
    assert list((folder / "tensorboard").glob("events.*")) and (folder / "tensorboard/config.yaml").is_file()
    figures = (folder / "csv/version_0/metrics.csv").read_text().splitlines()[0]
    assert "train/loss" in figures and "valid/loss" in figures and "adherence/" in figures
