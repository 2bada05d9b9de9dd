"""Guidance and the solver on the network: equal to the plain formulas, and one clip at a time."""

from __future__ import annotations

import pytest
import torch

from flowmusic.conditioning.condition import Condition
from flowmusic.flow.guidance import ConditionSet, GuidanceSpec
from flowmusic.flow.guided_velocity import GuidedVelocity, rescaled
from flowmusic.flow.schedule import Guidance
from flowmusic.flow.solver import noise, solve
from flowmusic.model.transformer import FlowTransformer, Prepared


@pytest.fixture
def x_t() -> torch.Tensor:
    return noise([1, 2, 3], 20, 12)


def check(
    model: FlowTransformer,
    condition: Condition,
    x_t: torch.Tensor,
    guidance: str,
    plain: torch.Tensor,
    n_sets: int,
) -> None:
    guided = GuidedVelocity(model, condition, Guidance.parse(guidance))
    assert guided.n_sets == n_sets
    t = torch.tensor([0.1, 0.5, 0.9])
    torch.testing.assert_close(guided(x_t, t), plain, atol=2e-5, rtol=1e-4)


def test_rules_equal_their_formulas(model: FlowTransformer, condition: Condition, x_t: torch.Tensor) -> None:
    t = torch.tensor([0.1, 0.5, 0.9])

    def v(conditions: Condition) -> torch.Tensor:
        velocity: torch.Tensor = model(x_t, t, conditions)
        return velocity

    v_all, v_null = v(condition), v(condition.only("context"))
    check(model, condition, x_t, "1", v_all, 1)
    check(model, condition, x_t, "0", v_null, 1)
    check(model, condition, x_t, "2.5", v_null + 2.5 * (v_all - v_null), 2)
    v_text = v(condition.only("text", "context"))
    check(model, condition, x_t, "jasco:3,1", 3 * v_all + v_text - 3 * v_null, 3)
    check(model, condition, x_t, "jasco: 1, 0", v_all, 1)
    v_s = v(condition.without("text"))
    check(model, condition, x_t, "double:3,2", v_null + 3 * (v_s + 2 * (v_all - v_s) - v_null), 3)
    plain = v_all + 1.0 * (v_all - v(condition.without("drums"))) - 0.5 * (v_all - v_s)
    check(model, condition, x_t, "drums=2,chords=1,text=0.5", plain, 3)


def test_any_sets_and_weights_equal_their_sum(
    model: FlowTransformer, condition: Condition, x_t: torch.Tensor
) -> None:
    t = torch.tensor([0.1, 0.5, 0.9])
    pairs = [(1.5, ("drums", "text")), (0.75, ("style",)), (-0.5, ("melody", "chords")), (-0.75, ())]
    guided = GuidedVelocity(
        model,
        condition,
        GuidanceSpec.of(*((weight, ConditionSet(frozenset(names))) for weight, names in pairs)),
    )
    plain = sum(weight * model(x_t, t, condition.only(*names, "context")) for weight, names in pairs)
    assert guided.n_sets == 4
    torch.testing.assert_close(guided(x_t, t), plain, atol=2e-5, rtol=1e-4)


def test_what_is_not_given_costs_no_row(
    model: FlowTransformer, condition: Condition, x_t: torch.Tensor
) -> None:
    silent = condition.without("text")
    t = torch.tensor([0.1, 0.5, 0.9])
    v_all, v_null = model(x_t, t, silent), model(x_t, t, silent.only("context"))
    check(model, silent, x_t, "jasco:3,1", v_null + 3 * (v_all - v_null), 2)  # text alone is the null
    check(model, silent, x_t, "double:3,2", v_null + 3 * (v_all - v_null), 2)  # v_s is v_ts
    check(model, silent, x_t, "text=4", v_all, 1)
    check(model, silent.only("drums", "context"), x_t, "drums=2", *_simple(model, silent, x_t, t))


