"""Windows that share one velocity."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from features.controls import CONTROL_NAMES, Controls
from flowmusic.conditioning.condition import Condition
from flowmusic.conditioning.text import TextTokens
from flowmusic.flow.guidance import GuidanceSpec
from flowmusic.flow.guided_velocity import GuidedVelocity
from flowmusic.flow.schedule import Guidance
from flowmusic.flow.solver import noise, solve
from flowmusic.flow.windows import WindowedVelocity, WindowPlan, clip_windows, plan_windows, take_frames
from flowmusic.model.config import FlowConfig
from flowmusic.model.transformer import FlowTransformer, ReadTokens

CONFIG = FlowConfig(latent_dim=6, width=16, depth=2, heads=2, text_dim=8, style_dim=8, time_channels=16)
SPEC = GuidanceSpec.simple(1.5)


@pytest.fixture(scope="module")
def model() -> Iterator[FlowTransformer]:
    torch.manual_seed(0)
    model = FlowTransformer(CONFIG).eval().requires_grad_(False)
    for parameter in model.parameters():
        parameter.add_(0.2 * torch.randn_like(parameter))
    yield model


def condition_of(n_frames: int) -> Condition:
    generator = torch.Generator().manual_seed(1)
    drums = torch.rand(2 * n_frames, 4, generator=generator)
    return Condition.from_controls([Controls(2 * n_frames, drums=drums)], CONFIG.condition_shape)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 900), st.integers(1, 80), st.floats(0, 0.95), st.booleans())
def test_every_frame_has_a_share_that_changes_smoothly(
    n_frames: int, size: int, share: float, circular: bool
) -> None:
    plan = plan_windows(n_frames, size, int(size * share), 50, circular)
    weight, changes = torch.zeros(n_frames), []
    taper = plan.taper()
    for index in range(len(plan.starts)):
        weight[plan.frames(index)] += taper
        changes.append(float((taper[1:] - taper[:-1]).abs().max()) if plan.size > 1 else 0.0)
    assert float(weight.min()) > 0
    if len(plan.starts) > 1 and not circular:
        assert plan.starts[-1] + plan.size == n_frames and plan.size == size


def test_windows_overlap_by_what_is_asked() -> None:
    plan = plan_windows(1000, size=200, overlap=50)
    assert plan.starts[0] == 0 and all(
        b - a <= 150 for a, b in zip(plan.starts, plan.starts[1:], strict=False)
    )
    assert clip_windows(750, 25.0).whole and not clip_windows(751, 25.0).whole
    assert clip_windows(1500, 50.0).whole  # 30 s at any rate, then windows of 8 s
    assert clip_windows(1501, 50.0).size == 400 and clip_windows(751, 25.0).size == 200
    assert clip_windows(1501, 50.0, window_s=10.0).size == 500  # or as long as the model was trained with
    looped = clip_windows(120, 25.0, circular=True)
    assert looped.size == 120 and looped.starts == (0, 60)
    assert looped.frames(1).tolist() == [*range(60, 120), *range(60)]


def test_plans_that_leave_a_gap_are_refused() -> None:
    with pytest.raises(ValueError, match="no window"):
        WindowPlan(10, 4, (0, 5))
    with pytest.raises(ValueError, match="ends after"):
        WindowPlan(10, 4, (0, 4, 7))
    with pytest.raises(ValueError, match="cannot overlap"):
        plan_windows(1000, size=100, overlap=100)


def test_each_window_has_the_controls_of_its_own_frames() -> None:
    condition = condition_of(40)
    part = take_frames(condition, torch.tensor([38, 39, 0, 1]), 2)
    assert part.n_frames == 4
    assert torch.equal(part.get("drums")[0], condition.get("drums")[0, [76, 77, 78, 79, 0, 1, 2, 3]])
    assert all(part.mask(name).shape == (1, 8) for name in CONTROL_NAMES)


def test_one_window_is_the_plain_field(model: FlowTransformer) -> None:
    condition, x_0, t = condition_of(30), noise([1], 30, 6), torch.tensor([0.3])
    plain = GuidedVelocity(model, condition, SPEC)(x_0, t)
    assert torch.equal(WindowedVelocity(model, condition, SPEC, clip_windows(30, 25.0))(x_0, t), plain)


def test_where_windows_agree_the_shared_velocity_is_theirs(model: FlowTransformer) -> None:
    """In the overlap: the tapered mean; outside it: the velocity of the one window that is there."""
    condition, x_t, t = condition_of(50), noise([1], 50, 6), torch.tensor([0.5])
    plan = WindowPlan(50, 30, (0, 20))
    shared = WindowedVelocity(model, condition, SPEC, plan)(x_t, t)
    alone = []
    for start in plan.starts:
        frames = torch.arange(start, start + 30)
        field = GuidedVelocity(model, take_frames(condition, frames, 2), SPEC)
        alone.append(field(x_t[:, frames], t))
    torch.testing.assert_close(shared[:, :20], alone[0][:, :20])
    torch.testing.assert_close(shared[:, 30:], alone[1][:, 10:])
    first, second = alone[0][:, 20:], alone[1][:, :10]
    low, high = torch.minimum(first, second), torch.maximum(first, second)
    assert bool(((shared[:, 20:30] >= low - 1e-5) & (shared[:, 20:30] <= high + 1e-5)).all())


def test_a_loop_turned_round_is_the_same_loop(model: FlowTransformer) -> None:
    """With two windows half a clip apart, turning x_t and controls by half a clip turns the velocity."""
    condition, x_t, t = condition_of(40), noise([1], 40, 6), torch.tensor([0.5])
    plan = clip_windows(40, 25.0, circular=True)
    velocity = WindowedVelocity(model, condition, SPEC, plan)(x_t, t)
    turned = take_frames(condition, (torch.arange(40) + 20) % 40, 2)
    again = WindowedVelocity(model, turned, SPEC, plan)(x_t.roll(-20, 1), t)
    torch.testing.assert_close(again.roll(20, 1), velocity, atol=1e-5, rtol=1e-4)


def test_windows_that_are_known_cost_nothing(model: FlowTransformer) -> None:
    condition = condition_of(60)
    known = torch.zeros(1, 60, dtype=torch.bool)
    known[:, :40] = True
    condition = condition.with_context(torch.zeros(1, 60, 6), known)
    field = WindowedVelocity(model, condition, SPEC, WindowPlan(60, 20, (0, 20, 40)))
    assert len(field.windows) == 1
    velocity = field(noise([1], 60, 6), torch.tensor([0.5]))
    assert float(velocity[:, :40].abs().max()) == 0 and float(velocity[:, 40:].abs().min()) > 0


def test_tokens_are_read_once_a_clip(model: FlowTransformer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not by window, by row of guidance, by step, nor again where guidance does not act."""
    read: list[frozenset[str]] = []
    read_tokens = FlowTransformer.read_tokens

    def counted(self: FlowTransformer, condition: Condition) -> ReadTokens:
        read.append(frozenset(condition.given))
        return read_tokens(self, condition)

    monkeypatch.setattr(FlowTransformer, "read_tokens", counted)
    text = TextTokens(torch.randn(1, 3, 8), torch.ones(1, 3, dtype=torch.bool))
    guidance = Guidance.parse("drums=2,text=3; t=0-0.5")  # rows: all, all but the drums, all but the text
    condition = condition_of(60).with_tokens(text)
    field = WindowedVelocity(model, condition, guidance, WindowPlan(60, 30, (0, 15, 30)))
    solve(field, noise([1], 60, 6), steps=4, per_clip=False)
    assert field.n_sets == 3 and sorted(map(sorted, read)) == [[], ["text"]]


def test_bytes_do_not_depend_on_the_neighbours(model: FlowTransformer) -> None:
    plan = WindowPlan(60, 30, (0, 15, 30))
    both = Condition.cat([condition_of(60), condition_of(60).without("drums")])
    together = solve(WindowedVelocity(model, both, SPEC, plan), noise([1, 2], 60, 6), steps=3).latents
    alone = solve(WindowedVelocity(model, both.item(1), SPEC, plan), noise([2], 60, 6), steps=3).latents
    assert torch.equal(alone[0], together[1])
