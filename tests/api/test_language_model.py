"""Clips by a language model: asked for as any others, and what it cannot do is said in one sentence."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import huggingface_hub
import numpy as np
import pytest
import torch

from features.audio import Audio
from flowmusic.api.model import FlowMusic
from flowmusic.api.pretrained import GenerationDefaults, Pretrained, load_pretrained, save_pretrained
from flowmusic.api.request import Request
from flowmusic.api.sidecar import read_sidecar
from flowmusic.cli import main
from flowmusic.lm.config import LmConfig
from flowmusic.lm.transformer import TokenTransformer
from flowmusic.model_files import NETWORK_FILES, read_config


@pytest.fixture(scope="session")
def lm(tiny_lm: Path) -> FlowMusic:
    return FlowMusic.from_pretrained(tiny_lm)


def test_a_folder_says_what_its_network_is(tiny_lm: Path) -> None:
    config = read_config(tiny_lm / "config.json")
    assert (
        "flow" not in config
        and config["lm"]["codebooks"] == 3
        and config["defaults"]["temperature"] == [0.9, 1.0]
    )
    assert (tiny_lm / NETWORK_FILES["lm"]).is_file() and not (tiny_lm / NETWORK_FILES["flow"]).exists()
    loaded = load_pretrained(tiny_lm)
    assert isinstance(loaded.network, TokenTransformer) and loaded.defaults.sampling.temperature == (0.9, 1.0)
    with pytest.raises(ValueError, match="is a language model; expected the model of a flow"):
        _ = loaded.flow


@pytest.fixture(scope="session")
def on_bundled_codec(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small language model of the bundled codec's latents, which its folder names and does not hold."""
    torch.manual_seed(0)
    network = TokenTransformer(LmConfig(width=16, depth=1, heads=2, codebooks=2, codes=8, pattern="delay"))
    torch.nn.init.normal_(network.latents.sound)
    bundled = load_pretrained()
    defaults = GenerationDefaults(guidance="1", composed_guidance="1", refine=0.7)
    folder = tmp_path_factory.mktemp("models") / "x"
    save_pretrained(Pretrained("x", "", bundled.codec, network, defaults), folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"codec": "bundled"}))
    (folder / "codec.safetensors").unlink()
    return folder


def test_a_model_may_name_the_bundled_codec(on_bundled_codec: Path) -> None:
    loaded = load_pretrained(on_bundled_codec)
    assert torch.equal(loaded.codec.get_buffer("scale"), load_pretrained().codec.get_buffer("scale"))
    assert loaded.defaults.refine == 0.7


def test_its_latents_are_refined_by_the_bundled_flow(on_bundled_codec: Path, tmp_path: Path) -> None:
    model = FlowMusic.from_pretrained(on_bundled_codec)
    asked = Request(chords="Am | F", duration=2.0, seed=3)
    refined, again, plain = (model.generate(asked.replace(refine=t)) for t in (None, 0.7, 0))
    assert torch.equal(refined.latents, again.latents) and (refined.audio == again.audio).all()
    change = (refined.latents - plain.latents).norm() / plain.latents.norm()
    assert 0.1 < float(change) < 2
    little = model.generate(asked.replace(refine=0.95)).latents
    assert (little - plain.latents).norm() < (refined.latents - plain.latents).norm()
    assert plain.latents.shape == refined.latents.shape
    plain.save(tmp_path / "plain.wav")
    longer = Request(context=str(tmp_path / "plain.wav"), extend=True, duration=4.0, chords="Am | F")
    longer_clip = model.generate(longer)
    kept = round(longer_clip.info.kept[0][1] * model.sample_rate)
    assert kept > model.sample_rate and longer_clip.latents.isfinite().all()
    sound = model.resynthesise(Audio(plain.audio, plain.sample_rate))
    assert sound.samples.shape == plain.audio.shape


def test_what_cannot_be_refined_says_so(tiny_lm: Path) -> None:
    with pytest.raises(ValueError, match=r"has another codec or other conditions .* give refine 0"):
        FlowMusic.from_pretrained(tiny_lm).generate(chords="Am", duration=1.0, refine=0.5)
    with pytest.raises(
        ValueError, match="the model is a flow: it has no refine, which is for a language model"
    ):
        FlowMusic.from_pretrained().generate(chords="Am", duration=1.0, refine=0.5)