def _simple(
    model: FlowTransformer, condition: Condition, x_t: torch.Tensor, t: torch.Tensor
) -> tuple[torch.Tensor, int]:
    """Of one control alone: the scale for it by itself is the scale for all."""
    v_all = model(x_t, t, condition.only("drums", "context"))
    v_null = model(x_t, t, condition.only("context"))
    return v_null + 2 * (v_all - v_null), 2


@pytest.mark.parametrize("method", ["euler", "midpoint", "heun", "rk4", "dopri5"])
def test_a_clip_has_the_same_bytes_alone_and_in_a_batch(
    model: FlowTransformer, condition: Condition, x_t: torch.Tensor, method: str
) -> None:
    spec = GuidanceSpec.parse("jasco:2,1")
    tolerance = 1e-3
    batch = solve(GuidedVelocity(model, condition, spec), x_t, method, steps=3, tolerance=tolerance)
    for i in range(3):
        field = GuidedVelocity(model, condition.item(i), spec)
        alone = solve(field, noise([i + 1], 20, 12), method, steps=3, tolerance=tolerance)
        assert torch.equal(alone.latents[0], batch.latents[i])
        assert alone.item_evaluations[0] == batch.item_evaluations[i]


def test_clips_solved_in_one_batch_agree(
    model: FlowTransformer, condition: Condition, x_t: torch.Tensor
) -> None:
    field = GuidedVelocity(model, condition, GuidanceSpec.simple(2))
    alone = solve(field, x_t, "heun", steps=4)
    together = solve(field, x_t, "heun", steps=4, per_clip=False)
    assert alone.evaluations == together.evaluations == 8
    torch.testing.assert_close(alone.latents, together.latents, atol=1e-4, rtol=1e-4)


