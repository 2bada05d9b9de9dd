"""Tokens are drawn as the logits say: the same step by step as for all frames at once."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from flowmusic.conditioning.condition import Condition
from flowmusic.flow.schedule import Guidance
from flowmusic.lm.sampling import GuidedLogits, TokenSampling, draw_codes
from flowmusic.lm.transformer import TokenTransformer

N_FRAMES = 20
GREEDY = TokenSampling((0.0,))


def condition(model: TokenTransformer, n_frames: int = N_FRAMES) -> Condition:
    """Drums and a text are given."""
    generator = torch.Generator().manual_seed(3)
    null = Condition.null(1, n_frames, model.config.condition_shape)
    drums = torch.rand(null.get("drums").shape, generator=generator)
    text = torch.randn(1, 5, 12, generator=generator)
    return null.having(
        drums=drums,
        drums_mask=torch.ones_like(drums[..., 0], dtype=torch.bool),
        text=text,
        text_mask=torch.ones(1, 5, dtype=torch.bool),
    )


def draw(model: TokenTransformer, seed: int = 0, guidance: str = "1", **values: object) -> Tensor:
    sampling = TokenSampling() if "sampling" not in values else values.pop("sampling")
    codes, _ = draw_codes(model, condition(model), Guidance.parse(guidance), seed, sampling, **values)  # type: ignore[arg-type]
    return codes


@torch.no_grad()
def test_what_is_drawn_step_by_step_is_what_all_frames_at_once_say(model: TokenTransformer) -> None:
    codes = draw(model, sampling=GREEDY)
    logits = model(codes[None], condition(model))
    assert logits.shape == (1, N_FRAMES, 4, 16)
    assert torch.equal(logits[0].argmax(-1), codes)


@torch.no_grad()
def test_a_token_depends_on_earlier_ones_alone(model: TokenTransformer) -> None:
    codes = draw(model, seed=1)
    changed = codes.clone()
    changed[9:] = (changed[9:] + 1) % 16
    before, after = model(codes[None], condition(model)), model(changed[None], condition(model))
    assert torch.allclose(before[:, :6], after[:, :6], atol=1e-5)  # with a delay of 3, frame 6 is begun at 9
    assert not torch.allclose(before[:, 10:], after[:, 10:], atol=1e-3)


def test_the_seed_alone_draws(model: TokenTransformer) -> None:
    assert torch.equal(draw(model, seed=5), draw(model, seed=5))
    assert not torch.equal(draw(model, seed=5), draw(model, seed=6))


def test_known_frames_are_kept_and_continued(model: TokenTransformer) -> None:
    """Wherever they stand; and what follows them knows them."""
    free = draw(model, seed=1)
    known = torch.full_like(free, -1)
    known[:7], known[12:14] = (free[:7] + 3) % 16, 5
    codes = draw(model, seed=1, known=known)
    assert torch.equal(codes[:7], known[:7]) and (codes[12:14] == 5).all()
    assert not torch.equal(codes[7:12], free[7:12])
    prompt = torch.full_like(free, -1)
    prompt[:9] = free[:9]
    assert torch.equal(draw(model, seed=1, known=prompt), free)


@torch.no_grad()
def test_guided_logits_are_weighted_sums(model: TokenTransformer) -> None:
    """v_null + α (v_s + β (v_ts - v_s) - v_null) of log-probabilities, as arXiv 2407.12563, eq. 4 says."""
    given, alpha, beta = condition(model), 3.0, 2.0
    guided = GuidedLogits(model, given, Guidance.parse(f"double:{alpha:g},{beta:g}"))
    assert guided.n_sets == 3
    states = guided.states(torch.zeros(N_FRAMES, 4, dtype=torch.long), 1)
    start = torch.full((1, 4), 16)
    parts = []
    for names in (("drums", "text"), ("drums",), ()):
        prepared = model.prepare(given.only(*names))
        state = model.states(start[None], prepared)[:, 0]
        parts.append(first_logits(model, state).log_softmax(-1)[0])
    everything, style, nothing = parts
    expected = nothing + alpha * (style + beta * (everything - style) - nothing)
    found = guided.weighted(first_logits(model, states[:, 0])[:, None], guided.weights[:1])
    assert torch.allclose(found[0], expected, atol=1e-4)


def first_logits(model: TokenTransformer, states: Tensor) -> Tensor:
    if model.within is None:
        return model.frame_logits(states[:, None])[:, 0, 0]
    projected = model.within.project(states)
    return model.within.step(projected, 0, None, model.within.empty_caches(len(states), projected))


def test_spans_of_guidance_change_their_frames_alone(model: TokenTransformer) -> None:
    plain = draw(model, seed=2)
    late = draw(model, seed=2, guidance="text=1@0-0.4,6@0.4-")
    more = model.n_steps_more
    assert torch.equal(late[: 10 - more], plain[: 10 - more]) and not torch.equal(late, plain)


def test_a_clip_longer_than_the_window_attends_to_what_is_near(model: TokenTransformer) -> None:
    from dataclasses import replace

    short = TokenTransformer(replace(model.config, window=6, depth=1)).eval()
    long = condition(short, 60)
    codes, _ = draw_codes(short, long, Guidance.parse("1"), 0, GREEDY)
    with torch.no_grad():
        logits = short(codes[None], long)
        changed = codes.clone()
        changed[:20] = (changed[:20] + 1) % 16
        assert torch.equal(logits[0].argmax(-1), codes)
        assert torch.allclose(short(changed[None], long)[:, 35:], logits[:, 35:], atol=1e-5)


def drawn(sampling: TokenSampling, logits: Tensor, codebook: int = 0, n: int = 1000) -> Tensor:
    """Codes that n numbers, spread evenly from 0 to 1, draw from logits (codes,) of one of four codebooks."""
    how = sampling.of_codebooks(4, len(logits), logits.device)
    uniforms = (torch.arange(n) + 0.5) / n
    return torch.cat([how.draw(logits[None], uniform[None], codebook) for uniform in uniforms])


def test_draws_follow_the_probabilities() -> None:
    probabilities = torch.tensor([0.1, 0.6, 0.3])
    logits = probabilities.log()
    for sampling in (TokenSampling(), TokenSampling(top_k=(3,)), TokenSampling(top_p=(1.0, 0.5))):
        counts = torch.bincount(drawn(sampling, logits), minlength=3)
        assert torch.allclose(counts / 1000, probabilities, atol=2e-3), sampling
    assert set(drawn(TokenSampling(top_k=(1,)), logits).tolist()) == {1}
    assert set(drawn(TokenSampling(top_k=(2,)), logits).tolist()) == {1, 2}
    assert set(drawn(TokenSampling(top_p=(0.7,)), logits).tolist()) == {1, 2}
    assert set(drawn(TokenSampling(top_p=(0.5,)), logits).tolist()) == {1}
    by_codebook = TokenSampling(temperature=(0.0, 1.0))
    assert set(drawn(by_codebook, logits).tolist()) == {1}
    assert set(drawn(by_codebook, logits, 2).tolist()) == {0, 1, 2}
    flat = torch.bincount(drawn(TokenSampling((2.0,)), logits), minlength=3) / 1000
    assert torch.allclose(flat, (0.5 * logits).softmax(0), atol=2e-3)


def test_all_codebooks_are_drawn_at_once_as_each_by_itself() -> None:
    generator = torch.Generator().manual_seed(0)
    logits, uniforms = torch.randn(4, 9, generator=generator), torch.rand(4, generator=generator)
    for sampling in (
        TokenSampling((0.0, 0.5, 1.0, 2.0), (0, 3, 1, 5), (1.0, 0.9, 0.2, 0.6)),
        TokenSampling((0.7, 1.3)),
    ):
        how = sampling.of_codebooks(4, 9, logits.device)
        each = [how.draw(logits[k : k + 1], uniforms[k : k + 1], k) for k in range(4)]
        assert torch.equal(how.draw(logits, uniforms), torch.cat(each))


@pytest.mark.parametrize(
    "values", [{"temperature": (-1.0,)}, {"top_k": (-1,)}, {"top_p": (0.0,)}, {"top_p": ()}]
)
def test_sampling_that_cannot_be_is_refused(values: dict[str, tuple[float, ...]]) -> None:
    with pytest.raises(ValueError, match=next(iter(values))):
        TokenSampling(**values)  # type: ignore[arg-type]


@pytest.mark.parametrize("guidance", ["3; rescale=0.5", "3; t=0-0.5"])
def test_guidance_of_an_ode_is_refused(model: TokenTransformer, guidance: str) -> None:
    with pytest.raises(ValueError, match="solves no ODE"):
        draw(model, guidance=guidance)
