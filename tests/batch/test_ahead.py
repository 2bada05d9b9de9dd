"""Rows before their clips are made: checked before any listening, variations with their clip's controls."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from features.audio import read_audio
from features.extract import Extractors
from flowmusic.api.editing import BORDER_FADE_S
from flowmusic.api.model import FlowMusic
from flowmusic.api.request import Request
from flowmusic.batch.ahead import PreparedRows, extract_ahead
from flowmusic.batch.manifest import Manifest
from flowmusic.batch.run import default_settings
from flowmusic.batch.sources import write_manifest
from flowmusic.batch.store import ClipStore
from flowmusic.conditioning.inversion import Inversion
from tests.batch.conftest import run


class Deaf(Extractors):
    """Must not be asked."""

    def extract(self, *_: object, **__: object) -> None:  # type: ignore[override]
        raise AssertionError("it was listened to a reference")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"style": "SONG", "style_excerpt": "0-9"}, r"within the 2\.00 s of .*music\.wav, got 0 to 9 s"),
        ({"style": "nowhere.wav"}, r"nowhere\.wav does not exist"),
        ({"text": "a <word>", "inversions": ["none.safetensors"]}, r"none\.safetensors does not exist"),
        ({"text": "a <word>", "inversions": ["WORD"]}, "was made with the model another"),
        ({"text": "a <song>"}, "names <song>, which is not among the pseudo-words given: none"),
        ({"guidance": "chords=3@5-", "duration": 4}, "an edge at 5 s, but the clip ends at 4 s"),
        ({"vary": "nowhere.wav"}, r"nowhere\.wav does not exist"),
    ],
)
def test_a_row_is_checked_before_it_is_listened_to(
    values: dict[str, object], message: str, model: FlowMusic, music_file: Path, tmp_path: Path
) -> None:
    word = Inversion("<word>", torch.ones(1, 384), "another", "e", "x").save(tmp_path / "word.safetensors")
    text = json.dumps(values).replace("SONG", str(music_file)).replace("WORD", str(word))
    request = Request.read({"melody": str(music_file)} | json.loads(text))
    with pytest.raises(ValueError, match=message):
        extract_ahead(request, Deaf(), model.limits, default_settings(model))


def test_a_path_that_the_system_refuses_is_the_row_s_fault(model: FlowMusic, tmp_path: Path) -> None:
    manifest = write_manifest(tmp_path / "manifest.jsonl", [{"drums": f"{5000 * 'a'}.wav"}])
    rows = PreparedRows(
        Manifest(manifest), ClipStore(tmp_path, default_settings(model)), Deaf(), model.limits
    )
    assert rows[0].error is not None


def test_a_varied_row_keeps_the_controls_of_its_clip(model: FlowMusic, tmp_path: Path) -> None:
    clip = model.generate(chords="Am | F", duration=1.0).save(tmp_path / "clip.wav")[0]
    row: dict[str, object] = {"vary": str(clip), "strength": 0.4}
    rows = [{"name": "plain"} | row, {"name": "same-noise", "seed": 0} | row, {"name": "other"} | row]
    rows[2]["chords"] = "C"
    run(model, write_manifest(tmp_path / "manifest.jsonl", rows), tmp_path / "out")
    sidecars = sorted((tmp_path / "out" / "clips").glob("*.json"))
    other, plain, same_noise = (json.loads(path.read_text()) for path in sidecars)
    assert plain["controls"] == ["chords"] and plain["request"]["chords"] == "Am | F"
    assert (plain["seed"], same_noise["seed"], other["seed"]) == (1, 0, 1)
    assert other["request"]["chords"] == "C" and other["request"]["strength"] == 0.4
    assert other["duration"] == 1.0


def test_what_is_kept_stays_as_loud_as_it_is(model: FlowMusic, music_file: Path, tmp_path: Path) -> None:
    row: dict[str, object] = {"chords": "C", "context": str(music_file), "keep": "0-1", "duration": 1.5}
    rows: list[dict[str, object]] = [{"name": "as-it-is"} | row, {"name": "said", "loudness": -30} | row]
    run(model, write_manifest(tmp_path / "manifest.jsonl", rows), tmp_path / "out")
    as_it_is, said = (read_audio(path).mono() for path in sorted((tmp_path / "out" / "clips").glob("*.wav")))
    original, inside = read_audio(music_file, 32_000).mono(), slice(0, round((1 - BORDER_FADE_S) * 32_000))
    np.testing.assert_allclose(as_it_is[inside], original[inside], atol=1e-4)
    assert said[inside].std() < 0.5 * original[inside].std()
