"""EnCodec's latents and T5's states through transformers, with small random weights of the same classes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from transformers import EncodecConfig, EncodecModel

from flowmusic.api.model import FlowMusic
from flowmusic.api.pretrained import GenerationDefaults, Pretrained, load_pretrained, save_pretrained
from flowmusic.codec.build import build_codec
from flowmusic.codec.encodec import EncodecLatents
from flowmusic.codec.files import write_codec
from flowmusic.codec.protocol import Codec
from flowmusic.commands.prepare import read_any_codec
from flowmusic.data.shards import DataInfo
from flowmusic.lm.config import LmConfig
from flowmusic.lm.transformer import TokenTransformer
from flowmusic.model.config import FlowConfig
from flowmusic.model.transformer import FlowTransformer
from flowmusic.training import latent_tokens
from flowmusic.weights import load_exactly, read_weights
from tests.training.conftest import write_data

SHAPE = EncodecConfig(
    sampling_rate=16_000, num_filters=4, upsampling_ratios=[8, 5, 4, 2], hidden_size=8, codebook_dim=8,
    codebook_size=16, target_bandwidths=[0.8], num_lstm_layers=1,
)  # fmt: skip
"""50 latent frames a second at 16 kHz, as EnCodec-32k has at 32 kHz, and as many codebooks."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of transformers; its codebooks are frames that its encoder makes of noise, and what is left."""
    torch.manual_seed(0)
    model = EncodecModel(SHAPE)
    with torch.no_grad():
        left = model.encoder(torch.randn(1, 1, 32_000))[0].T  # (T, D)
        for layer in model.quantizer.layers:
            layer.codebook.embed.copy_(left[torch.randperm(len(left))[:16]])
            left = left - layer.codebook.decode(layer.codebook.encode(left))
    path = tmp_path_factory.mktemp("encodec")
    model.save_pretrained(path)
    return path


def test_latents_are_those_of_the_encoder_before_its_quantiser(folder: Path) -> None:
    codec = EncodecLatents.from_transformers(str(folder))
    assert isinstance(codec, Codec) and codec.frame_rate == 50.0 and codec.latent_dim == 8
    audio = 0.1 * torch.randn(2, 1, 16_100, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        latents = codec.encode(audio)
        hidden = EncodecModel.from_pretrained(folder).encoder(audio).transpose(1, 2)
    torch.testing.assert_close(latents * 4.0102 - 0.0074, hidden)
    assert latents.shape == (2, 51, 8) and codec.decode(latents).shape == (2, 1, 51 * 320)
    again = build_codec(json.loads(json.dumps(codec.config.to_dict())))
    again.load_state_dict(codec.state_dict())
    torch.testing.assert_close(again.encode(audio), latents)


def test_tokens_of_a_language_model_are_encodecs_own(folder: Path, tmp_path: Path) -> None:
    """The same codes and the same sound as by transformers, from prepared latents."""
    write_codec(EncodecLatents.from_transformers(str(folder)), tmp_path / "data" / "codec")
    info = DataInfo("encodec", "0", 16_000, 50.0, 8, 50.0, "bundled", 5, {})
    write_data(tmp_path / "data", {"train": [[60]], "valid": [[60]]}, info=info)
    out = tmp_path / "tokens.safetensors"
    arguments = [str(tmp_path / "data"), "--out", str(out), "--from-codec"]
    assert latent_tokens.main(arguments) == 0
    shape = LmConfig(
        latent_dim=8, image_dim=0, codebooks=4, codes=16, width=16, depth=1, heads=2, control_fold=1,
        pattern="delay",
    )  # fmt: skip
    network = TokenTransformer(shape).eval()
    load_exactly(network.latents, read_weights(out), out)
    codec, theirs = read_any_codec(str(folder)), EncodecModel.from_pretrained(folder)
    audio = torch.randn(1, 1, 32_000, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        codes = network.latents.encode(codec.encode(audio))
        hidden = theirs.encoder(audio)
        expected = theirs.quantizer.encode(hidden)  # (K, B, T)
        assert torch.equal(codes, expected.permute(1, 2, 0)) and len(codes.unique()) > 8
        sound = theirs.decoder(theirs.quantizer.decode(expected))
        torch.testing.assert_close(codec.decode(network.latents.decode(codes)), sound, atol=1e-4, rtol=1e-3)
    defaults = GenerationDefaults(guidance="2", composed_guidance="2", duration_s=1.0)
    save_pretrained(Pretrained("tiny", "", codec, network, defaults), tmp_path / "model")
    clip = FlowMusic.from_pretrained(tmp_path / "model").generate(chords="Am | F", duration=1.0)
    assert clip.sample_rate == 16_000 and clip.audio.shape == (1, 16_000)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (
            ["--codebooks", "5"],
            "the codec has 4 codebooks of 16 codes and no stereo image, got --codebooks 5",
        ),
        (["--codes", "32"], "--codes 32"),
        (["--image-dim", "2"], "--image-dim 2"),
    ],
)
def test_tokens_that_a_codec_does_not_have_are_refused(
    folder: Path, tmp_path: Path, options: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write_codec(EncodecLatents.from_transformers(str(folder)), tmp_path / "codec")
    with pytest.raises(SystemExit):
        latent_tokens.main(
            [str(tmp_path), "--out", str(tmp_path / "t.safetensors"), "--from-codec", *options]
        )
    assert says in capsys.readouterr().err and not (tmp_path / "t.safetensors").exists()


def test_a_codec_without_codebooks_says_so(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="SpectralCodec has no codebooks of its own"):
        load_pretrained().codec.codebooks()
    EncodecModel(SHAPE).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="codebooks are all zero"):
        EncodecLatents.from_transformers(str(tmp_path)).codebooks()


def test_a_model_with_encodec_latents_is_saved_read_and_generates(folder: Path, tmp_path: Path) -> None:
    codec = read_any_codec(str(folder))
    flow = FlowTransformer(
        FlowConfig(latent_dim=8, width=16, depth=1, heads=2, control_fold=1, time_channels=8)
    )
    model = Pretrained("tiny", "", codec, flow.eval(), GenerationDefaults(steps=1, duration_s=1.0))
    save_pretrained(model, tmp_path / "model")
    assert load_pretrained(tmp_path / "model").codec.frame_rate == 50.0
    clip = FlowMusic.from_pretrained(tmp_path / "model").generate(chords="Am | F", duration=1.0)
    assert clip.sample_rate == 16_000 and clip.audio.shape == (1, 16_000)


def test_what_is_no_encodec_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"EnCodec .* cannot be loaded"):
        EncodecLatents.from_transformers(str(tmp_path / "encodec-nowhere"))
    EncodecConfig(audio_channels=2, normalize=True).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="expected an EnCodec of one channel"):
        build_codec({"kind": "encodec", "model": {"audio_channels": 2, "normalize": True}})
