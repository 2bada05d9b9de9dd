"""Dropout by item: its rates, and that neighbours differ."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from features.controls import CONTROL_NAMES
from flowmusic.conditioning.condition import Condition
from flowmusic.conditioning.dropout import DropoutRates, context_masks, drop_conditions
from flowmusic.model.config import FlowConfig

NEVER = DropoutRates(everything=0, controls=0, each=0, text=0, style=0, span=0, no_context=0)
DROPPED = [*CONTROL_NAMES, "text", "style"]


@pytest.fixture
def full() -> Condition:
    """400 items of 10 frames that are given everything."""
    config = FlowConfig(latent_dim=4, width=8, heads=1, text_dim=4, style_dim=4)
    null = Condition.null(400, 10, config.condition_shape)
    tokens = torch.zeros(400, 3, 4)
    empty = torch.zeros(400, 3, dtype=torch.bool)
    null = null.having(text=tokens, text_mask=empty, style=tokens, style_mask=empty)
    return null.having(**{f"{name}_mask": torch.ones_like(null.mask(name)) for name in null.names})


def test_nothing_is_dropped_at_rate_zero(full: Condition) -> None:
    kept = drop_conditions(full, NEVER, torch.Generator().manual_seed(0))
    assert all(kept.mask(name).all() for name in kept.names)


def test_items_differ_within_a_batch(full: Condition) -> None:
    """JASCO's public code draws once for the whole batch (DESIGN §1)."""
    rates = DropoutRates(everything=0, controls=0, span=0)
    kept = drop_conditions(full, rates, torch.Generator().manual_seed(0))
    conditions = torch.stack([kept.mask(name).any(dim=1) for name in DROPPED], dim=1)  # (B, names)
    assert len({tuple(row) for row in conditions.tolist()}) > 20
    for index, name in enumerate(DROPPED):
        assert abs((~conditions[:, index]).float().mean() - rates.of(name)) < 0.08


def test_everything_goes_together(full: Condition) -> None:
    kept = drop_conditions(full, replace(NEVER, everything=0.3), torch.Generator().manual_seed(0))
    conditions = torch.stack([kept.mask(name).any(dim=1) for name in DROPPED], dim=1)
    assert (conditions.all(dim=1) | ~conditions.any(dim=1)).all()
    assert abs((~conditions.any(dim=1)).float().mean() - 0.3) < 0.08
    assert kept.context_mask.all()


def test_controls_go_together(full: Condition) -> None:
    kept = drop_conditions(full, replace(NEVER, controls=0.3), torch.Generator().manual_seed(0))
    conditions = torch.stack([kept.mask(name).any(dim=1) for name in CONTROL_NAMES], dim=1)
    assert (conditions.all(dim=1) | ~conditions.any(dim=1)).all()
    assert abs((~conditions.any(dim=1)).float().mean() - 0.3) < 0.08
    assert kept.mask("text").all() and kept.mask("style").all()


def test_spans_drop_a_part_of_a_control(full: Condition) -> None:
    kept = drop_conditions(full, replace(NEVER, span=1.0), torch.Generator().manual_seed(0))
    for name in ("drums", "melody", "chords"):
        share = kept.mask(name).float().mean(dim=1)
        assert ((share > 0) & (share < 1)).float().mean() > 0.7
        jumps = kept.mask(name).int().diff(dim=1).abs().sum(dim=1)
        assert jumps.max() <= 2  # one span, or all but one
    assert kept.mask("text").all()


def test_a_control_may_have_a_rate_of_its_own(full: Condition) -> None:
    kept = drop_conditions(full, replace(NEVER, by_control={"melody": 1}), torch.Generator().manual_seed(0))
    assert not kept.mask("melody").any() and kept.mask("drums").all() and kept.mask("chords").all()


def test_the_generator_decides(full: Condition) -> None:
    first, again, other = (
        drop_conditions(full, DropoutRates(), torch.Generator().manual_seed(seed)).mask("drums")
        for seed in (1, 1, 2)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_masks_already_false_stay_false(full: Condition) -> None:
    kept = drop_conditions(full.without("melody"), NEVER, torch.Generator().manual_seed(0))
    assert not kept.mask("melody").any()


def test_context_masks_know_every_kind_of_part() -> None:
    known = context_masks(2000, 30, replace(NEVER, no_context=0.6), torch.Generator().manual_seed(0))
    some = known[known.any(dim=1)]
    assert abs(some.shape[0] / 2000 - 0.4) < 0.06  # a span may also be the whole clip: then nothing is known
    assert not known.all(dim=1).any()
    kinds = {(bool(row[0]), bool(row[-1]), int(row.int().diff().abs().sum())) for row in some}
    prefix, suffix, hole, middle = (True, False, 1), (False, True, 1), (True, True, 2), (False, False, 2)
    assert kinds == {prefix, suffix, hole, middle}


@pytest.mark.parametrize("n_frames", [1, 2])
def test_shortest_clips_have_masks(n_frames: int) -> None:
    known = context_masks(50, n_frames, NEVER, torch.Generator().manual_seed(0))
    assert known.shape == (50, n_frames)
    assert not known.all(dim=1).any()


def test_rates_are_probabilities() -> None:
    with pytest.raises(ValueError, match=r"DropoutRates.by_control.drums must be a probability .* got -1"):
        DropoutRates(by_control={"drums": -1})
    with pytest.raises(ValueError, match=r"DropoutRates.text must be a probability from 0 to 1, got 1.5"):
        DropoutRates(text=1.5)
