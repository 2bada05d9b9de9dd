"""Lightning's checkpoints: written whole or not at all, and read without unpickling."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.plugins.io import CheckpointIO
from torch import Tensor

from features.files import whole_file
from features.text_files import placeholder_at


def read_checkpoint(path: Path, mapped: bool = False) -> dict[str, Any]:
    """A checkpoint of ours. ValueError, naming the file, for anything else; no pickle is loaded.

    mapped: tensors stay on disk until they are read, and processes of one machine share their memory.
    """
    if not path.is_file():
        raise ValueError(f"{path} is not a checkpoint: there is no such file")
    if found := placeholder_at(path):
        raise ValueError(f"{path} {found}; expected a checkpoint")
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
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


LAST = "last"


class WholeFileCheckpoints(CheckpointIO):
    """Checkpoints appear under their name when all of them is written; they are read with weights_only."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None
    ) -> None:
        try:
            with whole_file(Path(path)) as partial:
                torch.save(checkpoint, partial)
        except (OSError, RuntimeError) as error:  # torch wraps what the system says
            reason = error.strerror if isinstance(error, OSError) and error.strerror else _first_line(error)
            raise ValueError(
                f"the checkpoint {path} cannot be written ({reason}): is the disk full? The last one is whole"
            ) from error

    def load_checkpoint(
        self, path: Any, map_location: Any | None = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        return read_checkpoint(Path(path))

    def remove_checkpoint(self, path: Any) -> None:
        Path(path).unlink(missing_ok=True)


class LastCheckpoint(ModelCheckpoint):
    """Writes last.ckpt every `every_n_steps` optimiser steps and at the end, for `--ckpt_path last`.

    dirpath   by default the folder checkpoints/ of the run
    """

    def __init__(self, every_n_steps: int = 200, dirpath: str | None = None) -> None:
        super().__init__(
            dirpath=dirpath, filename=LAST, every_n_train_steps=every_n_steps, enable_version_counter=False,
            save_on_train_epoch_end=False,
        )  # fmt: skip

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self._last_global_step_saved != trainer.global_step:
            self._save_topk_checkpoint(trainer, self._monitor_candidates(trainer))


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
