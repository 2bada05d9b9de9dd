"""What trainings of models under conditions share: the flow's, and the language model's."""

from __future__ import annotations

from functools import cached_property
from typing import Protocol

import torch
from torch import Tensor

from flowmusic.codec.build import AnyCodec
from flowmusic.codec.files import read_codec
from flowmusic.conditioning.condition import Condition
from flowmusic.conditioning.style import StyleConfig, StyleTokens
from flowmusic.conditioning.style_encoder import StyleConditioner
from flowmusic.data.flow_data import FlowBatch, FlowData
from flowmusic.training.base import Clips, Optimisation, Training, sound_of
from flowmusic.training.style import encode_styles


class HasStyle(Protocol):
    """What the configuration of such a model says of style."""

    @property
    def style(self) -> StyleConfig | None: ...


class BatchLoss(Protocol):
    """A mean loss, and over how many latent frames it is the mean."""

    @property
    def loss(self) -> Tensor: ...

    @property
    def n_frames(self) -> Tensor: ...


class ConditionedTraining(Training):
    """Trains a model on excerpts with their conditions, some of them hidden.

    style_weight   weight of the style conditioner's own loss, where the model has one
    """

    def __init__(
        self,
        net: torch.nn.Module,
        config: HasStyle,
        optimisation: Optimisation | None,
        total_steps: int,
        style_weight: float,
        seed: int,
    ) -> None:
        super().__init__(net, optimisation or Optimisation(), total_steps, seed)
        self.config, self.style_weight = config, style_weight

    def training_step(self, batch: FlowBatch, batch_idx: int) -> Tensor:
        condition, style_loss = self.conditions(self.net, batch)
        found = self.loss(self.net, batch, condition)
        # each rank divides by the mean number of frames that count, so that the mean over ranks is that
        # of one process with all the items
        frames = self.trainer.strategy.reduce(found.n_frames.clone(), reduce_op="mean")
        loss = found.loss * (found.n_frames / frames)
        self.log_loss("train/loss", loss, batch.size)
        if style_loss is not None:
            self.log_loss("train/style_loss", style_loss, batch.size)
            loss = loss + self.style_weight * style_loss
        return self.check_loss(loss)

    def validation_step(self, batch: FlowBatch, batch_idx: int) -> None:
        self._log_average("valid", batch)

    def test_step(self, batch: FlowBatch, batch_idx: int) -> None:
        self._log_average("test", batch)

    def _log_average(self, split: str, batch: FlowBatch) -> None:
        """Loss of the averaged weights; where they know style, also with another song's, and without."""
        condition, _ = self.conditions(self.average, batch)
        ways = {"loss": condition}
        if self.config.style is not None:
            tokens = StyleTokens(condition.style.roll(1, 0), condition.mask("style").roll(1, 0))
            ways["loss_other_style"] = condition.with_tokens(style=tokens)
            ways["loss_no_style"] = condition.without("style")
        for name, conditions in ways.items():
            self.log_loss(f"{split}/{name}", self.loss(self.average, batch, conditions).loss, batch.size)

    @cached_property
    def data_codec(self) -> AnyCodec:
        """That of the data, which predict makes sound with; no part of this module's state."""
        data = self.trainer.datamodule  # type: ignore[attr-defined]
        if not isinstance(data, FlowData) or not data.codec_folder.is_dir():
            raise ValueError("predict makes sound with the codec/ that flowmusic prepare left with its data")
        return read_codec(data.codec_folder).to(self.device)

    def predict_step(self, batch: FlowBatch, batch_idx: int) -> list[Clips]:
        """A clip under the conditions of each item, as the data's codec plays it."""
        codec = self.data_codec
        with torch.no_grad():
            sounds = [codec.decode(latents[None], generated=True)[0] for latents in self.generate(batch)]
        return [{"clip": sound_of(sound, codec.sample_rate)} for sound in sounds]

    def conditions(self, net: torch.nn.Module, batch: FlowBatch) -> tuple[Condition, Tensor | None]:
        """The batch's condition with the style that `net` makes of it, and the loss of that part."""
        style = net.style  # of a FlowTransformer, also where FSDP has wrapped it
        if not isinstance(style, StyleConditioner) or batch.style is None:
            return batch.condition, None
        tokens, loss = encode_styles(style, batch.style, torch.Generator().manual_seed(batch.seeds[0] ^ 1))
        return batch.condition.with_tokens(style=tokens).keep("style", batch.style_kept), loss

    def loss(self, net: torch.nn.Module, batch: FlowBatch, condition: Condition) -> BatchLoss:
        """Of one batch under a condition; what it draws at random depends on the batch's seeds alone."""
        raise NotImplementedError

    def generate(self, batch: FlowBatch, n_items: int | None = None) -> Tensor:
        """Latents (n_items, T, D) by the averaged weights, under the conditions of a batch's first items."""
        raise NotImplementedError
