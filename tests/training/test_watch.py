"""What is heard and drawn while a model trains reaches the loggers that can show it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from flowmusic.training.watch import log_picture, log_sound


class PathLogger(CSVLogger):
    """Takes files by their paths, as W&B's logger does."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.seen: list[tuple[Any, ...]] = []

    def log_audio(self, *given: Any) -> None:
        self.seen.append(("audio", *given))

    def log_image(self, *given: Any) -> None:
        self.seen.append(("image", *given))


def test_sounds_and_pictures_reach_tensorboard_and_wandb(music_file: Path, tmp_path: Path) -> None:
    from matplotlib.image import imsave

    picture = tmp_path / "plot.png"
    imsave(picture, np.random.default_rng(0).random((6, 9, 3)))
    board, paths = TensorBoardLogger(tmp_path), PathLogger(tmp_path)
    trainer: Any = SimpleNamespace(loggers=[CSVLogger(tmp_path), board, paths], global_step=7)
    log_sound(trainer, "clip/0", music_file)
    log_picture(trainer, "plot/0", picture)
    assert paths.seen == [("audio", "clip/0", [str(music_file)], 7), ("image", "plot/0", [str(picture)], 7)]
    board.experiment.close()
    events = EventAccumulator(board.log_dir).Reload()
    (image,) = events.Images("plot/0")
    assert (image.step, image.width, image.height) == (7, 9, 6)
    (sound,) = events.Audio("clip/0")
    assert sound.step == 7 and sound.sample_rate == 16_000
