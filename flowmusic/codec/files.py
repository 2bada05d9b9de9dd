"""A codec on the disk: on its own, or as part of a model."""

from __future__ import annotations

import json
from pathlib import Path

import torch

from features.files import whole_file
from features.text_files import read_json
from flowmusic.codec.build import AnyCodec, build_codec
from flowmusic.model_files import CODEC_FILE, codec_place, read_config, resolve
from flowmusic.weights import CONFIG_FILE, load_exactly, read_weights, save_tensors

CODEC_SHAPE_FILE = "codec.json"


def read_codec(source: Path) -> AnyCodec:
    """A codec: a folder with codec.safetensors and codec.json, a model's folder or hub id, or 'bundled'."""
    if (source / CODEC_SHAPE_FILE).is_file():
        shape = read_json(source / CODEC_SHAPE_FILE, "the shape of a codec")
        folder = source
    else:
        folder = resolve(str(source))
        folder, shape = codec_place(folder, read_config(folder / CONFIG_FILE))
    codec = build_codec(shape)
    load_exactly(codec, read_weights(folder / CODEC_FILE), folder / CODEC_FILE)
    return codec.eval()


def write_codec(codec: AnyCodec, folder: Path, dtype: torch.dtype = torch.float32) -> None:
    """codec.safetensors and codec.json, as `read_codec` reads them."""
    with whole_file(folder / CODEC_SHAPE_FILE) as partial:
        partial.write_text(json.dumps(codec.config.to_dict(), indent=2) + "\n")
    save_tensors(folder / CODEC_FILE, codec.state_dict(), dtype)
