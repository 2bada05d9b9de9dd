"""Refinement of magnitudes: patches, where stored levels are read, that it starts as nothing and learns."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from flowmusic.codec.refinement import Refinement
from flowmusic.codec.spectral import SpectralCodec, SpectralCodecConfig

PLAIN = SpectralCodecConfig(latent_dim=32, decoder_width=32, decoder_depth=1)
CONFIG = replace(
    PLAIN,
    decoder_bands=tuple(replace(band, refine_channels=8, refine_depth=1) for band in PLAIN.decoder_bands),
)


def codec_of(config: SpectralCodecConfig = CONFIG) -> SpectralCodec:
    torch.manual_seed(0)
    codec = SpectralCodec(config)
    features = codec.analysis(0.1 * torch.randn(2, 64000)).flatten(0, 1)
    codec.fit_components(features.mean(0), torch.cov(features.T))
    return codec.eval()


@pytest.mark.parametrize(("columns", "n_bins"), [(1, 21), (2, 40), (2, 37)])
def test_patches_go_back_where_they_came_from(columns: int, n_bins: int) -> None:
    part = Refinement(n_bins, n_maps=2, columns=columns, channels=4, depth=1)
    magnitudes = torch.randn(2, 12, n_bins)
    patches = part._to_patches(magnitudes[:, None])
    assert patches.shape[2] == 12 // columns
    assert torch.equal(part._from_patches(patches)[..., :n_bins], magnitudes)


def test_it_starts_as_if_it_were_not_there() -> None:
    refined = codec_of()
    plain = SpectralCodec(PLAIN)
    plain.load_state_dict(refined.state_dict(), strict=False)
    latents = torch.randn(2, 10, 32)
    with torch.inference_mode():
        pairs = zip(
            refined.predict(refined.decoder, latents), plain.predict(plain.decoder, latents), strict=True
        )
        assert all(torch.equal(ours, theirs) for ours, theirs in pairs)


def _maps(audio: Tensor) -> list[Tensor]:
    codec = codec_of()
    return codec.level_maps(codec.analysis(audio))


def test_a_tone_is_read_at_its_bins_and_a_click_at_its_columns() -> None:
    low, high = codec_of().bands
    seconds = torch.arange(64000) / 32000
    for tone_hz, index, band in ((440.0, 0, low), (4000.0, 1, high)):
        fine = _maps(0.5 * torch.sin(2 * torch.pi * tone_hz * seconds)[None])[index][0, 0]  # (T', F)
        middle = fine[len(fine) // 2]
        loudest_hz = float(band.bins_hz[int(middle.argmax())])
        assert loudest_hz == pytest.approx(tone_hz, rel=0.03)
        assert -1.5 < float(middle.max()) < 0.0  # log10 amplitude of a band around a tone of amplitude .5
    click = torch.zeros(1, 64000)
    click[0, 40000] = 1.0
    for short in _maps(click)[1][0, 1:].mean(dim=-1):  # (T',)
        assert abs(int(short.argmax()) - 40000 // 320) <= 2


def test_it_learns_what_a_column_by_column_decoder_left() -> None:
    part = Refinement(n_bins=64, n_maps=2, columns=1, channels=16, depth=1)
    generator = torch.Generator().manual_seed(0)
    optimiser = torch.optim.Adam(part.parameters(), lr=3e-3)
    errors = []
    for _ in range(150):
        sharp = -4 + 3 * (torch.rand(8, 20, 64, generator=generator) > 0.9).float()
        smooth = torch.nn.functional.avg_pool2d(sharp[:, None], 3, 1, 1)[:, 0]
        levels = torch.stack([smooth, smooth], dim=1)
        error = (part(smooth, levels) - sharp).abs().mean()
        optimiser.zero_grad()
        error.backward()
        optimiser.step()
        errors.append(float(error.detach()))
    assert errors[-1] < 0.6 * errors[0]