def test_one_of_the_hub_is_read(tiny_lm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the files that are asked for there, and no others."""

    def download(repo_id: str, allow_patterns: list[str], **other: Any) -> str:
        for path in tiny_lm.iterdir():
            if any(path.match(pattern) for pattern in allow_patterns):
                shutil.copy(path, tmp_path / path.name)
        return str(tmp_path)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    model = FlowMusic.from_pretrained("someone/lm")
    assert model.model.name == "someone/lm" and isinstance(model.model.network, TokenTransformer)


def test_clips_are_those_of_their_seeds(lm: FlowMusic) -> None:
    prepared = lm.prepare(lm.generate(chords="Am | F", duration=1.0).info.request)
    first, second, third = lm.render(prepared, [1, 2, 1])
    assert np.array_equal(first.audio, third.audio) and not np.array_equal(first.audio, second.audio)
    alone = lm.generate(chords="Am | F", duration=1.0, seed=2)
    assert np.array_equal(alone.audio, second.audio)
    assert (alone.info.solver, alone.info.steps, alone.info.condition_sets) == ("tokens", 27, 2)


def test_a_clip_is_made_again_from_its_sidecar(lm: FlowMusic, tmp_path: Path) -> None:
    clip = lm.generate(
        text="calm", chords="Am | F", duration=1.0, temperature=0.7, top_k=5, guidance="double:2,3"
    )
    again = lm.generate(read_sidecar(clip.save(tmp_path / "a.wav")[1]).request)
    assert np.array_equal(again.audio, clip.audio) and again.info.request.top_k == 5


def test_kept_sound_stays_and_is_continued(lm: FlowMusic, tmp_path: Path) -> None:
    source = lm.generate(chords="Am | F", duration=2.0, seed=3).save(tmp_path / "a.wav")[0]
    from features.audio import read_audio

    original = read_audio(source).samples
    clip = lm.generate(context=str(source), extend=True, duration=4.0, seed=4)
    n_kept = round(clip.info.kept[0][1] * clip.sample_rate)
    assert n_kept > 1.9 * clip.sample_rate and clip.audio.shape[1] == 4 * clip.sample_rate
    assert np.array_equal(
        clip.audio[:, : n_kept - clip.sample_rate // 2], original[:, : n_kept - clip.sample_rate // 2]
    )
    assert np.abs(clip.audio[:, n_kept + 1000 :]).max() > 0


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"steps": 5}, "has no steps, which is for a flow"),
        ({"solver": "heun"}, "has no solver"),
        ({"loop": True}, "has no loop"),
        ({"guidance": "3; rescale=0.5"}, "solves no ODE"),
        ({"temperature": 20.0}, "temperature"),
    ],
)
def test_what_it_cannot_is_said(lm: FlowMusic, options: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        lm.generate(chords="Am", duration=1.0, **options)


def test_a_flow_has_no_temperature(tiny_model: Path) -> None:
    with pytest.raises(ValueError, match="the model is a flow: it has no temperature"):
        FlowMusic.from_pretrained(tiny_model).generate(chords="Am", duration=1.0, temperature=0.5)


def test_commands_take_it_like_any_model(tiny_lm: Path, tmp_path: Path) -> None:
    common = ["--checkpoint", str(tiny_lm), "--duration", "1"]
    assert (
        main(["generate", *common, "--chords", "Am", "--candidates", "2", "-o", str(tmp_path / "a.wav")]) == 0
    )
    manifest = tmp_path / "m.jsonl"
    manifest.write_text('{"chords": "Am", "duration": 1}\n{"text": "calm", "duration": 1, "top_p": 0.9}\n')
    out = tmp_path / "out"
    assert (
        main(["batch", str(manifest), "--out", str(out), "--checkpoint", str(tiny_lm), "--workers", "0"]) == 0
    )
    assert len(list(out.glob("clips/*.wav"))) == 2


def test_two_networks_in_one_folder_are_refused(tiny_lm: Path, tmp_path: Path) -> None:
    config = json.loads((tiny_lm / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"flow": {}}))
    with pytest.raises(ValueError, match="has the sections flow and lm; expected one of them"):
        load_pretrained(tmp_path)
