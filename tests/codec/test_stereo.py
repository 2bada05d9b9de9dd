"""The stereo image beside the mono sound: what is put left comes back left."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from benchmarks.codec_quality import stereo_cues, stereo_errors
from features.audio import Audio
from flowmusic.codec.protocol import Codec, encode_audio
from flowmusic.codec.spectral import SpectralCodec, SpectralCodecConfig
from flowmusic.codec.stereo import StereoImage, decorrelated
from flowmusic.training.codec_module import Moments

RATE, HOP = 32000, 1280


def tone(hz: float, seconds: float = 1.0) -> Tensor:
    return 0.3 * torch.sin(2 * torch.pi * hz * torch.arange(round(seconds * RATE)) / RATE)


def whole_image() -> StereoImage:
    """With all components, so that nothing is lost."""
    image = StereoImage(RATE, HOP, StereoImage(RATE, HOP, 1).components.shape[0])
    torch.manual_seed(1)
    moments = Moments()
    moments.add(image.features(torch.randn(1, 2, 6 * RATE) * torch.tensor([0.3, 0.1])[:, None])[0])
    mean, covariance = moments.mean_and_covariance()
    image.fit(mean, covariance + 1e-3 * torch.eye(len(mean)))
    return image


def both_ways(image: StereoImage, sound: Tensor) -> Tensor:
    """(2, S) -> what comes back beside its own mid, (2, S)."""
    return image.decode(image.encode(sound[None]), sound.mean(dim=0, keepdim=True))[0]


def test_the_mean_of_the_channels_is_the_mid() -> None:
    mid = torch.randn(1, 25 * HOP) * 0.1
    image = StereoImage(RATE, HOP, 8)
    image.fit(torch.zeros(30), torch.eye(30))
    sound = image.decode(torch.randn(1, 25, 8), mid)
    torch.testing.assert_close(sound.mean(dim=1), mid, atol=1e-6, rtol=0)
    assert float((sound[:, 0] - sound[:, 1]).abs().max()) > 0.05


def test_mono_comes_back_as_mono() -> None:
    """Also with few components: they are those of the second moment, so zeros stay zeros."""
    image = StereoImage(RATE, HOP, 4)
    moments = Moments()
    moments.add(image.features(torch.randn(1, 2, 4 * RATE))[0])
    image.fit(*moments.mean_and_covariance())
    sound = both_ways(image, tone(440.0).expand(2, -1))
    assert float((sound[0] - sound[1]).abs().max()) < 1e-4


def test_low_left_and_high_right_come_back_there() -> None:
    low, high = tone(210.0), tone(2854.0)  # in the middle of their bands
    sound = torch.stack([low + 0.1 * high, 0.1 * low + high])
    left, right = both_ways(whole_image(), sound)
    spectra = [torch.fft.rfft(side[8000:24000]).abs() for side in (left, right)]  # bins of 2 Hz
    decibels = 20 * torch.log10(spectra[0] / spectra[1])
    assert float(decibels[105]) == pytest.approx(20.0, abs=2.0)
    assert float(decibels[1427]) == pytest.approx(-20.0, abs=2.0)


def test_unlike_channels_stay_unlike_and_equally_loud() -> None:
    torch.manual_seed(0)
    sound = 0.1 * torch.randn(2, 4 * RATE)
    back = both_ways(whole_image(), sound)
    power = back.square().mean(dim=1)
    assert float(power[0] / power[1]) == pytest.approx(1.0, abs=0.25)
    correlation = float((back[0] * back[1]).mean() / power.prod().sqrt())
    assert abs(correlation) < 0.2


def test_decorrelated_sound_is_as_loud_and_unlike() -> None:
    torch.manual_seed(0)
    sound = 0.1 * torch.randn(1, 4 * RATE)
    other = decorrelated(sound, RATE)
    assert float(other.square().mean() / sound.square().mean()) == pytest.approx(1.0, abs=0.05)
    assert abs(float((other * sound).mean() / sound.square().mean())) < 0.05
    assert float(decorrelated(sound[:, :10], RATE).abs().max()) == 0.0  # shorter than the first delay


def test_latents_have_unit_variance_where_they_were_fitted() -> None:
    image = StereoImage(RATE, HOP, 6)
    torch.manual_seed(0)
    gains = torch.rand(60, 2, 1).repeat_interleave(RATE // 10, dim=2).permute(1, 0, 2).reshape(2, -1)
    sound = (0.1 * torch.randn(2, gains.shape[1]) * gains)[None]
    moments = Moments()
    moments.add(image.features(sound)[0])
    image.fit(*moments.mean_and_covariance())
    latents = image.encode(sound)[0]
    torch.testing.assert_close(latents.mean(dim=0), torch.zeros(6), atol=0.02, rtol=0)
    torch.testing.assert_close(latents.std(dim=0), torch.ones(6), atol=0.05, rtol=0)


def test_more_components_than_features_are_refused() -> None:
    with pytest.raises(ValueError, match="30 features, asked for 31"):
        StereoImage(RATE, HOP, 31)


def stereo_codec() -> SpectralCodec:
    torch.manual_seed(0)
    shape = SpectralCodecConfig(latent_dim=16, decoder_width=32, decoder_depth=1, stereo_components=5)
    codec = SpectralCodec(shape)
    assert codec.image is not None
    n = codec.analysis.n_features
    codec.fit_components(torch.full((n,), 2.0), torch.eye(n))
    codec.image.fit(torch.zeros(30), torch.eye(30))
    return codec.eval()


def test_a_stereo_codec_is_the_mono_one_with_more_latents() -> None:
    codec = stereo_codec()
    assert isinstance(codec, Codec)
    assert (codec.channels, codec.latent_dim) == (2, 21)
    mono = SpectralCodec(replace(codec.config, stereo_components=0)).eval()
    kept = {key: value for key, value in codec.state_dict().items() if not key.startswith("image.")}
    mono.load_state_dict(kept)
    sound = 0.1 * torch.randn(2, 2, 5 * HOP)
    with torch.inference_mode():
        latents = codec.encode(sound)
        of_mono = mono.encode(sound.mean(dim=1, keepdim=True))
        torch.testing.assert_close(latents[..., :16], of_mono)
        decoded = codec.decode(latents)
        assert decoded.shape == (2, 2, 5 * HOP)
        torch.testing.assert_close(decoded.mean(dim=1, keepdim=True), mono.decode(of_mono), atol=1e-4, rtol=0)
        torch.testing.assert_close(decoded[1:], codec.decode(latents[1:]), atol=1e-4, rtol=0)


def test_a_stereo_codec_takes_sound_of_any_channels() -> None:
    codec = stereo_codec()
    sound = Audio(0.1 * torch.randn(6, 2 * 44100).numpy(), 44100)
    of_six, of_mono = encode_audio(codec, sound), encode_audio(codec, Audio(sound.mono()[None], 44100))
    torch.testing.assert_close(of_six, of_mono, atol=1e-3, rtol=0)
    with pytest.raises(ValueError, match=r"expected sound of shape \(B, 2, S\)"):
        codec.encode(torch.randn(1, 6, 4000))


def test_errors_of_the_stereo_image() -> None:
    """Nothing against itself; the level difference that was put in; the coherence that was lost."""
    torch.manual_seed(0)
    common, own = torch.randn(2, 2 * RATE)
    sound = (0.1 * torch.stack([common, common])).numpy()
    assert stereo_errors(sound, sound, RATE) == (0.0, 0.0)
    louder = sound.copy()
    louder[0] *= 2
    differences = stereo_errors(sound, louder, RATE)
    assert differences[0] == pytest.approx(6.02, abs=0.01)
    assert differences[1] == pytest.approx(0.0, abs=1e-4)
    apart = (0.1 * torch.stack([common, own])).numpy()
    lost = stereo_errors(sound, apart, RATE)
    assert lost[1] > 0.6
    assert stereo_cues(sound, RATE).coherence.min() > 0.999
    with pytest.raises(ValueError, match="silence has no stereo image"):
        stereo_errors(0 * sound, sound, RATE)


def test_it_makes_no_tensor_on_another_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """The device without numbers stands for a GPU: mixing it with the CPU is an error as well."""

    def inverse(spectrum: Tensor, *_: object, window: Tensor, **rest: int) -> Tensor:
        assert window.device == spectrum.device
        return spectrum.new_zeros(spectrum.shape[0], rest["length"], dtype=torch.float32)

    image = StereoImage(RATE, HOP, 5).to("meta")
    monkeypatch.setattr(torch, "istft", inverse)  # it looks at numbers
    mid = torch.zeros(2, 10 * HOP, device="meta")
    sound = image.decode(torch.zeros(2, 10, 5, device="meta"), mid)
    assert sound.device.type == "meta" and sound.shape == (2, 2, 10 * HOP)
    assert image.encode(sound).device.type == "meta"
