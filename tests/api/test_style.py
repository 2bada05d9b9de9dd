"""Style of a recording, from the file to the clip; and models that know none."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from features.audio import Audio, write_audio
from features.cache import FeatureCache
from features.extract import Extractors
from flowmusic.api.clip import StyleInfo
from flowmusic.api.model import FlowMusic
from flowmusic.api.pretrained import load_pretrained, save_pretrained
from flowmusic.api.request import Request
from flowmusic.api.style import encode_style, open_style
from flowmusic.batch.run import run_batch
from flowmusic.batch.sources import write_manifest
from flowmusic.cli import main
from flowmusic.conditioning.inversion import Inversion
from flowmusic.conditioning.pseudo_words import encoder_fingerprint
from flowmusic.conditioning.style import StyleConfig
from flowmusic.conditioning.style_encoder import pad_features
from flowmusic.conditioning.text import WordEncoder
from flowmusic.model.transformer import FlowTransformer
from flowmusic.runtime import using_threads

RATE = 16_000


def sound(duration_s: float, f0_hz: float = 220.0, level: float = 0.2) -> Audio:
    times_s = np.arange(round(duration_s * RATE)) / RATE
    tones = np.sum([np.sin(2 * np.pi * k * f0_hz * times_s) / k for k in range(1, 9)], axis=0)
    return Audio((level * tones).astype(np.float32)[None], RATE)


@pytest.fixture(scope="module")
def styled(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model with an untrained style conditioner whose codes come from noise."""
    model = load_pretrained(tiny_model)
    torch.manual_seed(1)
    style = StyleConfig(feature_dim=8, depth=1, heads=2, codebooks=3, codes=16)
    flow = FlowTransformer(replace(model.flow.config, token_summary=True, style=style))
    flow.load_state_dict(model.flow.state_dict(), strict=False)
    assert flow.style is not None and flow.summary is not None
    with torch.no_grad():
        for parameter in flow.summary.parameters():
            parameter.normal_()
    noise = [torch.randn(60, 8) for _ in range(8)]
    flow.style(pad_features(noise), generator=torch.Generator().manual_seed(0))
    folder = tmp_path_factory.mktemp("models") / "styled"
    return save_pretrained(replace(model, network=flow.eval()), folder)


def test_style_changes_the_clip_and_the_sidecar_says_which(styled: Path) -> None:
    model = FlowMusic.from_pretrained(styled)
    plain = model.generate(duration=1.0)
    clips = [model.generate(duration=1.0, style=sound(3.0, hz)) for hz in (110, 110, 880)]
    assert not np.array_equal(plain.audio, clips[0].audio)
    assert np.array_equal(clips[0].audio, clips[1].audio)
    assert not np.array_equal(clips[0].audio, clips[2].audio)
    assert plain.info.style is None
    assert clips[0].info.style == StyleInfo(name="the style reference", start=0.0, end=3.0, codebooks=None)


def test_every_number_of_books_is_another_style(styled: Path) -> None:
    model = load_pretrained(styled)
    reference = open_style(sound(3.0))
    tokens = [encode_style(model, reference, codebooks).tokens for codebooks in (1, 2, 3)]
    assert tokens[0].shape == (1, 15, 8)
    assert not torch.equal(tokens[0], tokens[1]) and not torch.equal(tokens[1], tokens[2])
    assert torch.equal(tokens[2], encode_style(model, reference).tokens)
    for codebooks, said in ((4, "from 1 to 3, got 4"), (True, "whole number"), (1.5, "whole number")):
        with pytest.raises(ValueError, match=said):
            encode_style(model, reference, codebooks)  # type: ignore[arg-type]


def test_the_level_of_a_recording_is_no_part_of_its_style(styled: Path) -> None:
    model = load_pretrained(styled)
    quiet, loud = (encode_style(model, open_style(sound(3.0, level=level))).tokens for level in (0.02, 0.3))
    torch.testing.assert_close(quiet, loud)


