"""The network as a function: what it depends on, and what it must not depend on."""

from __future__ import annotations

from functools import partial

import pytest
import torch

from features.controls import CONTROL_NAMES
from flowmusic.attention import attend, rotate, rotation
from flowmusic.conditioning.condition import Condition
from flowmusic.flow.path import cfm_loss
from flowmusic.model.blocks import time_channels
from flowmusic.model.config import FlowConfig
from flowmusic.model.transformer import FlowTransformer

NAMES = (*CONTROL_NAMES, "text", "style", "context")


def inputs(batch_size: int = 3, n_frames: int = 20) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(2)
    return torch.randn(batch_size, n_frames, 12, generator=generator), torch.rand(
        batch_size, generator=generator
    )


def test_velocity_has_the_shape_of_the_latents(model: FlowTransformer, condition: Condition) -> None:
    x_t, t = inputs()
    velocity = model(x_t, t, condition)
    assert velocity.shape == x_t.shape
    assert velocity.dtype == torch.float32
    assert torch.isfinite(velocity).all()


def test_an_item_alone_and_in_a_batch_have_one_velocity(model: FlowTransformer, condition: Condition) -> None:
    x_t, t = inputs()
    together = model(x_t, t, condition)
    for i in range(3):
        alone = model(x_t[i : i + 1], t[i : i + 1], condition.item(i))
        torch.testing.assert_close(alone[0], together[i], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_masked_values_are_never_read(model: FlowTransformer, condition: Condition, name: str) -> None:
    x_t, t = inputs()
    mask = condition.mask(name).clone()
    mask[:, 1::2] = False
    partly = condition.having(**{f"{name}_mask": mask})
    value = condition.get(name).clone()
    value[~mask] = 1e4
    assert torch.equal(model(x_t, t, partly), model(x_t, t, partly.having(**{name: value})))


@pytest.mark.parametrize("name", NAMES)
def test_every_condition_reaches_the_velocity(
    model: FlowTransformer, condition: Condition, name: str
) -> None:
    x_t, t = inputs()
    given = condition.mask(name).any(dim=1)
    differ = (model(x_t, t, condition) - model(x_t, t, condition.without(name))).abs().amax(dim=(1, 2)) > 1e-4
    assert torch.equal(differ, given)


@pytest.mark.parametrize("name", NAMES)
def test_dropped_is_the_same_as_never_given(
    model: FlowTransformer, condition: Condition, config: FlowConfig, name: str
) -> None:
    """JASCO's public code had another null in training than at generation (DESIGN §1)."""
    x_t, t = inputs()
    dropped = condition.keep(name, torch.tensor([False, False, False]))
    null = Condition.null(3, 20, config.condition_shape)
    never = condition.having(**{name: null.get(name), f"{name}_mask": null.mask(name)})
    torch.testing.assert_close(model(x_t, t, dropped), model(x_t, t, never), atol=1e-5, rtol=1e-5)


def test_padding_in_time_does_not_leak(model: FlowTransformer, condition: Condition) -> None:
    x_t, t = inputs()
    short = 13
    frame_mask = torch.ones(3, 20, dtype=torch.bool)
    frame_mask[:, short:] = False
    disturbed = x_t.clone()
    disturbed[:, short:] = 100.0
    padded = model(disturbed, t, condition, frame_mask)[:, :short]
    cut = {"context": condition.context[:, :short], "context_mask": condition.context_mask[:, :short]}
    for name in ("drums", "melody", "chords"):
        cut[name] = condition.get(name)[:, : 2 * short]
        cut[f"{name}_mask"] = condition.mask(name)[:, : 2 * short]
    alone = model(x_t[:, :short], t, condition.having(**cut))
    torch.testing.assert_close(padded, alone, atol=1e-5, rtol=1e-5)


def test_prepared_once_equals_prepared_each_step(model: FlowTransformer, condition: Condition) -> None:
    x_t, _ = inputs()
    prepared = model.prepare(condition)
    for time in (0.0, 0.3, 0.9):
        t = torch.full((3,), time)
        assert torch.equal(model.velocity(x_t, t, prepared), model(x_t, t, condition))


def test_every_time_channel_moves() -> None:
    """t fed as it is to sinusoids of wavelengths up to 10000 leaves most channels where they are."""
    spread = time_channels(torch.linspace(0, 1, 201), 256).std(dim=0)
    assert spread.min() > 0.1
    assert (time_channels(torch.linspace(0, 1, 201) / 1000, 256).std(dim=0) < 0.1).float().mean() > 0.5


def test_the_velocity_depends_on_time(model: FlowTransformer, condition: Condition) -> None:
    x_t, t = inputs()
    assert (model(x_t, t, condition) - model(x_t, t + 0.01, condition)).abs().max() > 1e-3


def test_rotary_scores_depend_on_the_distance_alone() -> None:
    by = rotation(64, 8, torch.device("cpu"))
    q, k = torch.randn(2, 1, 1, 8).unbind(0)
    q, k = (rotate(x.expand(64, 1, 8), by)[:, 0] for x in (q, k))
    scores = q @ k.T
    torch.testing.assert_close(scores[5, 9], scores[45, 49], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(q.norm(dim=-1), q[0].norm().expand(64), atol=1e-5, rtol=1e-5)


def test_bfloat16_attention_on_a_cpu_equals_the_fused_one() -> None:
    q, k, v = torch.randn(3, 2, 2, 30, 8).unbind(0)
    mask = torch.rand(2, 1, 1, 30) < 0.7
    exact = attend(q, k, v, mask)
    rounded = attend(q.bfloat16(), k.bfloat16(), v.bfloat16(), mask)
    torch.testing.assert_close(rounded.float(), exact, atol=0.05, rtol=0.05)


def test_a_new_model_starts_at_zero_and_learns(config: FlowConfig, condition: Condition) -> None:
    torch.manual_seed(0)
    model = FlowTransformer(config)
    x_t, t = inputs()
    assert model(x_t, t, condition).abs().max() == 0
    x_1 = torch.randn(3, 20, 12)
    optimiser = torch.optim.Adam(model.parameters(), 3e-3)
    losses = []
    for step in range(60):
        generator = torch.Generator().manual_seed(step % 3)
        with torch.autocast("cpu", torch.bfloat16):
            prepared = model.prepare(condition)
            out = cfm_loss(partial(model.velocity, prepared=prepared), x_1, generator)
        optimiser.zero_grad()
        out.loss.backward()
        if step == 1:  # at the very first step only the output layer, which is zero, has a gradient
            without = [name for name, p in model.named_parameters() if p.grad is None]
            assert all(name.startswith("summary.adapter.") for name in without)  # which is held
        optimiser.step()
        losses.append(out.loss.item())
    assert sum(losses[-3:]) < 0.75 * sum(losses[:3])


def test_wrong_shapes_are_refused(model: FlowTransformer, condition: Condition, config: FlowConfig) -> None:
    x_t, t = inputs()
    with pytest.raises(ValueError, match="x_t must be"):
        model(x_t[:, :10], t, condition)
    with pytest.raises(ValueError, match="drums must have shape"):
        wrong = condition.get("drums")[:, :-1], condition.mask("drums")[:, :-1]
        model(x_t, t, condition.having(drums=wrong[0], drums_mask=wrong[1]))
    with pytest.raises(ValueError, match="text tokens must have 16 channels"):
        model(x_t, t, condition.having(text=torch.zeros(3, 5, 17)))
    with pytest.raises(ValueError, match="known latents must have 12 channels"):
        model(x_t, t, condition.with_context(torch.zeros(3, 20, 13), condition.context_mask))
    with pytest.raises(ValueError, match="frame_mask must be"):
        model(x_t, t, condition, torch.ones(3, 19, dtype=torch.bool))
