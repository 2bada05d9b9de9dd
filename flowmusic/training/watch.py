"""Hearing what a training has learned: clips, plots of controls against results, and adherence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch

from features.audio import Audio, read_audio, write_audio
from features.controls import Controls
from features.frames import CONTROL_FRAME_RATE
from flowmusic.codec.files import read_codec
from flowmusic.data.flow_data import FlowBatch, FlowData
from flowmusic.training.base import sound_of
from flowmusic.training.conditioned import ConditionedTraining

SAMPLES_FOLDER = "samples"


class Watch(pl.Callback):
    """At the first validation after every `every_n_steps` steps: clips of the averaged weights.

    They follow the first `n_clips` items of the validation data, always the same ones, and are written to
    samples/step-N/ of the run; TensorBoard and W&B get them as well.

    codec     a folder, or 'bundled'; by default that of the training data
    score     also extract the clips' controls: a plot of each, and the adherence of all as figures (some
              seconds a clip). Reference is the validation excerpt as the codec plays it, so the ceiling is 1
    """

    def __init__(
        self, every_n_steps: int = 1000, n_clips: int = 4, codec: str | None = None, score: bool = True
    ) -> None:
        if every_n_steps < 1 or n_clips < 1:
            raise ValueError(
                f"Watch needs every_n_steps and n_clips of at least 1, got {every_n_steps}, {n_clips}"
            )
        self.every_n_steps, self.n_clips, self.codec, self.score = every_n_steps, n_clips, codec, score
        self._due = every_n_steps
        self._batch: FlowBatch | None = None

    def state_dict(self) -> dict[str, Any]:
        return {"due": self._due}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._due = state_dict["due"]

    def on_validation_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:  # fmt: skip
        if batch_idx == 0:
            self._batch = batch

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.sanity_checking or self._batch is None:
            return
        fitting = trainer.state.fn == "fit"
        if fitting and trainer.global_step < self._due:
            return
        self._due = (trainer.global_step // self.every_n_steps + 1) * self.every_n_steps
        self._write(trainer, pl_module, self._batch)

    def _write(self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: FlowBatch) -> None:
        data = trainer.datamodule  # type: ignore[attr-defined]
        if not isinstance(pl_module, ConditionedTraining) or not isinstance(data, FlowData):
            raise ValueError(
                f"Watch is for a ConditionedTraining on FlowData, got {type(pl_module).__name__}"
            )
        latents = pl_module.generate(batch, self.n_clips)  # by all processes: they may share the weights
        if not trainer.is_global_zero:
            return
        codec = read_codec(Path(self.codec) if self.codec else data.codec_folder).to(pl_module.device)
        folder = Path(trainer.default_root_dir) / SAMPLES_FOLDER / f"step-{trainer.global_step:07d}"
        clips, asked = [], []
        with torch.no_grad():
            for index, item in enumerate(latents):
                sounds = codec.decode(item[None], generated=True), codec.decode(batch.x_1[index][None])
                made, original = (sound_of(sound[0], codec.sample_rate) for sound in sounds)
                path = write_audio(folder / f"clip-{index}.wav", made.samples, made.sample_rate)
                clips.append(made)
                asked.append(original)
                log_sound(trainer, f"clip/{index}", path)
        if self.score:
            self._score(trainer, batch, clips, asked, folder)

    def _score(
        self, trainer: pl.Trainer, batch: FlowBatch, clips: list[Audio], asked: list[Audio], folder: Path
    ) -> None:
        from features.events import extract_all
        from features.extract import Extractors
        from flowmusic.evaluation.adherence import HEADLINE, score
        from flowmusic.plots.figures import plot_controls

        extractors = Extractors()
        found: dict[str, list[float]] = {name: [] for name in HEADLINE}
        for index, (clip, original) in enumerate(zip(clips, asked, strict=True)):
            extracted, reference = extract_all(clip, extractors), extract_all(original, extractors)
            controls = _controls(batch, index)
            if controls.given:
                path, title = folder / f"clip-{index}.png", f"step {trainer.global_step}"
                log_picture(trainer, f"plot/{index}", plot_controls(controls, extracted, clip, path, title))
            scores = score(reference, extracted)
            for name, metric in HEADLINE.items():
                if (value := scores.get(metric)) is not None:
                    found[name].append(value)
        figures = {f"adherence/{name}": float(np.mean(values)) for name, values in found.items() if values}
        for logger in trainer.loggers:
            logger.log_metrics(figures, trainer.global_step)


def _controls(batch: FlowBatch, index: int) -> Controls:
    condition = batch.condition
    fields = {name: condition.get(name)[index].cpu() for name in condition.controls}
    masks = {f"{name}_mask": condition.mask(name)[index].cpu() for name in condition.controls}
    n_frames = next(iter(fields.values())).shape[0]
    return Controls(n_frames, CONTROL_FRAME_RATE, **fields, **masks)


def log_sound(trainer: pl.Trainer, name: str, path: Path) -> None:
    """A sound file, to those loggers that take sound (W&B's by its path, TensorBoard's in mono)."""
    for logger in trainer.loggers:
        if hasattr(logger, "log_audio"):
            logger.log_audio(name, [str(path)], trainer.global_step)
        elif hasattr(logger.experiment, "add_audio"):
            sound = read_audio(path)
            logger.experiment.add_audio(name, sound.mono(), trainer.global_step, sound.sample_rate)


def log_picture(trainer: pl.Trainer, name: str, path: Path) -> None:
    """A PNG, to those loggers that take pictures."""
    from matplotlib.image import imread

    for logger in trainer.loggers:
        if hasattr(logger, "log_image"):
            logger.log_image(name, [str(path)], trainer.global_step)
        elif hasattr(logger.experiment, "add_image"):
            pixels = imread(path)[..., :3]  # (H, W, 3), without transparency
            logger.experiment.add_image(name, pixels, trainer.global_step, dataformats="HWC")
