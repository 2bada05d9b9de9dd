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
from flowmusic.codec.protocol import Codec
from flowmusic.commands.prepare import read_any_codec
from flowmusic.model.config import FlowConfig
from flowmusic.model.transformer import FlowTransformer


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of transformers: 50 latent frames a second at 16 kHz, as EnCodec-32k has at 32 kHz."""
    torch.manual_seed(0)
    shape = EncodecConfig(
        sampling_rate=16_000, num_filters=4, upsampling_ratios=[8, 5, 4, 2], hidden_size=8, codebook_dim=8,
        codebook_size=16, target_bandwidths=[1.0], num_lstm_layers=1,
    )  # fmt: skip
    path = tmp_path_factory.mktemp("encodec")
    EncodecModel(shape).save_pretrained(path)
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
