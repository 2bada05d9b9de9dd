"""Clips of text alone: a song is composed, followed, told in the sidecar, kept by variations, or left out."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from features.audio import Audio
from flowmusic import FlowMusic
from flowmusic.api.editing import Edit
from flowmusic.api.request import Job, read_job
from flowmusic.api.sidecar import make_clip, varied_from
from flowmusic.cli import main
from flowmusic.composer.captions import tempo_word
from flowmusic.composer.for_text import compose_for
from flowmusic.composer.harmony import MINOR_MODES


@pytest.fixture(scope="module")
def model(tiny_model: Path) -> FlowMusic:
    return FlowMusic.from_pretrained(tiny_model)


@pytest.mark.parametrize(
    ("text", "minor"),
    [
        ("a mournful tune in a minor key, full of grief", True),
        ("Something sinister and gloomy!", True),
        ("a jolly, sunny melody in major", False),
        ("Cheerful music for a birthday party", False),
    ],
)
def test_the_mode_of_a_song_is_that_of_the_words(text: str, minor: bool) -> None:
    songs = [compose_for(text, 10.0, song) for song in range(12)]
    assert sum((song.score.mode in MINOR_MODES) == minor for song in songs) >= 10


@pytest.mark.parametrize(
    ("text", "pace"), [("as slow as a snail, hardly moving", "slow"), ("racing along at full speed", "fast")]
)
def test_the_tempo_of_a_song_is_that_of_the_words(text: str, pace: str) -> None:
    songs = [compose_for(text, 10.0, song) for song in range(12)]
    assert sum(tempo_word(song.score.bpm, song.score.metre) == pace for song in songs) >= 10


def test_drums_play_where_words_ask_for_them() -> None:
    loud = [compose_for("pounding drums and crashing cymbals", 10.0, song) for song in range(12)]
    quiet = [compose_for("no drums at all, no percussion", 10.0, song) for song in range(12)]
    assert sum(song.score.drums is not None for song in loud) >= 11
    assert sum(song.score.drums is not None for song in quiet) <= 2


def test_a_text_alone_is_composed_and_told(model: FlowMusic) -> None:
    clip = model.generate(text="a fast rock song, 140 bpm, with drums", duration_s=3.0, seed=2)
    composed = clip.metadata["composed"]
    assert isinstance(composed, dict) and composed["bpm"] == 140.0
    assert clip.metadata["references"] == {}
    assert set(composed["parts"]) <= set(clip.controls.given) and "chords" in clip.controls.given
    assert clip.metadata["guidance"] == model.model.defaults.composed_guidance
    slower = model.generate(text="a fast rock song, 140 bpm, with drums", duration_s=3.0, seed=2, bpm=70)
    assert slower.metadata["composed"]["bpm"] == 70.0  # type: ignore[index]


def test_one_song_is_played_by_several_seeds(model: FlowMusic) -> None:
    first, second = (model.generate(text="jazz", duration_s=1.0, seed=seed, song=9) for seed in (1, 2))
    assert first.metadata["composed"] == second.metadata["composed"]
    assert not np.array_equal(first.audio, second.audio)
    other = model.generate(text="jazz", duration_s=1.0, seed=1)
    assert other.metadata["composed"] != first.metadata["composed"]
    assert (
        other.metadata["composed"] == model.generate(text="jazz", duration_s=1.0, song=1).metadata["composed"]
    )


def test_nothing_is_composed_beside_anything_else(model: FlowMusic, caplog: pytest.LogCaptureFixture) -> None:
    sound = Audio(0.1 * np.random.default_rng(0).standard_normal((1, 32_000)).astype(np.float32), 32_000)
    for given in (
        {"chords": "Am"},
        {"compose": False},
        {"edit": Edit(vary_from=sound)},
        {"edit": Edit(context=sound, goes_on=True), "song": 3},
        {"text": None},
        {"text": "  "},
    ):
        clip = model.generate(**{"text": "a calm piano", "duration_s": 2.0, "steps": 1} | given)  # type: ignore[arg-type]
        assert clip.metadata["composed"] is None, given
        assert clip.metadata["guidance"] == model.model.defaults.guidance
    assert caplog.text.count("song 3 is not used") == 1


def test_a_variation_keeps_the_song(model: FlowMusic, tmp_path: Path) -> None:
    job = Job(text="slow blues", duration_s=1.0, seed=5)
    clip = make_clip(model, job)
    path = clip.save(tmp_path / "clip.wav")[0]
    again = varied_from(path)
    assert (again.seed, again.song) == (6, 5)
    varied = make_clip(model, replace(again, vary_from=str(path)))
    assert varied.metadata["composed"] == clip.metadata["composed"]
    plain = make_clip(model, replace(job, compose=False)).save(tmp_path / "plain.wav")[0]
    assert varied_from(plain).song is None
    with_chords = make_clip(model, replace(job, chords="C")).save(tmp_path / "chords.wav")[0]
    assert varied_from(with_chords).song is None


def test_jobs_and_command_say_how(tiny_model: Path, tmp_path: Path) -> None:
    assert read_job({"text": "x", "compose": False, "song": 4}) == Job(text="x", compose=False, song=4)
    with pytest.raises(ValueError, match="compose must be true or false"):
        read_job({"text": "x", "compose": "no"})
    base = ["generate", "--checkpoint", str(tiny_model), "--text", "folk", "--duration", "1"]
    clips = [tmp_path / f"{name}.wav" for name in ("composed", "plain", "other", "again")]
    for clip, extra in zip(clips[:3], (["--song", "3"], ["--no-compose"], ["--song", "4"]), strict=True):
        assert main([*base, *extra, "-o", str(clip)]) == 0
    conditions = [json.loads(clip.with_suffix(".json").read_text())["composed"] for clip in clips[:3]]
    assert conditions[0] and conditions[1] is None and conditions[2] and conditions[0] != conditions[2]
    assert main(["generate", "--from", str(clips[0].with_suffix(".json")), "-o", str(clips[3])]) == 0
    assert clips[3].read_bytes() == clips[0].read_bytes()
