"""The style conditioner learns to tell songs apart, and a training step teaches all of its parts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from flowmusic.conditioning.dropout import DropoutRates
from flowmusic.conditioning.style import StyleConfig
from flowmusic.conditioning.style_encoder import StyleConditioner, pad_features
from flowmusic.data.flow_data import FlowData
from flowmusic.model.config import FlowConfig
from flowmusic.model.transformer import FlowTransformer
from flowmusic.training.flow_module import FlowTraining
from flowmusic.training.style import contrast, encode_styles
from flowmusic.weights import save_tensors
from tests.training.conftest import write_data

STYLE = StyleConfig(feature_dim=8, depth=1, heads=2, codebooks=2, codes=16)


def songs(n: int, seed: int) -> list[torch.Tensor]:
    """Two excerpts of each of n songs, each song with a sound of its own."""
    generator = torch.Generator().manual_seed(seed)
    sounds = torch.randn(n, 1, 8, generator=generator)
    return [sound + torch.randn(40, 8, generator=generator) for _ in range(2) for sound in sounds]


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
    assert all(codes[..., codebook].unique().numel() >= 8 for codebook in range(2))


def test_the_contrast_compares_songs_and_leaves_out_what_is_not_there() -> None:
    tokens = torch.eye(4).reshape(4, 1, 4).repeat(2, 3, 1)
    mask = torch.ones(8, 3, dtype=torch.bool)
    own, other = contrast(tokens, mask), contrast(torch.cat([tokens[:4], tokens[4:].roll(1, 0)]), mask)
    assert float(own) < 0.05 < 2 < float(other)
    mask[2] = False
    broken = tokens.clone()
    broken[2] = 1e6
    torch.testing.assert_close(contrast(broken, mask), contrast(tokens, mask))
    mask[4:] = False
    assert contrast(tokens.requires_grad_(), mask).item() == 0.0


def trained_step(data: Path, bf16: bool) -> tuple[FlowTraining, torch.Tensor]:
    """A module with weights moved from zero, and the losses of a step with their gradients taken."""
    config = FlowConfig(
        latent_dim=8, width=16, heads=2, depth=1, text_dim=5, style_dim=8, token_summary=True, style=STYLE
    )
    rates = DropoutRates(everything=0, style=0, text=0)
    batches = FlowData(data, config, batch_size=4, excerpt_frames=60, dropout=rates)
    batches.open_split("train")
    module = FlowTraining(config)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in module.net.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    batch = batches.draw_batch("train", 0, [0])
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        condition, style_loss = module.conditions(module.net.train(), batch)
        assert style_loss is not None
        loss = module.loss(module.net, batch, condition).loss + 0.1 * style_loss
    loss.backward()
    return module, loss.detach()


@pytest.mark.parametrize("bf16", [False, True])
def test_a_step_teaches_every_part_and_can_be_repeated(tmp_path: Path, bf16: bool) -> None:
    data = write_data(tmp_path, {"train": [[200, 220]]})
    module, loss = trained_step(data, bf16)
    assert torch.equal(loss, trained_step(data, bf16)[1])
    taught = {"style.project_in.weight", "summary.project.style.weight", "tokens.project.style.1.weight"}
    gradients = {name: p.grad for name, p in module.net.named_parameters() if name in taught}
    assert all(g is not None and float(g.abs().sum()) > 0 for g in gradients.values()) and len(gradients) == 3
    assert module.net.style is not None and int(module.net.style.quantiser.ready) == 1


def test_songs_too_short_for_style_train_the_rest(tmp_path: Path) -> None:
    """No part is left without a gradient: DDP would wait for it."""
    data = write_data(tmp_path, {"train": [[60, 61, 62, 63]]})
    module, loss = trained_step(data, bf16=False)
    assert torch.isfinite(loss)
    gradients = {name: p.grad for name, p in module.net.named_parameters()}
    assert [name for name, gradient in gradients.items() if gradient is None] == []
    style = [float(g.abs().sum()) for name, g in gradients.items() if g is not None and "style." in name]
    assert len(style) > 10 and sum(style) == 0.0
    assert module.net.style is not None and int(module.net.style.quantiser.ready) == 0
    batches = FlowData(data, module.config, batch_size=4, excerpt_frames=60)
    batches.open_split("train")
    condition, _ = module.conditions(module.average.eval(), batches.draw_batch("train", 1, [0]))
    assert condition.style.shape == (4, 0, 8)


def test_a_model_grows_style_and_keeps_the_rest(tmp_path: Path) -> None:
    bare = FlowConfig(latent_dim=8, width=16, heads=2, depth=1, text_dim=5, style_dim=8)
    old = FlowTransformer(bare)
    save_tensors(tmp_path / "flow.safetensors", old.state_dict())
    (tmp_path / "flow.json").write_text(bare.to_json())
    new = FlowTraining(replace(bare, style=STYLE, token_summary=True, text_adapter=6), init_from=tmp_path)
    for name, tensor in old.state_dict().items():
        assert torch.equal(new.net.state_dict()[name], tensor)
        assert torch.equal(new.average.state_dict()[name], tensor)
    with pytest.raises(ValueError, match=r"width 16 .the model has 32"):
        FlowTraining(replace(bare, width=32), init_from=tmp_path)
    save_tensors(tmp_path / "flow.safetensors", {"a": torch.ones(1)})
    with pytest.raises(ValueError, match=r"flow\.safetensors lacks the weights"):
        FlowTraining(bare, init_from=tmp_path)
