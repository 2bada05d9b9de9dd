"""Condition: assembled, taken apart, joined."""

from __future__ import annotations

import pytest
import torch

from features.controls import Controls
from flowmusic.conditioning.condition import Condition
from flowmusic.model.config import FlowConfig


def test_null_gives_nothing(config: FlowConfig) -> None:
    null = Condition.null(2, 7, config.condition_shape)
    assert null.given == ()
    assert null.get("drums").shape == (2, 14, 4)
    assert null.n_frames == 7


def test_from_controls_keeps_values_and_masks(config: FlowConfig) -> None:
    half = torch.arange(10) < 5
    first = Controls(10, drums=torch.rand(10, 4), drums_mask=half, chords=torch.rand(10, 37))
    second = Controls(10, melody=torch.rand(10, 53))
    condition = Condition.from_controls([first, second], config.condition_shape)
    assert condition.batch_size == 2
    assert condition.n_frames == 5
    assert condition.given == ("drums", "melody", "chords")
    assert first.drums is not None
    assert torch.equal(condition.get("drums")[0], first.drums)
    assert torch.equal(condition.mask("drums"), torch.stack([half, torch.zeros(10, dtype=torch.bool)]))
    assert condition.mask("chords").all(dim=1).tolist() == [True, False]


def test_controls_of_other_lengths_are_refused(config: FlowConfig) -> None:
    with pytest.raises(ValueError, match=r"multiple of 2, got \[9\]"):
        Condition.from_controls([Controls(9)], config.condition_shape)
    with pytest.raises(ValueError, match="one length"):
        Condition.from_controls([Controls(8), Controls(10)], config.condition_shape)


def test_only_and_without_are_complements(condition: Condition) -> None:
    assert condition.only("text", "drums").given == ("drums", "text")
    assert condition.without("text", "drums").given == ("melody", "chords", "style", "context")
    with pytest.raises(ValueError, match="unknown condition"):
        condition.without("bass")


def test_items_joined_again_are_the_batch(condition: Condition) -> None:
    joined = Condition.cat([condition.item(i) for i in range(3)])
    for name in joined.names:
        mask = condition.mask(name)
        assert torch.equal(joined.mask(name), mask)
        assert torch.equal(joined.get(name)[mask], condition.get(name)[mask])


def test_an_item_leaves_padding_behind(condition: Condition) -> None:
    assert [condition.item(i).text.shape[1] for i in range(3)] == [5, 2, 0]
    assert [condition.item(i).style.shape[1] for i in range(3)] == [0, 3, 1]


def test_masks_must_fit(condition: Condition) -> None:
    with pytest.raises(ValueError, match="context must be"):
        condition.with_context(condition.context, condition.context_mask[:, :-1])
    with pytest.raises(ValueError, match="context must be"):
        condition.with_context(condition.context, condition.context_mask.float())
