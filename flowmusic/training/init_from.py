"""Weights of a flow to start a training from: those of a model folder or of a finished run."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

from torch import Tensor

from features.text_files import read_json
from flowmusic.model.config import FlowConfig
from flowmusic.model.transformer import FlowTransformer
from flowmusic.model_files import FLOW_FILE, read_config, resolve
from flowmusic.weights import CONFIG_FILE, check_weights, read_weights

SHAPE_FILE = "flow.json"


def read_flow(source: Path) -> tuple[FlowConfig, dict[str, Tensor], Path]:
    """Shape and weights of a flow, and the file that holds them.

    source: a folder or file of flow.safetensors with flow.json beside it, else a model's folder, a hub id, or
    'bundled'. ValueError, naming the file, where none of them is there.
    """
    folder = source.parent if source.is_file() else source
    shape = folder / SHAPE_FILE
    if shape.is_file():
        weights = source if source.is_file() else folder / FLOW_FILE
        return (
            FlowConfig.from_dict(read_json(shape, "the shape of a flow"), str(shape)),
            read_weights(weights),
            weights,
        )
    if source.is_file():
        raise ValueError(f"{source} has no {SHAPE_FILE} beside it: its shape is not known")
    folder = resolve(str(source))
    values = read_config(folder / CONFIG_FILE)["flow"]
    config = FlowConfig.from_dict(values, f"the flow in {folder / CONFIG_FILE}")
    return config, read_weights(folder / FLOW_FILE), folder / FLOW_FILE


def load_flow_weights(net: FlowTransformer, source: Path) -> None:
    """Fill `net` with the weights of `source`.

    A model without style, summary of tokens or text adapter may grow one: that part starts fresh. In all
    else both must have one shape, or it is a ValueError that says what differs.
    """
    config, weights, path = read_flow(source)
    parts = {"style": "style.", "token_summary": "summary.", "text_adapter": "summary.adapter."}
    ignored = {name for name in parts if not getattr(config, name)}
    grown = tuple(parts[name] for name in ignored)
    differing = [
        f"{field.name} {getattr(config, field.name)!r} (the model has {getattr(net.config, field.name)!r})"
        for field in fields(config)
        if field.name not in ignored and getattr(config, field.name) != getattr(net.config, field.name)
    ]
    if differing:
        raise ValueError(f"cannot start from {path}: it has {', '.join(differing)}")
    expected = {key: value for key, value in net.state_dict().items() if not key.startswith(grown or ("\0",))}
    check_weights(expected, weights, path)
    net.load_state_dict(weights, strict=False)
