"""The bundled codec's algebra, without its shipped weights."""

from __future__ import annotations

import pytest
import torch

from flowmusic.codec.bands import DEFAULT_BANDS, BandStft, DecoderBand
from flowmusic.codec.protocol import Codec
from flowmusic.codec.spectral import Correction, SpectralCodec, SpectralCodecConfig


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


def test_the_bands_share_the_power_of_every_frequency() -> None:
    low, high = (BandStft(band, 32000) for band in DEFAULT_BANDS)
    power = torch.zeros(2049)
    power[low.first : low.last] += low.weight.square()
    power[::2][high.first : high.last] += high.weight.square()  # its bins are twice as wide
    torch.testing.assert_close(power[::2], torch.ones(1025), atol=1e-3, rtol=0)


def test_true_magnitudes_give_the_tones_of_both_bands() -> None:
    seconds = torch.arange(64000) / 32000
    tones_hz = (220.0, 5000.0)
    tones = [0.2 * torch.sin(2 * torch.pi * tone_hz * seconds) for tone_hz in tones_hz]
    audio = torch.stack(tones).sum(dim=0, keepdim=True)
    codec = small_codec()
    shares = [
        band.synthesise(log_magnitude, 64000, iterations=4)[0]
        for band, log_magnitude in zip(codec.bands, codec.log_magnitudes(audio), strict=True)
    ]
    rebuilt = torch.stack(shares).sum(dim=0)
    spectrum = torch.fft.rfft(rebuilt[16000:48000] * torch.hann_window(32000)).abs() / 8000  # 1 Hz a bin
    for tone_hz in tones_hz:
        assert spectrum[int(tone_hz) - 2 : int(tone_hz) + 3].max() == pytest.approx(0.2, rel=0.1)
    assert spectrum[400:4500].max() < 0.01


def test_the_decoder_predicts_what_it_is_trained_on() -> None:
    codec, audio = small_codec(), 0.1 * torch.randn(2, 12801)
    predicted = codec.decoder(codec.encode(audio[:, None]))
    assert [p.shape for p in predicted] == [t.shape for t in codec.log_magnitudes(audio)]


def test_a_band_whose_hop_does_not_fit_is_named() -> None:
    with pytest.raises(ValueError, match="hop 300 does not divide decoder_hop 640"):
        SpectralCodec(SpectralCodecConfig(decoder_bands=(DecoderBand(1024, 300, 0.0, 16000.0),)))


@pytest.mark.parametrize("index", [0, 1])
def test_imposed_levels_come_nearer_to_those_stored(index: int) -> None:
    codec = small_codec()
    original, wrong = (
        0.1 * torch.randn(1, 64000, generator=torch.Generator().manual_seed(seed)) for seed in (1, 2)
    )
    features = codec.analysis(original)
    stored = features[..., codec.analysis.feature_slice(index)]
    mended = codec.impose_levels(wrong, features, Correction(index, raise_db=6.0, cut_db=12.0))
    before, after = (
        (codec.analysis(x)[..., codec.analysis.feature_slice(index)] - stored).abs().mean()
        for x in (wrong, mended)
    )
    assert after < 0.8 * before
    unchanged = codec.impose_levels(wrong, features, Correction(index, raise_db=0.0, cut_db=0.0))
    torch.testing.assert_close(unchanged, wrong, atol=1e-4, rtol=0)


def test_levels_are_imposed_on_generated_latents_only() -> None:
    codec, latents = small_codec(), torch.randn(1, 20, 32)
    with torch.inference_mode():
        plain, mended = codec.decode(latents)[0], codec.decode(latents, generated=True)[0]
        expected = plain
        for correction in codec.config.corrections:
            expected = codec.impose_levels(expected, codec.features(latents), correction)
    torch.testing.assert_close(mended, expected)
    assert not torch.allclose(mended, plain, atol=1e-3)


def test_a_correction_of_no_resolution_is_named() -> None:
    with pytest.raises(ValueError, match="resolution 5, but there are 5 resolutions"):
        SpectralCodec(SpectralCodecConfig(corrections=(Correction(5, 0.0, 6.0),)))


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


def test_decoding_makes_no_tensor_on_another_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """The device without numbers stands for a GPU: mixing it with the CPU is an error as well."""

    def inverse(spectrum: torch.Tensor, *_: object, window: torch.Tensor, **rest: int) -> torch.Tensor:
        assert window.device == spectrum.device
        return spectrum.new_zeros(spectrum.shape[0], rest["length"], dtype=torch.float32)

    codec = small_codec().to("meta")
    monkeypatch.setattr(torch, "istft", inverse)  # it looks at numbers
    audio = codec.decode(torch.zeros(2, 10, 32, device="meta"))
    assert audio.device.type == "meta" and audio.shape == (2, 1, 12800)
    assert codec.encode(audio).device.type == "meta"
