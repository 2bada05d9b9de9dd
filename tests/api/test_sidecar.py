"""Clips made again from their sidecars, and the command line's ways to edit, vary and choose."""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from features.audio import read_audio
from features.cache import FeatureCache
from features.extract import Extractors
from flowmusic.api import prepared
from flowmusic.api.clip import ClipInfo
from flowmusic.api.model import FlowMusic
from flowmusic.api.request import Request
from flowmusic.api.sidecar import check_model, read_sidecar
from flowmusic.cli import main
from flowmusic.conditioning.minilm import MiniLm
from flowmusic.errors import is_bad_input, sentence
from flowmusic.evaluation.scoring import Choice, Judge, best_clip
from tests.refusals import LFS_POINTER, Refused


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
    clip = model.generate(melody=str(song), duration=1.0)
    (tmp_path / "out").mkdir()
    sidecar = clip.save(tmp_path / "out" / "clip.wav")[1]
    moved = tmp_path / "out" / "song.wav"
    shutil.move(song, moved)
    request = read_sidecar(sidecar).request
    assert request.melody == str(moved)
    assert np.array_equal(model.generate(request).audio, clip.audio)
    moved.write_bytes(moved.read_bytes()[:-2] + b"xx")
    with pytest.raises(ValueError, match=r"song\.wav has changed since .*clip\.json"):
        read_sidecar(sidecar)
    moved.unlink()
    with pytest.raises(ValueError, match=r"song\.wav, from which .* is gone"):
        read_sidecar(sidecar)


def test_a_sidecar_of_another_model_is_refused(model: FlowMusic, tmp_path: Path) -> None:
    sidecar = model.generate(duration=1.0).save(tmp_path / "clip.wav")[1]
    values = json.loads(sidecar.read_text())
    values["model"]["fingerprint"] = "0" * 16
    sidecar.write_text(json.dumps(values))
    with pytest.raises(ValueError, match="was made by the model"):
        check_model(model.model.name, model.model.fingerprint, read_sidecar(sidecar), sidecar)
    sidecar.write_text("[]")
    with pytest.raises(ValueError, match=r"not the \.json of a clip"):
        read_sidecar(sidecar)


def test_a_sidecar_in_any_encoding_and_of_files_of_any_name(
    model: FlowMusic, song: Path, tmp_path: Path
) -> None:
    odd = tmp_path / os.fsdecode(b"caf\xe9 #1\n'x'.wav")
    shutil.move(song, odd)
    clip = model.generate(melody=str(odd), text="für Flügel", duration=1.0)
    sidecar = clip.save(tmp_path / os.fsdecode(b"cl\xefp.wav"))[1]
    assert os.fsencode(sidecar.name) == b"cl\xefp.json"
    text = sidecar.read_bytes().decode("utf-8")
    assert "für Flügel" in text and json.loads(text)["request"]["melody"] == str(odd)
    for encoding in ("utf-8-sig", "utf-16"):
        sidecar.write_bytes(text.encode(encoding))
        request = read_sidecar(sidecar).request
        assert (request.text, request.melody) == ("für Flügel", str(odd))
    sidecar.write_bytes(text.encode("latin-1"))
    with pytest.raises(
        ValueError, match=r"line \d+: cannot be read as UTF-8 text; expected a clip's \.json: save as"
    ):
        read_sidecar(sidecar)
    sidecar.write_bytes(LFS_POINTER)
    with pytest.raises(ValueError, match="is a Git LFS pointer, not the file itself: run `git lfs pull`"):
        read_sidecar(sidecar)


@pytest.fixture(scope="module")
def sidecar_text(model: FlowMusic, tmp_path_factory: pytest.TempPathFactory) -> str:
    clip = model.generate(chords="Am | F", text="organ", duration=1.0)
    return clip.save(tmp_path_factory.mktemp("clip") / "clip.wav")[1].read_text(encoding="utf-8")


