"""The style conditioner learns to tell songs apart, and a training step teaches all of its parts."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from flowmusic.conditioning.dropout import DropoutRates
from flowmusic.conditioning.style_encoder import StyleConditioner, pad_features
from flowmusic.config import FlowConfig, StyleConfig
from flowmusic.data.dataset import FlowExcerpts, load_songs
from flowmusic.model.transformer import FlowTransformer
from flowmusic.training.flow import FlowTraining, flow_loss
from flowmusic.training.style import contrast, encode_styles
from tests.data.test_dataset import write_song

STYLE = StyleConfig(feature_dim=6, depth=1, heads=2, books=2, codes=16)


def songs(n: int, seed: int) -> list[torch.Tensor]:
    """Two excerpts of each of n songs, each song with a sound of its own."""
    generator = torch.Generator().manual_seed(seed)
    sounds = torch.randn(n, 1, 6, generator=generator)
    return [sound + torch.randn(40, 6, generator=generator) for _ in range(2) for sound in sounds]


def test_songs_are_told_apart_and_codes_stay_in_use() -> None:
    torch.manual_seed(0)
    conditioner = StyleConditioner(STYLE, 8).train()
    optimiser = torch.optim.Adam(conditioner.parameters(), lr=3e-3)
    losses = []
    for step in range(80):
        pairs = pad_features(songs(8, step))
        tokens, loss = encode_styles(conditioner, pairs, torch.Generator().manual_seed(step))
        assert tokens.tokens.shape[0] == 8
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert sum(losses[-10:]) < 0.75 * sum(losses[:10])
    codes = conditioner.eval()(pad_features(songs(24, 999))).codes
    assert all(codes[..., book].unique().numel() >= 8 for book in range(2))


def test_the_contrast_compares_songs_and_leaves_out_what_is_not_there() -> None:
    tokens = torch.eye(4).reshape(4, 1, 4).repeat(2, 3, 1)
    mask = torch.ones(8, 3, dtype=torch.bool)
    own, other = contrast(tokens, mask), contrast(torch.cat([tokens[:4], tokens[4:].roll(1, 0)]), mask)
    assert float(own) < 0.05 < 2 < float(other)
    mask[2] = False
    broken = tokens.clone()
    broken[2] = 1e6
    torch.testing.assert_close(contrast(broken, mask), contrast(tokens, mask))


@pytest.mark.parametrize("bf16", [False, True])
def test_a_step_teaches_every_part_and_can_be_repeated(tmp_path: Path, bf16: bool) -> None:
    config = FlowConfig(
        latent_dim=6, width=16, heads=2, depth=1, text_dim=5, style_dim=8, token_summary=True, style=STYLE
    )
    write_song(tmp_path, "a", 200)
    write_song(tmp_path, "b", 220)
    excerpts = FlowExcerpts(load_songs(tmp_path), config, 60)
    plan, losses = FlowTraining(batch=4, excerpt_frames=60), []
    for _ in range(2):
        torch.manual_seed(0)
        model = FlowTransformer(config).train()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.1 * torch.randn_like(parameter))
        loss = flow_loss(model, excerpts, plan, DropoutRates(everything=0, style=0, text=0), 7, bf16).loss
        loss.backward()
        losses.append(loss.item())
    assert losses[0] == losses[1]
    taught = {"style.project_in.weight", "summary.project.style.weight", "tokens.project.style.1.weight"}
    gradients = {name: p.grad for name, p in model.named_parameters() if name in taught}
    assert all(g is not None and float(g.abs().sum()) > 0 for g in gradients.values()) and len(gradients) == 3
    assert int(model.style.quantiser.ready) == 1 if model.style is not None else False
    model.eval()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    own, other = (flow_loss(model, excerpts, plan, DropoutRates(), 3, bf16, o).loss for o in (False, True))
    assert float(own) != float(other)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
