"""Excerpts become style tokens: of the right number, each by itself, and looser with fewer codebooks."""

from __future__ import annotations

import pytest
import torch

from flowmusic.conditioning.style import StyleConfig
from flowmusic.conditioning.style_encoder import StyleConditioner, StyleFeatures, pad_features
from flowmusic.model.config import FlowConfig

CONFIG = StyleConfig(feature_dim=6, depth=1, heads=2, codebooks=3, codes=16)


def excerpts() -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(n, 6, generator=generator) for n in (40, 17, 0, 23)]


@pytest.fixture
def conditioner() -> StyleConditioner:
    torch.manual_seed(0)
    conditioner = StyleConditioner(CONFIG, 8).train()
    for step in range(20):
        conditioner(pad_features(excerpts()), generator=torch.Generator().manual_seed(step))
    return conditioner.eval().requires_grad_(False)


def test_there_is_a_token_for_every_fifth_frame(conditioner: StyleConditioner) -> None:
    encoding = conditioner(pad_features(excerpts()))
    assert encoding.tokens.tokens.shape == (4, 8, 8) and encoding.codes.shape == (4, 8, 3)
    assert encoding.tokens.mask.sum(dim=1).tolist() == [8, 4, 0, 5]
    assert torch.isfinite(encoding.tokens.tokens).all()


def test_an_excerpt_knows_nothing_of_its_neighbours(conditioner: StyleConditioner) -> None:
    together = conditioner(pad_features(excerpts()))
    for row in (0, 1, 3):
        alone = conditioner(pad_features([excerpts()[row]]))
        n = alone.tokens.tokens.shape[1]
        assert torch.equal(together.codes[row, :n], alone.codes[0])
        torch.testing.assert_close(together.tokens.tokens[row, :n], alone.tokens.tokens[0])


def test_tokens_are_sums_of_codes_of_the_books_asked_for(conditioner: StyleConditioner) -> None:
    features = pad_features(excerpts()[:1])
    for n_codebooks in (1, 2, 3):
        encoding = conditioner(features, n_codebooks)
        codebooks = conditioner.quantiser.codebooks
        expected = torch.stack([codebooks[b][encoding.codes[0, :, b]] for b in range(n_codebooks)]).sum(dim=0)
        torch.testing.assert_close(encoding.tokens.tokens[0], expected)


@pytest.mark.parametrize("codebooks", [0, 4])
def test_impossible_numbers_of_books_are_refused(conditioner: StyleConditioner, codebooks: int) -> None:
    with pytest.raises(ValueError, match=f"style codebooks must be from 1 to 3, got {codebooks}"):
        conditioner(pad_features(excerpts()), codebooks)


def test_other_features_are_refused(conditioner: StyleConditioner) -> None:
    with pytest.raises(ValueError, match="must have 6 channels, got 5"):
        conditioner(pad_features([torch.zeros(9, 5)]))
    with pytest.raises(ValueError, match="bool mask"):
        StyleFeatures(torch.zeros(1, 9, 6), torch.ones(1, 9))


def test_gradients_reach_the_encoder(conditioner: StyleConditioner) -> None:
    conditioner.requires_grad_(True)
    conditioner(pad_features(excerpts())).tokens.tokens[0, 0, 0].backward()
    gradient = conditioner.project_in.weight.grad
    assert gradient is not None and float(gradient.abs().sum()) > 0


def test_shapes_in_the_configuration_are_checked() -> None:
    config = FlowConfig(style=StyleConfig(codebooks=3))
    assert FlowConfig.from_json(config.to_json()) == config
    with pytest.raises(ValueError, match=r"StyleConfig\.codebooks must be a positive whole number, got 0"):
        StyleConfig(codebooks=0)
    with pytest.raises(ValueError, match=r"unknown keys \['book'\]"):
        FlowConfig.from_dict({"style": {"book": 3}})
    with pytest.raises(ValueError, match="feature_dim must be latent_dim"):
        FlowConfig(style=StyleConfig(feature_dim=7))
    with pytest.raises(ValueError, match=r"even multiple of style\.heads"):
        FlowConfig(style=StyleConfig(heads=3))
