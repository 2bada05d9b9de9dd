"""FlowConfig: written, read, refused."""

from __future__ import annotations

import pytest

from flowmusic.model.config import FlowConfig


def test_json_round_trip() -> None:
    config = FlowConfig(width=384, heads=6, mlp_ratio=2.5)
    assert FlowConfig.from_json(config.to_json()) == config


def test_unknown_keys_are_errors() -> None:
    with pytest.raises(ValueError, match=r"model/flow.json has unknown keys \['widht'\]"):
        FlowConfig.from_json('{"widht": 320}', "model/flow.json")


@pytest.mark.parametrize("text", ["{", "[1]", '"320"'])
def test_what_is_no_table_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match="flow configuration"):
        FlowConfig.from_json(text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"depth": 0}', "depth must be a positive whole number, got 0"),
        ('{"depth": "8"}', "depth must be a positive whole number, got '8'"),
        ('{"mlp_ratio": null}', "mlp_ratio must be a positive number, got None"),
        ('{"heads": true}', "heads must be a positive whole number, got True"),
        ('{"width": 100, "heads": 3}', "even multiple of heads, got 100 and 3"),
        ('{"conv_kernel": 4}', "conv_kernel must be odd"),
    ],
)
def test_impossible_shapes_are_errors(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        FlowConfig.from_json(text)
