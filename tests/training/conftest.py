"""Tiny prepared data, and the configuration of a tiny training on them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from features.controls import CONTROL_CHANNELS
from flowmusic.codec.files import read_codec, write_codec
from flowmusic.data.shards import DataInfo, SongEntry, digest, write_shard

LATENT_DIM, TEXT_DIM = 8, 5
INFO = DataInfo("spectral", "0", 32000, 25.0, LATENT_DIM, 50.0, "bundled", TEXT_DIM, {})


def song_tensors(
    index: int, n_frames: int, extracted_frames: int = 0, info: DataInfo = INFO
) -> dict[str, Tensor]:
    """The first latent is song + frame / 1000, so that an excerpt tells where it is from."""
    generator = torch.Generator().manual_seed(index)
    latents = torch.randn(n_frames, info.latent_dim, generator=generator)
    latents[:, 0] = index
    latents[:, 1] = torch.arange(n_frames) / 10
    tensors = {
        "latents": latents.half(),
        "text": torch.randn(7, info.text_dim, generator=generator).half(),
        "text_lengths": torch.tensor([3, 4]),
    }
    for name, channels in CONTROL_CHANNELS.items():
        values = torch.randint(0, 256, (2 * n_frames, channels), generator=generator)
        tensors[name] = values.to(torch.uint8)
        if extracted_frames:
            tensors[f"extracted_{name}"] = torch.full((extracted_frames, channels), 255, dtype=torch.uint8)
    tensors["leaky_drums"] = tensors["drums"]
    return tensors


def write_data(
    folder: Path, lengths: dict[str, list[list[int]]], extracted_frames: int = 0, info: DataInfo = INFO
) -> Path:
    """A data folder; for each split a list of shards, for each shard the lengths of its songs."""
    info.save(folder)
    index = 0
    for split, shards in lengths.items():
        for number, songs in enumerate(shards):
            content = []
            for n_frames in songs:
                tensors = song_tensors(index, n_frames, extracted_frames, info)
                key = f"{index:04d}"
                content.append((SongEntry(key, key, n_frames, extracted_frames, digest(tensors)), tensors))
                index += 1
            write_shard(folder / split / f"{number:05d}.safetensors", content)
    return folder


@pytest.fixture(scope="session")
def tiny_data(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Path:
    """Two training shards of three songs, one validation shard, and a codec of as many channels."""
    lengths = {"train": [[60, 75, 90], [80, 66, 58]], "valid": [[90, 60]], "test": [[60, 60]]}
    folder = write_data(tmp_path_factory.mktemp("data") / "tiny", lengths)
    write_codec(read_codec(tiny_model), folder / "codec")
    return folder


def assert_equal(first: Any, second: Any, where: str) -> None:
    """The same numbers, bit by bit, in nested dicts and lists."""
    if isinstance(first, torch.Tensor):
        assert torch.equal(first, second), where
    elif isinstance(first, dict):
        assert first.keys() == second.keys(), where
        for key in first:
            assert_equal(first[key], second[key], f"{where}.{key}")
    elif isinstance(first, list | tuple):
        assert len(first) == len(second), where
        for index, pair in enumerate(zip(first, second, strict=True)):
            assert_equal(*pair, f"{where}[{index}]")
    else:
        assert first == second, where


TINY = """
seed_everything: 3
model:
  class_path: flowmusic.training.flow_module.FlowTraining
  init_args:
    config: {latent_dim: 8, width: 16, depth: 2, heads: 2, mlp_ratio: 1.0, text_dim: 5, style_dim: 4}
    optimisation: {learning_rate: 0.01, warmup_steps: 2, decay_steps: 4, ema_decay: 0.9}
data:
  class_path: flowmusic.data.flow_data.FlowData
  init_args: {folder: DATA, batch_size: 4, excerpt_frames: 16, valid_batches: 2}
trainer:
  accelerator: cpu
  devices: 1
  max_steps: 8
  default_root_dir: RUN
  gradient_clip_val: 1.0
  log_every_n_steps: 1
  val_check_interval: 4
  enable_progress_bar: false
  enable_model_summary: false
  logger:
    class_path: lightning.pytorch.loggers.CSVLogger
    init_args: {save_dir: "${trainer.default_root_dir}", name: logs}
checkpoint:
  every_n_steps: 2
  dirpath: ${trainer.default_root_dir}/checkpoints
"""


@pytest.fixture
def tiny_config(tmp_path: Path, tiny_data: Path) -> Path:
    path = tmp_path / "tiny.yaml"
    path.write_text(TINY.replace("DATA", str(tiny_data)).replace("RUN", str(tmp_path / "run")))
    return path