JUNK: st.SearchStrategy[Any] = (
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=6) | st.just([]) | st.just({})
)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_sidecar_with_anything_changed_is_read_or_one_sentence(
    sidecar_text: str, tmp_path: Path, data: st.DataObject
) -> None:
    path = tmp_path / "changed.json"
    if data.draw(st.booleans()):
        content = bytearray(sidecar_text.encode())
        place = data.draw(st.integers(0, len(content) - 1))
        content[place : place + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    else:
        values = json.loads(sidecar_text)
        table = data.draw(
            st.sampled_from([values, *(item for item in values.values() if isinstance(item, dict))])
        )
        table[data.draw(st.sampled_from([*table, "more"]))] = data.draw(JUNK)
        content = bytearray(json.dumps(values).encode())
    path.write_bytes(bytes(content))
    try:
        read_sidecar(path)
    except ValueError as error:
        assert is_bad_input(error), repr(error)
        assert str(path) in str(error) and "\n" not in sentence(error)


def test_varying_a_clip_keeps_its_controls(tiny_model: Path, tmp_path: Path) -> None:
    clip, varied = tmp_path / "clip.wav", tmp_path / "varied.wav"
    base = ["generate", "--checkpoint", str(tiny_model)]
    assert main([*base, "--chords", "Am | F", "--duration", "1", "-o", str(clip)]) == 0
    assert main([*base, "--vary", str(clip), "--strength", "0.3", "-o", str(varied)]) == 0
    sidecar = json.loads(varied.with_suffix(".json").read_text())
    assert sidecar["controls"] == ["chords"] and sidecar["seed"] == 1
    assert sidecar["request"]["strength"] == 0.3 and read_audio(varied).duration_s == 1.0
    assert varied.read_bytes() != clip.read_bytes()


@pytest.mark.parametrize("said", [{}, {"seed": 0}, {"seed": 3, "loop": False}])
def test_a_variation_is_made_again_with_what_it_replaced(
    model: FlowMusic, tmp_path: Path, said: dict[str, Any]
) -> None:
    """Also with defaults that its clip had asked otherwise."""
    clip = model.generate(chords="Am | F", duration=1.0, seed=4, loop=True).save(tmp_path / "clip.wav")[0]
    varied = model.generate(vary=str(clip), **said)
    request = read_sidecar(varied.save(tmp_path / "varied.wav")[1]).request
    again = model.generate(request)
    assert (again.info.seed, again.info.request.loop) == (said.get("seed", 5), said.get("loop", True))
    assert np.array_equal(again.audio, varied.audio)
    assert again.info.request == varied.info.request


def test_the_best_of_several_is_kept(model: FlowMusic, song: Path) -> None:
    request = Request(chords="C", melody=str(song), duration=1.0, seed=3)
    judge = Judge(Extractors("none", cache=FeatureCache()))
    best = best_clip(model, request, judge, Choice(3, {"melody": 2.0}))
    table = best.info.candidates
    assert [item.seed for item in table] == [3, 4, 5]
    assert best.info.overall == max(item.overall for item in table)
    chosen = next(item.seed for item in table if item.overall == best.info.overall)
    assert best.info.seed == best.info.request.seed == chosen
    alone = model.generate(chords="C", melody=str(song), duration=1.0, seed=chosen)
    assert np.array_equal(alone.audio, best.audio)


def test_candidates_are_prepared_once(tiny_model: Path, song: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What does not depend on the seed is extracted, encoded and composed once, not once a candidate."""
    model = FlowMusic.from_pretrained(tiny_model, extractors=Extractors("none"))  # no cache to hide behind
    calls: Counter[str] = Counter()
    places = [
        (Extractors, "extract"),
        (MiniLm, "encode"),
        (prepared, "open_reference"),
        (prepared, "_compose"),
    ]
    for owner, name in places:
        counted = getattr(owner, name)

        def count(*args: Any, counted: Any = counted, name: str = name, **options: Any) -> Any:
            calls[name] += 1
            return counted(*args, **options)

        monkeypatch.setattr(owner, name, count)
    request = Request(text="folk", song=1, melody=str(song), duration=1.0, steps=1)
    best = best_clip(model, request, Judge(model.extractors), Choice(3))
    assert len(best.info.candidates) == 3
    assert calls == {"extract": 1, "encode": 1, "open_reference": 1, "_compose": 1}


def test_candidates_of_a_composed_song_are_chosen_from(model: FlowMusic) -> None:
    judge = Judge(Extractors("none", cache=FeatureCache()))
    request = Request(text="a slow piano ballad with drums", duration=2.0, seed=5)
    best = best_clip(model, request, judge, Choice(2))
    assert best.info.scores is not None and set(best.info.scores) == {item.role for item in best.followed}
    assert [item.seed for item in best.info.candidates] == [5, 6]
    assert all(item.name == "composed" for item in best.followed)
    alone = model.generate(request.replace(song=5, seed=best.info.seed))
    assert np.array_equal(alone.audio, best.audio) and alone.info.composed == best.info.composed


def test_candidates_without_anything_to_score_them_by_are_refused(
    model: FlowMusic, song: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FlowMusic, "render_each", lambda *_: pytest.fail("a clip was made"))
    judge = Judge(model.extractors)
    for request in (
        Request(),
        Request(text="x", compose=False),
        Request(text="x", vary=str(song)),
        Request(text="x", context=str(song), extend=True),
    ):
        with pytest.raises(ValueError, match="expected one of them, or a text alone"):
            best_clip(model, request.replace(duration=4.0), judge, Choice(2))


def test_a_song_of_a_sidecar_is_kept_beside_references(tiny_model: Path, song: Path, tmp_path: Path) -> None:
    """What was composed goes on to be followed where new drums do not replace it."""
    idea, changed = tmp_path / "idea.wav", tmp_path / "changed.wav"
    base = ["generate", "--separator", "none"]
    text = ["--text", "a rock song with drums and guitar", "--duration", "2", "--checkpoint", str(tiny_model)]
    assert main([*base, *text, "--seed", "2", "-o", str(idea)]) == 0
    assert (
        main([*base, "--from", str(idea.with_suffix(".json")), "--drums", str(song), "-o", str(changed)]) == 0
    )
    first, second = (ClipInfo.load(path.with_suffix(".json")) for path in (idea, changed))
    assert first.composed is not None and second.composed is not None
    assert second.composed.chords == first.composed.chords and second.composed.song == 2
    assert set(second.controls) == set(first.controls) | {"drums"}
    assert list(second.references) == ["drums"] and "drums" not in second.composed.parts


def test_a_sidecar_carries_licence_and_credits(tiny_model: Path, tmp_path: Path) -> None:
    bundled = FlowMusic.from_pretrained()
    info = bundled.generate(duration=0.5, steps=1).info
    kept = ClipInfo.load(bundled.generate(duration=0.5, steps=1).save(tmp_path / "clip.wav")[1])
    assert kept.model == info.model and info.model.license == "CC-BY-SA-4.0"
    assert "Nikola Whallon" in info.model.credits


def test_objects_stand_in_a_sidecar_by_name_and_have_to_be_given_again(
    model: FlowMusic, music: tuple[np.ndarray, int], tmp_path: Path
) -> None:
    clip = model.generate(melody=music, duration=1.0)
    info = read_sidecar(clip.save(tmp_path / "clip.wav")[1])
    with pytest.raises(ValueError, match=r"melody was a Python object .* give it again"):
        model.generate(info.request)
    again = model.generate(info.request.replace(melody=music))
    assert np.array_equal(again.audio, clip.audio)


def test_files_that_stand_there_are_kept(tiny_model: Path, tmp_path: Path, refused: Refused) -> None:
    for name in ("clip.wav", "clip.json", "clip.png"):
        clip = tmp_path / name
        clip.write_text("mine")
        words = [
            "generate",
            "--checkpoint",
            str(tiny_model),
            "--duration",
            "1",
            "-o",
            str(tmp_path / "clip.wav"),
        ]
        assert f"{name} exists already" in refused(*words, "--plot")
        assert clip.read_text() == "mine"
        clip.unlink()


def test_a_plot_comes_with_scores(
    tiny_model: Path, song: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[dict[str, str]] = []

    def draw(rows: object, audio: object, path: Path, title: str, notes: dict[str, str]) -> Path:
        drawn.append(notes)
        path.write_bytes(b"")
        return path

    monkeypatch.setattr("flowmusic.plots.figures._draw", draw)
    words = ["generate", "--checkpoint", str(tiny_model), "--separator", "none", "--melody", str(song)]
    out = tmp_path / "clip.wav"
    assert main([*words, "--chords", "C", "--duration", "2", "--plot", "-o", str(out)]) == 0
    assert drawn and drawn[0]["chords"].startswith("overlap ")
    assert set(json.loads(out.with_suffix(".json").read_text())["scores"]) == {"melody", "chords"}
