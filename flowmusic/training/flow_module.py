"""The flow's LightningModule: conditional flow matching on prepared excerpts."""

from __future__ import annotations

from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.strategies import FSDPStrategy
from torch import Tensor

from flowmusic.codec.build import AnyCodec
from flowmusic.codec.files import read_codec
from flowmusic.conditioning.condition import Condition
from flowmusic.conditioning.style import StyleTokens
from flowmusic.conditioning.style_encoder import StyleConditioner
from flowmusic.data.flow_data import FlowBatch, FlowData
from flowmusic.flow.guided_velocity import GuidedVelocity
from flowmusic.flow.path import TIME_SAMPLERS, TIME_WEIGHTS, FlowLoss, loss_at, sample_times
from flowmusic.flow.schedule import Guidance
from flowmusic.flow.solver import noise, solve
from flowmusic.model.config import FlowConfig
from flowmusic.model.transformer import FlowTransformer
from flowmusic.model_files import Terms
from flowmusic.training.base import Clips, Optimisation, Training, sound_of
from flowmusic.training.init_from import load_flow_weights
from flowmusic.training.style import encode_styles


class FlowTraining(Training):
    """Trains a `FlowTransformer`.

    config         its shape
    total_steps    optimiser steps in all (linked to trainer.max_steps)
    time_sampler   how times t are drawn: 'uniform' (JASCO) or 'logit_normal' (arXiv 2403.03206)
    time_weight    weight of the loss at t: 'uniform', or '1+t' (JASCO, arXiv 2406.10970, §3.1)
    init_from      weights to start from: a model's folder, or a folder or file of flow.safetensors with
                   flow.json beside it
    recompute      activation checkpointing: blocks are computed again for the backward pass
    compiled       run the blocks through torch.compile
    style_weight   weight of the style conditioner's own loss, where the model has one
    guidance, solver_steps   of the clips that watching and predict generate
    """

    net: FlowTransformer

    def __init__(
        self,
        config: FlowConfig,
        optimisation: Optimisation | None = None,
        total_steps: int = 1,
        time_sampler: str = "logit_normal",
        time_weight: str = "uniform",
        init_from: Path | None = None,
        recompute: bool = False,
        compiled: bool = False,
        style_weight: float = 0.1,
        guidance: str = "2",
        solver_steps: int = 10,
        seed: int = 0,
    ) -> None:
        for name, value, known in (
            ("time_sampler", time_sampler, TIME_SAMPLERS),
            ("time_weight", time_weight, TIME_WEIGHTS),
        ):
            if value not in known:
                raise ValueError(f"model: {name} must be one of {', '.join(known)}, got {value!r}")
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)  # the same first weights in every process
            net = FlowTransformer(config)
        if init_from is not None:
            load_flow_weights(net, Path(init_from))
        super().__init__(net, optimisation or Optimisation(), total_steps, seed)
        if init_from is not None:
            self.terms = Terms.of(init_from)
        self.config, self.time_sampler, self.time_weight = config, time_sampler, time_weight
        self.guidance, self.solver_steps = Guidance.parse(guidance), solver_steps
        self.style_weight = style_weight
        net.recompute = recompute
        if compiled:
            for block in net.blocks:
                block.compile()

    def setup(self, stage: str) -> None:
        super().setup(stage)
        if self.config.style is not None and isinstance(self.trainer.strategy, FSDPStrategy):
            raise ValueError(
                "a model with style cannot be trained with FSDP, because its parts are called by themselves: "
                "use --trainer.strategy ddp, or leave model.init_args.config.style out"
            )

    def describe(self) -> dict[str, Any]:
        return {"kind": "flow", "config": asdict(self.config)}

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

    def loss(self, net: torch.nn.Module, batch: FlowBatch, condition: Condition) -> FlowLoss:
        """Of one batch: its seeds draw noise and times, the same on every device."""
        t, x_0 = self._draw(batch)
        return loss_at(
            lambda x_t, times: net(x_t, times, condition).float(),
            x_0,
            batch.x_1,
            t,
            weight=self.time_weight,
            frame_mask=~batch.known,
        )

    def _draw(self, batch: FlowBatch) -> tuple[Tensor, Tensor]:
        """Times (B,) and noise (B, T, D), stream by stream."""
        size, device = batch.size // len(batch.seeds), batch.x_1.device
        times, noises = [], []
        for seed in batch.seeds:
            generator = torch.Generator().manual_seed(seed)
            times.append(sample_times(size, generator, self.time_sampler))
            noises.append(torch.randn(size, *batch.x_1.shape[1:], generator=generator))
        return torch.cat(times).to(device), torch.cat(noises).to(device)

    @torch.no_grad()
    def generate(self, batch: FlowBatch, n_items: int | None = None) -> Tensor:
        """Latents (n_items, T, D) by the averaged weights; item i of a batch has always the same noise."""
        indices = range(batch.size if n_items is None else min(n_items, batch.size))
        conditions, _ = self.conditions(self.average, batch)
        condition = Condition.cat([conditions.item(index) for index in indices])
        assert isinstance(self.average, FlowTransformer)
        field = GuidedVelocity(self.average, condition, self.guidance)
        seeds = [batch.number * 1000 + index for index in indices]
        x_0 = noise(seeds, condition.n_frames, self.config.latent_dim).to(batch.x_1.device)
        return solve(field, x_0, method="euler", steps=self.solver_steps).latents