def test_the_loudest_part_is_taken_where_none_is_asked_for() -> None:
    parts = [sound(6.0, level=0.01), sound(5.0), sound(4.0, level=0.01)]
    samples = np.concatenate([part.samples for part in parts], axis=1)
    reference = open_style(Audio(samples, RATE))
    assert (reference.start_s, reference.end_s) == (6.0, 10.5)
    asked = open_style(Audio(samples, RATE), (1.0, 3.0))
    assert asked.audio.duration_s == 2.0 and np.array_equal(asked.audio.samples, samples[:, RATE : 3 * RATE])


after_silence = Audio(np.pad(sound(2.0).samples, ((0, 0), (2 * RATE, 0))), RATE)


@pytest.mark.parametrize(
    ("audio", "excerpt_s", "said"),
    [
        (sound(1.0), None, r"the style reference lasts 1\.00 s; expected at least 1\.5 s"),
        (
            Audio(np.zeros((1, 4 * RATE), np.float32), RATE),
            None,
            r"the style reference is silent \(all samples are 0\)",
        ),
        (after_silence, (0.0, 2.0), "is silent from 0 to 2 s"),
        (sound(5.0), (0.0, 1.0), r"must last 1\.5 to 4\.5 s, got 1 s"),
        (sound(8.0), (0.0, 6.0), "got 6 s"),
        (sound(5.0), (4.0, 6.0), r"within the 5\.00 s of the style reference, got 4 to 6 s"),
        (sound(5.0), (3.0, 1.0), "got 3 to 1 s"),
    ],
)
def test_excerpts_that_cannot_be_used_are_refused(
    audio: Audio, excerpt_s: tuple[float, float] | None, said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        open_style(audio, excerpt_s)


def test_a_model_without_style_says_so(tiny_model: Path) -> None:
    with pytest.raises(ValueError, match="was trained without style: it takes no style reference"):
        FlowMusic.from_pretrained(tiny_model).generate(duration=1.0, style=sound(3.0))


def test_the_command_takes_style(styled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    song = write_audio(tmp_path / "song.wav", sound(6.0).samples, RATE)
    words = ["generate", "--duration", "1", "--checkpoint", str(styled), "-o", str(tmp_path / "clip.wav")]
    words += ["--style", str(song), "--style-codebooks", "2"]
    assert main([*words, "--style-excerpt", "1-4"]) == 0
    said = json.loads((tmp_path / "clip.json").read_text())["style"]
    assert said == {"name": str(song), "start": 1.0, "end": 4.0, "codebooks": 2}
    assert main([*words, "--style-excerpt", "4-1"]) == 2
    assert "clip.wav exists already" in capsys.readouterr().err
    assert main([*words, "--overwrite", "--style-excerpt", "4-1"]) == 2
    assert "style_excerpt must be seconds such as 10-14, got '4-1'" in capsys.readouterr().err


def test_excerpt_word_and_text_mix_in_every_way_to_ask(styled: Path, tmp_path: Path) -> None:
    """The same clip by the command, a manifest's row and Python; without any of the three it is another."""
    model = FlowMusic.from_pretrained(styled, extractors=Extractors(cache=FeatureCache()))
    encoder = model.model.text_encoder
    assert isinstance(encoder, WordEncoder)
    embeddings = torch.randn(2, encoder.text_dim, generator=torch.Generator().manual_seed(3))
    fingerprints = model.model.fingerprint, encoder_fingerprint(encoder)
    Inversion("<mysong>", embeddings, *fingerprints, "x").save(tmp_path / "word.safetensors")
    write_audio(tmp_path / "song.wav", sound(4.0).samples, RATE)
    row: dict[str, object] = {
        "text": "a calm <mysong>",
        "inversions": ["word.safetensors"],
        "style": "song.wav",
        "style_codebooks": 2,
        "guidance": "double:2,1.5",
        "duration": 1,
    }
    summary = run_batch(model, write_manifest(tmp_path / "manifest.jsonl", [row]), tmp_path / "clips")
    assert summary is not None and summary.complete
    asked = Request.read(row).beside(tmp_path)
    without = asked.given()
    others = [
        Request(**{key: value for key, value in without.items() if not key.startswith("style")}),
        asked.replace(text="a calm", inversions=()),
        asked.replace(text="a loud <mysong>"),
    ]
    latents = model.generate(asked).latents
    assert not any(torch.equal(model.generate(other).latents, latents) for other in others)
    clip = next((tmp_path / "clips" / "clips").glob("*.wav"))
    words = ["generate", "--checkpoint", str(styled), "--text", "a calm <mysong>", "--duration", "1"]
    words += ["--style", str(tmp_path / "song.wav"), "--style-codebooks", "2", "--guidance", "double:2,1.5"]
    words += ["--inversions", str(tmp_path / "word.safetensors"), "--loudness", "-16"]
    with using_threads(1):  # as a batch computes
        assert main([*words, "-o", str(tmp_path / "clip.wav")]) == 0
    assert (tmp_path / "clip.wav").read_bytes() == clip.read_bytes()


def test_other_extractors_of_features_take_the_place_of_the_codec(tmp_path: Path) -> None:
    from transformers import (
        EncodecConfig,
        EncodecFeatureExtractor,
        EncodecModel,
        HubertConfig,
        HubertModel,
        Wav2Vec2FeatureExtractor,
    )

    from flowmusic.conditioning.style_features import TransformersFeatures

    hubert = HubertConfig(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        conv_dim=(8, 8),
        conv_stride=(5, 64),
        conv_kernel=(10, 64),
        num_conv_pos_embeddings=4,
        num_conv_pos_embedding_groups=2,
        num_feat_extract_layers=2,
    )
    HubertModel(hubert).save_pretrained(tmp_path / "hubert")
    Wav2Vec2FeatureExtractor(sampling_rate=RATE).save_pretrained(tmp_path / "hubert")
    encodec = EncodecConfig(
        sampling_rate=RATE,
        hidden_size=12,
        num_filters=2,
        upsampling_ratios=[8, 5, 4, 2],
        codebook_size=8,
        codebook_dim=12,
        num_lstm_layers=1,
        target_bandwidths=[1.5],
    )
    EncodecModel(encodec).save_pretrained(tmp_path / "encodec")
    EncodecFeatureExtractor(sampling_rate=RATE).save_pretrained(tmp_path / "encodec")
    for name, shape in (("hubert", (99, 16)), ("encodec", (100, 12))):
        extractor = TransformersFeatures(tmp_path / name)
        assert extractor.feature_rate == 50
        features = extractor.extract(sound(2.0).resampled(24_000))
        assert abs(features.shape[0] - shape[0]) <= 1 and features.shape[1] == shape[1]
        assert torch.isfinite(features).all() and float(features.std()) > 0
    with pytest.raises(ValueError, match="style features 'm-a-p/none' cannot be loaded"):
        TransformersFeatures("m-a-p/none")


@pytest.mark.parametrize("has_code", ["AutoConfig", "AutoFeatureExtractor"])
def test_code_that_comes_with_a_model_is_refused_without_a_question(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_code: str
) -> None:
    from transformers import Wav2Vec2FeatureExtractor

    from flowmusic.conditioning.style_features import TransformersFeatures

    questions: list[object] = []

    def answer(question: object = "") -> str:
        questions.append(question)
        return "n"

    monkeypatch.setattr("builtins.input", answer)
    Wav2Vec2FeatureExtractor(sampling_rate=RATE).save_pretrained(tmp_path)
    settings, config = json.loads((tmp_path / "preprocessor_config.json").read_text()), {"model_type": "mert"}
    code = {"auto_map": {has_code: "model.Class"}}
    if has_code == "AutoConfig":
        config |= code  # type: ignore[arg-type]
    else:
        settings = {"feature_extractor_type": "MERT"} | code
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(settings))
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "model.py").write_text("raise SystemExit('code of the model was run')\n")
    with pytest.raises(ValueError, match=r"^style features .* cannot be loaded: .* custom code"):
        TransformersFeatures(tmp_path)
    assert questions == []
