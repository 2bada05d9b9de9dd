"""Weights to start a training from: those of a model folder, of a finished run, or of a checkpoint."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from features.files import whole_file
from flowmusic.codec.build import AnyCodec, build_codec
from flowmusic.config import FlowConfig
from flowmusic.model.transformer import FlowTransformer
from flowmusic.pretrained import CODEC_FILE, CONFIG_FILE, FLOW_FILE, check_weights, read_config, resolve
from flowmusic.training.checkpoint import save_tensors

SHAPE_FILE, CODEC_SHAPE_FILE = "flow.json", "codec.json"


def read_weights(path: Path) -> dict[str, Tensor]:
    """Tensors of a safetensors file in float32. ValueError, naming it, where it is something else."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return {
            key: value.float() if value.is_floating_point() else value
            for key, value in load_file(path).items()
        }
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{path} cannot be read as safetensors: {error}") from error


def read_flow(source: Path) -> tuple[FlowConfig, dict[str, Tensor], Path]:
    """Shape and weights of a flow, and the file that holds them.

    source: a folder or file of flow.safetensors with flow.json beside it, else a model's folder, a hub id, or
    'embedded'. ValueError, naming the file, where none of them is there.
    """
    folder = source.parent if source.is_file() else source
    shape = folder / SHAPE_FILE
    if shape.is_file():
        weights = source if source.is_file() else folder / FLOW_FILE
        return (
            FlowConfig.from_json(shape.read_text(encoding="utf-8"), str(shape)),
            read_weights(weights),
            weights,
        )
    if source.is_file():
        raise ValueError(f"{source} has no {SHAPE_FILE} beside it: its shape is not known")
    folder = resolve(None if str(source) == "embedded" else str(source))
    values = read_config(folder / CONFIG_FILE)["flow"]
    config = FlowConfig.from_dict(values, f"the flow in {folder / CONFIG_FILE}")
    return config, read_weights(folder / FLOW_FILE), folder / FLOW_FILE


def load_flow_weights(net: FlowTransformer, source: Path) -> None:
    """Fill `net` with the weights of `source`.

    A model without style (or without the summary of tokens) may grow one: that part starts fresh. In all
    else both must have one shape, or it is a ValueError that says what differs.
    """
    config, weights, path = read_flow(source)
    grown = tuple(
        f"{part}." for part, had in (("style", config.style), ("summary", config.token_summary)) if not had
    )
    ignored = {"style"} if config.style is None else set()
    ignored |= set() if config.token_summary else {"token_summary"}
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


def read_checkpoint(path: Path) -> dict[str, Any]:
    """A checkpoint of ours. ValueError, naming the file, for anything else; no pickle is loaded."""
    if not path.is_file():
        raise ValueError(f"{path} is not a checkpoint: there is no such file")
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # the unpickler refuses a file in many ways
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ValueError(f"{path} cannot be read as a checkpoint: {reason}") from error
    if not isinstance(checkpoint, dict) or "flowmusic" not in checkpoint:
        raise ValueError(f"{path} is not a checkpoint that flowmusic fit wrote")
    return checkpoint


def averaged_weights(checkpoint: dict[str, Any]) -> dict[str, Tensor]:
    """The EMA of a checkpoint's net, without prefixes."""
    prefix = "ema.module."
    found = checkpoint["state_dict"]
    return {key.removeprefix(prefix): value.float() for key, value in found.items() if key.startswith(prefix)}


def load_exactly(module: nn.Module, weights: dict[str, Tensor], path: Path) -> None:
    check_weights(module.state_dict(), weights, path)
    module.load_state_dict(weights)


def read_codec(source: Path) -> AnyCodec:
    """A codec: a folder with codec.safetensors and codec.json, a model's folder or hub id, or 'embedded'."""
    if (source / CODEC_SHAPE_FILE).is_file():
        shape = json.loads((source / CODEC_SHAPE_FILE).read_text(encoding="utf-8"))
        folder = source
    else:
        folder = resolve(None if str(source) == "embedded" else str(source))
        shape = read_config(folder / CONFIG_FILE)["codec"]
    codec = build_codec(shape)
    load_exactly(codec, read_weights(folder / CODEC_FILE), folder / CODEC_FILE)
    return codec.eval()


def write_codec(codec: AnyCodec, folder: Path, dtype: torch.dtype = torch.float32) -> None:
    """codec.safetensors and codec.json, as `read_codec` reads them."""
    with whole_file(folder / CODEC_SHAPE_FILE) as partial:
        partial.write_text(json.dumps(codec.config.to_dict(), indent=2) + "\n")
    save_tensors(folder / CODEC_FILE, codec.state_dict(), dtype)