def test_padded_clips_are_guided_as_if_alone(
    model: FlowTransformer, condition: Condition, x_t: torch.Tensor
) -> None:
    frame_mask = torch.ones(3, 20, dtype=torch.bool)
    frame_mask[2, 15:] = False
    guided = GuidedVelocity(model, condition, GuidanceSpec.simple(2), frame_mask)
    t = torch.full((3,), 0.4)
    moved = x_t.clone()
    moved[2, 15:] += 5.0
    torch.testing.assert_close(guided(x_t, t)[2, :15], guided(moved, t)[2, :15], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(guided.item(2)(x_t[2:], t[2:])[0], guided(x_t, t)[2], atol=1e-5, rtol=1e-5)


def test_spans_equal_the_rule_of_each_span(
    model: FlowTransformer, condition: Condition, x_t: torch.Tensor
) -> None:
    """20 latent frames are 0.8 s: the edge at 0.4 s lies before frame 10."""
    t = torch.tensor([0.1, 0.5, 0.9])
    v_all, no_chords = model(x_t, t, condition), model(x_t, t, condition.without("chords"))
    plain = v_all.clone()
    plain[:, :10] += 2 * (v_all - no_chords)[:, :10]
    check(model, condition, x_t, "chords=3@0-0.4,1@0.4-", plain, 2)
    v_null = model(x_t, t, condition.only("context"))
    plain[:, 10:] = (v_null + 2.5 * (v_all - v_null))[:, 10:]
    halves = Guidance.parse("chords=3@0-0.4").spans[0], Guidance.parse("1@0-0.4,2.5@0.4-").spans[1]
    guided = GuidedVelocity(model, condition, Guidance(halves))
    assert guided.n_sets == 3
    torch.testing.assert_close(guided(x_t, t), plain, atol=2e-5, rtol=1e-4)


def test_spans_of_two_names_overlap(model: FlowTransformer, condition: Condition, x_t: torch.Tensor) -> None:
    """Of 20 frames: chords up to 10, text from 5 on; without rescaling, and with all of it."""
    t = torch.tensor([0.1, 0.5, 0.9])
    v_all = model(x_t, t, condition)
    plain = v_all.clone()
    plain[:, :10] += 2 * (v_all - model(x_t, t, condition.without("chords")))[:, :10]
    plain[:, 5:] += (v_all - model(x_t, t, condition.without("text")))[:, 5:]
    check(model, condition, x_t, "chords=3@0-0.4,text=2@0.2-", plain, 3)
    check(model, condition, x_t, "chords=3@0-0.4,text=2@0.2-; rescale=1", rescaled(plain, v_all), 3)


def test_a_span_that_touches_no_frame_costs_no_row(
    model: FlowTransformer, condition: Condition, x_t: torch.Tensor
) -> None:
    v_all = model(x_t, torch.tensor([0.1, 0.5, 0.9]), condition)
    check(model, condition, x_t, "chords=3@9-", v_all, 1)


def test_a_part_of_a_clip_takes_the_spans_of_its_own_frames(
    model: FlowTransformer, condition: Condition, x_t: torch.Tensor
) -> None:
    t, guidance = torch.tensor([0.1, 0.5, 0.9]), Guidance.parse("chords=3@1-")
    late = GuidedVelocity(model, condition, guidance, frames=torch.arange(25, 45))
    expected = GuidedVelocity(model, condition, Guidance.parse("chords=3"))(x_t, t)
    torch.testing.assert_close(late(x_t, t), expected, atol=2e-5, rtol=1e-4)
    assert GuidedVelocity(model, condition, guidance, frames=torch.arange(5, 25)).n_sets == 1


def test_guidance_acts_for_its_times_only(
    model: FlowTransformer, condition: Condition, x_t: torch.Tensor
) -> None:
    guided = GuidedVelocity(model, condition, Guidance.parse("3; t=0.2-0.6"))
    always, plain = (GuidedVelocity(model, condition, Guidance.parse(text)) for text in ("3", "1"))
    for times, acts in (([0.1] * 3, [0, 0, 0]), ([0.2, 0.4, 0.5], [1, 1, 1]), ([0.1, 0.3, 0.6], [0, 1, 0])):
        t = torch.tensor(times)
        expected = torch.where(torch.tensor(acts).bool()[:, None, None], always(x_t, t), plain(x_t, t))
        torch.testing.assert_close(guided(x_t, t), expected, atol=1e-5, rtol=1e-5)
    ends = torch.ones(3)
    late = GuidedVelocity(model, condition, Guidance.parse("3; t=0.5-1"))
    torch.testing.assert_close(late(x_t, ends), always(x_t, ends), atol=1e-5, rtol=1e-5)


def test_outside_its_times_only_the_plain_row_is_computed(
    model: FlowTransformer, condition: Condition, x_t: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches: list[int] = []
    velocity = model.velocity

    def counted(x: torch.Tensor, t: torch.Tensor, prepared: Prepared) -> torch.Tensor:
        batches.append(x.shape[0])
        return velocity(x, t, prepared)

    monkeypatch.setattr(model, "velocity", counted)
    solve(GuidedVelocity(model, condition.item(0), Guidance.parse("3; t=0-0.5")), x_t[:1], "euler", steps=4)
    assert batches == [2, 2, 1, 1]


def test_rescaling_takes_a_share_of_the_velocity_with_the_spread_of_the_plain_one(
    model: FlowTransformer, condition: Condition, x_t: torch.Tensor
) -> None:
    t = torch.tensor([0.1, 0.5, 0.9])
    v_all = model(x_t, t, condition)
    bare = GuidedVelocity(model, condition, Guidance.parse("4"))(x_t, t)
    full = torch.stack(
        [g * v.std(unbiased=False) / g.std(unbiased=False) for g, v in zip(bare, v_all, strict=True)]
    )
    check(model, condition, x_t, "4; rescale=1", full, 2)
    check(model, condition, x_t, "4; rescale=0.25", 0.25 * full + 0.75 * bare, 2)
    v_null = model(x_t, t, condition.only("context"))  # v_all has weight zero but is needed
    null_full = rescaled(v_null, v_all)
    check(model, condition, x_t, "0; rescale=1", null_full, 2)
    mask = torch.ones(3, 20, dtype=torch.bool)
    mask[2, 15:] = False
    broken = bare.clone()
    broken[2, 15:] = 1e3
    torch.testing.assert_close(rescaled(broken, v_all, mask)[2, :15], rescaled(bare, v_all, mask)[2, :15])
