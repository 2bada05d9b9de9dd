"""The embedded codec's algebra, without its shipped weights."""

from __future__ import annotations

import pytest
import torch

from flowmusic.codec.protocol import Codec
from flowmusic.codec.spectral import SpectralCodec, SpectralCodecConfig


def small_codec(latent_dim: int = 32) -> SpectralCodec:
    torch.manual_seed(0)
    codec = SpectralCodec(SpectralCodecConfig(latent_dim=latent_dim, decoder_width=32, decoder_depth=1))
    features = codec.analysis(0.1 * torch.randn(4, 64000).cumsum(1).sin()).flatten(0, 1).double()
    centred = features - features.mean(0)
    codec.fit_components(
        features.mean(0), centred.T @ centred / len(features) + 1e-4 * torch.eye(features.shape[1])
    )
    return codec.eval()


def test_satisfies_the_codec_protocol() -> None:
    codec = small_codec()
    assert isinstance(codec, Codec)
    assert codec.frame_rate == 25.0


@pytest.mark.parametrize("n_samples", [1, 1280, 12801])
def test_shapes_at_odd_lengths(n_samples: int) -> None:
    codec = small_codec()
    latents = codec.encode(torch.randn(2, 1, n_samples) * 0.1)
    assert latents.shape == (2, -(-n_samples // 1280), 32)
    with torch.inference_mode():
        assert codec.decode(latents).shape == (2, 1, latents.shape[1] * 1280)


def test_all_components_keep_all_features() -> None:
    codec = small_codec(latent_dim=SpectralCodec(SpectralCodecConfig()).analysis.n_features)
    audio = 0.1 * torch.randn(1, 1, 32000)
    features = codec.analysis(audio[:, 0])
    torch.testing.assert_close(codec.features(codec.encode(audio)), features, atol=2e-3, rtol=1e-3)


def test_latents_have_unit_variance_where_they_were_fitted() -> None:
    codec, audio = small_codec(), 0.1 * torch.randn(4, 64000)
    features = codec.analysis(audio).flatten(0, 1)
    codec.fit_components(features.mean(0), torch.cov(features.T))
    latents = codec.encode(audio[:, None]).flatten(0, 1)
    torch.testing.assert_close(latents.std(dim=0), torch.ones(32), atol=0.02, rtol=0)
    torch.testing.assert_close(latents.mean(dim=0), torch.zeros(32), atol=0.02, rtol=0)


def test_an_item_is_decoded_alone_as_in_a_batch() -> None:
    codec = small_codec()
    latents = torch.randn(3, 10, 32)
    with torch.inference_mode():
        together, alone = codec.decode(latents)[1:2], codec.decode(latents[1:2])
    torch.testing.assert_close(together, alone, atol=1e-4, rtol=1e-3)


def test_wrong_shapes_are_named() -> None:
    codec = small_codec()
    with pytest.raises(ValueError, match=r"\(B, 1, S\)"):
        codec.encode(torch.zeros(1, 2, 100))
    with pytest.raises(ValueError, match=r"\(B, T, 32\)"):
        codec.decode(torch.zeros(1, 4, 31))


def test_config_round_trip_and_unknown_keys() -> None:
    import json

    config = SpectralCodecConfig(latent_dim=48)
    assert SpectralCodecConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    with pytest.raises(ValueError, match="unknown codec settings"):
        SpectralCodecConfig.from_dict({"latent_dims": 3})
