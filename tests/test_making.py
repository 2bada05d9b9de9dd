"""Clips made again from their sidecars, and the command line's ways to edit, vary and choose."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from features.audio import read_audio
from features.cache import FeatureCache
from features.extract import Extractors
from flowmusic.api.loudness import limited, loudness_gain
from flowmusic.api.model import FlowMusic
from flowmusic.api.request import Job
from flowmusic.api.sidecar import check_model, make_clip, read_recipe
from flowmusic.cli import main
from flowmusic.evaluation.scoring import Choice, Judge, best_clip


@pytest.fixture(scope="module")
def model(tiny_model: Path) -> FlowMusic:
    return FlowMusic.from_pretrained(tiny_model, extractors=Extractors("none", cache=FeatureCache()))


@pytest.fixture
def song(music_file: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(music_file, tmp_path / "song.wav"))


def test_a_sidecar_makes_the_same_bytes(tiny_model: Path, song: Path, tmp_path: Path) -> None:
    first, again, other = (tmp_path / name for name in ("first.wav", "again.wav", "other.wav"))
    arguments = ["generate", "--chords", "Am | F", "--melody", str(song), "--text", "organ", "--seed", "4"]
    arguments += ["--context", str(song), "--keep", "0-0.5", "--guidance", "2", "--loudness", "-20"]
    arguments += ["--separator", "none", "--checkpoint", str(tiny_model), "--duration", "1.5"]
    assert main([*arguments, "-o", str(first)]) == 0
    sidecar = str(first.with_suffix(".json"))
    assert main(["generate", "--from", sidecar, "-o", str(again)]) == 0
    assert again.read_bytes() == first.read_bytes()
    assert main(["generate", "--from", sidecar, "--seed", "5", "-o", str(other)]) == 0
    assert other.read_bytes() != first.read_bytes()


def test_a_changed_a_moved_and_a_lost_reference(model: FlowMusic, song: Path, tmp_path: Path) -> None:
    clip = make_clip(model, Job(melody=str(song), duration_s=1.0))
    (tmp_path / "out").mkdir()
    sidecar = clip.save(tmp_path / "out" / "clip.wav")[1]
    moved = tmp_path / "out" / "song.wav"
    shutil.move(song, moved)
    recipe = read_recipe(sidecar)
    assert recipe.job.melody == str(moved)
    assert np.array_equal(make_clip(model, recipe.job).audio, clip.audio)
    moved.write_bytes(moved.read_bytes()[:-2] + b"xx")
    with pytest.raises(ValueError, match=r"song\.wav has changed since .*clip\.json"):
        read_recipe(sidecar)
    moved.unlink()
    with pytest.raises(ValueError, match=r"song\.wav, from which .* is gone"):
        read_recipe(sidecar)


def test_a_sidecar_of_another_model_is_refused(model: FlowMusic, tmp_path: Path) -> None:
    sidecar = make_clip(model, Job(duration_s=1.0)).save(tmp_path / "clip.wav")[1]
    values = json.loads(sidecar.read_text())
    values["model"]["fingerprint"] = "0" * 16
    sidecar.write_text(json.dumps(values))
    with pytest.raises(ValueError, match="was made by the model"):
        check_model(model, read_recipe(sidecar), sidecar)
    sidecar.write_text("[]")
    with pytest.raises(ValueError, match=r"not the \.json of a clip"):
        read_recipe(sidecar)


def test_varying_a_clip_keeps_its_controls(tiny_model: Path, tmp_path: Path) -> None:
    clip, varied = tmp_path / "clip.wav", tmp_path / "varied.wav"
    base = ["generate", "--checkpoint", str(tiny_model)]
    assert main([*base, "--chords", "Am | F", "--duration", "1", "-o", str(clip)]) == 0
    assert main([*base, "--from-clip", str(clip), "--vary", "0.3", "-o", str(varied)]) == 0
    sidecar = json.loads(varied.with_suffix(".json").read_text())
    assert sidecar["controls"] == ["chords"] and sidecar["seed"] == 1
    assert sidecar["job"]["vary"] == 0.3 and read_audio(varied).duration_s == 1.0
    assert varied.read_bytes() != clip.read_bytes()


def test_the_best_of_several_is_kept(model: FlowMusic, song: Path) -> None:
    job = Job(chords="C", melody=str(song), duration_s=1.0, seed=3)
    judge = Judge(Extractors("none", cache=FeatureCache()))
    best = best_clip(lambda asked: make_clip(model, asked), job, judge, Choice(3, {"melody": 2.0}))
    table = best.metadata["candidates"]
    assert isinstance(table, list) and [item["seed"] for item in table] == [3, 4, 5]
    assert best.metadata["overall"] == max(item["overall"] for item in table)
    chosen = next(item["seed"] for item in table if item["overall"] == best.metadata["overall"])
    assert best.metadata["seed"] == chosen
    alone = make_clip(model, Job(chords="C", melody=str(song), duration_s=1.0, seed=chosen))
    assert np.array_equal(alone.audio, best.audio)


def test_takes_of_a_composed_song_are_chosen_from(model: FlowMusic) -> None:
    judge = Judge(Extractors("none", cache=FeatureCache()))
    job = Job(text="a slow piano ballad with drums", duration_s=2.0, seed=5)
    best = best_clip(lambda asked: make_clip(model, asked), job, judge, Choice(2))
    assert set(best.metadata["adherence"]) == {item.role for item in best.followed}  # type: ignore[call-overload]
    table = best.metadata["candidates"]
    assert isinstance(table, list) and [item["seed"] for item in table] == [5, 6]
    assert all(item.name == "composed" for item in best.followed)
    alone = make_clip(model, replace(job, song=5, seed=int(str(best.metadata["seed"]))))
    assert np.array_equal(alone.audio, best.audio) and alone.metadata["composed"] == best.metadata["composed"]


def test_candidates_that_cannot_be_told_apart_are_not_made(model: FlowMusic) -> None:
    judge = Judge(model.extractors)
    for job in (
        Job(),
        Job(text="x", compose=False),
        Job(text="x", style="song.wav"),
        Job(text="x", vary_from="a.wav"),
    ):
        with pytest.raises(ValueError, match="expected one of them"):
            best_clip(lambda asked: pytest.fail("it was made"), job, judge, Choice(2))
    with pytest.raises(ValueError, match="or a text alone"):
        free = make_clip(model, Job(duration_s=1.0))  # as of a text beside a style: it follows no events
        best_clip(lambda asked: free, Job(text="x"), judge, Choice(2))
    assert best_clip(lambda asked: make_clip(model, asked), Job(duration_s=1.0), judge, Choice()).metadata


def test_peaks_are_limited_and_the_rest_stays() -> None:
    rng = np.random.default_rng(0)
    noise = (0.1 * rng.standard_normal((2, 32_000))).astype(np.float32)
    loud = noise.copy()
    loud[1, 16_000], loud[0, 100] = -2.0, 1.5
    calm = limited(loud, 0.95, 32_000)
    assert np.abs(calm).max() == pytest.approx(0.95) and calm.dtype == np.float32
    assert abs(calm[1, 16_000]) == pytest.approx(0.95, abs=0.01)
    far = np.ones(32_000, dtype=bool)
    far[15_300:16_700] = far[:800] = False
    assert np.array_equal(calm[:, far], noise[:, far])
    assert limited(noise, 0.95, 32_000) is noise


def test_loudness_is_met_where_the_peak_allows() -> None:
    import pyloudnorm

    rng = np.random.default_rng(0)
    noise = (0.05 * rng.standard_normal((1, 64_000))).astype(np.float32)
    gain = loudness_gain(noise, 32_000, -20.0, 0.95)
    assert pyloudnorm.Meter(32_000).integrated_loudness((noise * gain).T) == pytest.approx(-20, abs=0.1)
    click = noise.copy()
    click[0, 100] = 0.9
    assert np.abs(click * loudness_gain(click, 32_000, -5.0, 0.95)).max() == pytest.approx(0.95)
    assert loudness_gain(np.zeros((1, 32_000)), 32_000, -16.0, 0.95) == 1.0
