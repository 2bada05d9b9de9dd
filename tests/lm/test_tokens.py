from __future__ import annotations

import pytest
import torch

from flowmusic.lm.config import LmConfig
from flowmusic.lm.tokens import LatentTokens, nearest_codes, sum_of_codes
from flowmusic.lm.transformer import delay, undelay
from flowmusic.training.latent_tokens import errors_left, fit_codebooks
from tests.lm.conftest import config


def test_codes_decode_to_what_they_were_made_of() -> None:
    torch.manual_seed(1)
    tokens = LatentTokens(config())
    torch.nn.init.normal_(tokens.sound, std=0.01)
    tokens.sound[0] *= 100  # the first codebook tells the vectors apart
    torch.nn.init.normal_(tokens.image)
    tokens.weight.copy_(torch.linspace(0.5, 2, 8))
    codes = torch.randint(0, 16, (2, 5, 4))
    latents = tokens.decode(codes)
    assert latents.shape == (2, 5, 8)
    assert torch.allclose(tokens.decode(tokens.encode(latents)), latents, atol=0.1)
    assert torch.equal(tokens.encode(latents)[..., 0], codes[..., 0])
    assert torch.equal(tokens.encode(latents)[..., 3], codes[..., 3])


def test_important_channels_count_more() -> None:
    tokens = LatentTokens(config(image_dim=0, latent_dim=2, codebooks=1, codes=2))
    tokens.weight.copy_(torch.tensor([10.0, 0.1]))
    tokens.sound[0] = torch.tensor([[0.0, 1.0], [10.0, 0.0]])  # in weighted channels
    assert tokens.encode(torch.tensor([[0.2, 0.0], [0.8, 10.0]])).tolist() == [[0], [1]]
    assert torch.allclose(tokens.decode(torch.tensor([[1]])), torch.tensor([[1.0, 0.0]]))


def test_residual_codebooks_leave_less_and_less() -> None:
    torch.manual_seed(0)
    frames = torch.randn(600, 4) * torch.tensor([4.0, 2.0, 1.0, 0.5])
    codebooks = fit_codebooks(frames, 3, 16)
    left = errors_left(frames, codebooks)
    assert left[0] < 0.4 and left == sorted(left, reverse=True) and left[2] < 0.5 * left[0]
    error = frames - sum_of_codes(nearest_codes(frames, codebooks), codebooks)
    variance = (frames - frames.mean(0)).square().sum()
    assert float(error.square().sum() / variance) == pytest.approx(left[2], rel=1e-4)
    assert torch.equal(fit_codebooks(frames, 3, 16), codebooks), "the same seed, the same codebooks"


def test_delay_is_undone() -> None:
    codes = torch.arange(24).reshape(1, 6, 4)
    delayed = delay(codes, 99)
    assert delayed.shape == (1, 9, 4) and delayed[0, 3].tolist() == [12, 9, 6, 3]
    assert delayed[0, 0].tolist() == [0, 99, 99, 99] and torch.equal(undelay(delayed, 6), codes)


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"pattern": "flat"}, "one of depth, delay"),
        ({"lookahead": 4}, "odd"),
        ({"width": 30, "heads": 4}, "even multiple of heads"),
        ({"image_dim": 8}, "less than latent_dim"),
        ({"codes": 0}, "LmConfig.codes"),
        ({"nonsense": 1}, "unknown keys"),
        ({"controls": ["drums", "drums"]}, "twice"),
    ],
)
def test_shapes_that_cannot_be_are_refused(values: dict[str, object], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        LmConfig.from_dict({"latent_dim": 8, "image_dim": 2} | values)
