"""Songs for texts: composed, followed, in the sidecar, kept by variations, fitted to loops, or left out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from features.audio import Audio
from features.controls import Controls
from flowmusic import FlowMusic, Request
from flowmusic.api.clip import SongInfo
from flowmusic.api.sidecar import varied_from
from flowmusic.cli import main
from flowmusic.composer.captions import tempo_word
from flowmusic.composer.for_text import compose_for
from flowmusic.composer.harmony import MINOR_MODES
from flowmusic.composer.sheet import METRES


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
    ("text", "tempo"), [("as slow as a snail, hardly moving", "slow"), ("racing along at full speed", "fast")]
)
def test_the_tempo_of_a_song_is_that_of_the_words(text: str, tempo: str) -> None:
    songs = [compose_for(text, 10.0, song) for song in range(12)]
    assert sum(tempo_word(song.score.bpm, song.score.metre) == tempo for song in songs) >= 10


def test_drums_play_where_words_ask_for_them() -> None:
    loud = [compose_for("pounding drums and crashing cymbals", 10.0, song) for song in range(12)]
    quiet = [compose_for("no drums at all, no percussion", 10.0, song) for song in range(12)]
    assert sum(song.score.drums is not None for song in loud) >= 11
    assert sum(song.score.drums is not None for song in quiet) <= 2


def test_a_text_alone_is_composed_and_the_sidecar_says_so(model: FlowMusic) -> None:
    text = "a fast rock song, 140 bpm, with drums"
    clip = model.generate(text=text, duration=3.0, seed=2)
    composed = clip.info.composed
    assert composed is not None and composed.bpm == 140.0 and composed.song == 2
    assert clip.info.request.song == 2
    assert clip.info.references == {}
    assert set(composed.parts) <= set(clip.controls.given) and "chords" in clip.controls.given
    assert clip.info.guidance == model.model.defaults.composed_guidance
    slower = model.generate(text=text, duration=3.0, seed=2, bpm=70.0).info.composed
    assert slower is not None and slower.bpm == 70.0


def test_one_song_is_played_by_several_seeds(model: FlowMusic) -> None:
    first, second = (model.generate(text="jazz", duration=1.0, seed=seed, song=9) for seed in (1, 2))
    assert first.info.composed is not None and first.info.composed == second.info.composed
    assert not np.array_equal(first.audio, second.audio)
    other = model.generate(text="jazz", duration=1.0, seed=1)
    assert other.info.composed != first.info.composed
    assert other.info.composed == model.generate(text="jazz", duration=1.0, song=1).info.composed


def sound() -> Audio:
    return Audio(0.1 * np.random.default_rng(0).standard_normal((1, 32_000)).astype(np.float32), 32_000)


def test_nothing_is_composed_beside_anything_else(model: FlowMusic, caplog: pytest.LogCaptureFixture) -> None:
    cases: list[dict[str, Any]] = [
        {"chords": "Am"},
        {"compose": False},
        {"compose": False, "song": 3},
        {"vary": sound()},
        {"context": sound(), "extend": True},
        {"text": None, "song": 4},
    ]
    for given in cases:
        asked: dict[str, Any] = {"text": "a calm piano", "duration": 2.0, "steps": 1} | given
        clip = model.generate(**asked)
        assert clip.info.composed is None, given
        assert clip.info.guidance == model.model.defaults.guidance
    assert caplog.text.count("song is not used") == 2
    with pytest.raises(ValueError, match="text must be a text that is not empty"):
        model.generate(text="  ", duration=2.0)


def test_a_song_that_is_asked_for_fills_what_references_leave_open(
    model: FlowMusic, caplog: pytest.LogCaptureFixture
) -> None:
    band: dict[str, Any] = {
        "text": "a rock band with drums and a melody",
        "duration": 2.0,
        "steps": 1,
        "song": 3,
    }
    alone, chart = (model.generate(**band | given) for given in ({}, {"chords": "Eb"}))
    assert alone.info.composed is not None and set(alone.info.composed.parts) == {"drums", "melody", "chords"}
    kept = alone.info.composed.model_copy(update={"parts": ("drums", "melody")})
    assert chart.info.composed == kept and chart.info.guidance == alone.info.guidance
    assert set(chart.info.references) == {"chords"} and set(chart.controls.given) == {
        "drums",
        "melody",
        "chords",
    }
    assert {item.role: item.name for item in chart.followed} == {
        "chords": "Eb",
        "drums": "composed",
        "melody": "composed",
    }
    for name in ("drums", "melody"):
        assert torch.equal(of(chart.controls, name), of(alone.controls, name))
    assert not torch.equal(of(chart.controls, "chords"), of(alone.controls, "chords"))
    for given in ({"context": sound(), "extend": True}, {"vary": sound()}):
        assert model.generate(**band | given).info.composed == alone.info.composed
    assert "not used" not in caplog.text


def of(controls: Controls, name: str) -> torch.Tensor:
    value = controls.get(name)
    assert value is not None
    return value


def test_a_text_with_a_loop_is_composed_in_whole_bars(
    model: FlowMusic, caplog: pytest.LogCaptureFixture
) -> None:
    for seed in range(3):
        looped, plain = (
            model.generate(text="a gentle folk tune", duration=7.3, seed=seed, steps=1, loop=loop)
            for loop in (True, False)
        )
        song, free = looped.info.composed, plain.info.composed
        assert song is not None and free is not None and song.metre == free.metre
        bars = _bars(song, 7.3)
        assert bars == pytest.approx(round(bars), abs=1e-6) and round(bars) >= 1
        assert bars == pytest.approx(_bars(free, 7.3), abs=0.5 + 1e-6), "the nearest tempo that fits"
        assert bars != pytest.approx(_bars(free, 7.3), abs=0.01), "no test where it fits by chance"
    assert "bar line" not in caplog.text


def test_a_loop_ends_on_a_bar_line() -> None:
    for song in range(16):
        score = compose_for("jazz", 20.0, song, whole_bars=True).score
        bars_s = np.array(score.beats_s[:: score.beats_per_bar]) - score.beats_s[0]
        assert np.abs(bars_s - 20.0).min() < 0.001


def test_a_tempo_that_is_asked_for_is_kept_in_a_loop(
    model: FlowMusic, caplog: pytest.LogCaptureFixture
) -> None:
    base: dict[str, Any] = {"text": "a rock song", "duration": 5.0, "steps": 1, "loop": True}
    for given, bpm in (({"bpm": 97.0}, 97.0), ({"text": "a rock song at 131 bpm"}, 131.0)):
        caplog.clear()
        asked = base | given
        song = model.generate(**asked).info.composed
        assert song is not None and song.bpm == bpm
        expected = f"5 s at {bpm:g} bpm are {_bars(song, 5.0):.2f} bars: the loop does not end on a bar line"
        assert caplog.text.count(expected) == 1
        caplog.clear()
        bar_s = 5.0 / _bars(song, 5.0)
        fitting = model.generate(**asked | {"duration": 3 * bar_s}).info.composed
        assert fitting is not None and fitting.bpm == bpm and "bar line" not in caplog.text


def _bars(song: SongInfo, duration_s: float) -> float:
    return duration_s * song.bpm / 60 / METRES[song.metre].beats_per_bar


def test_a_variation_keeps_the_song(model: FlowMusic, tmp_path: Path) -> None:
    request = Request(text="slow blues", duration=1.0, seed=5)
    clip = model.generate(request)
    path = clip.save(tmp_path / "clip.wav")[0]
    again = varied_from(path)
    assert (again.seed, again.song) == (6, 5)
    varied = model.generate(vary=str(path))
    assert varied.info.seed == 6 and varied.info.composed is not None
    assert varied.info.composed == clip.info.composed
    plain = model.generate(request, compose=False).save(tmp_path / "plain.wav")[0]
    assert varied_from(plain).song is None
    with_chords = model.generate(request, chords="C").save(tmp_path / "chords.wav")[0]
    assert varied_from(with_chords).song is None


def test_requests_and_command_say_how(tiny_model: Path, tmp_path: Path) -> None:
    assert Request.read({"text": "x", "compose": False, "song": 4}) == Request(
        text="x", compose=False, song=4
    )
    with pytest.raises(ValueError, match="compose must be true or false"):
        Request.read({"text": "x", "compose": "no"})
    base = ["generate", "--checkpoint", str(tiny_model), "--text", "folk", "--duration", "1"]
    clips = [tmp_path / f"{name}.wav" for name in ("composed", "plain", "other", "again")]
    for clip, extra in zip(clips[:3], (["--song", "3"], ["--no-compose"], ["--song", "4"]), strict=True):
        assert main([*base, *extra, "-o", str(clip)]) == 0
    songs = [json.loads(clip.with_suffix(".json").read_text())["composed"] for clip in clips[:3]]
    assert songs[0] and songs[1] is None and songs[2] and songs[0] != songs[2]
    assert main(["generate", "--from", str(clips[0].with_suffix(".json")), "-o", str(clips[3])]) == 0
    assert clips[3].read_bytes() == clips[0].read_bytes()
