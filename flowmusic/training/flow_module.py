"""The flow's LightningModule: conditional flow matching on prepared excerpts."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from flowmusic.conditioning.condition import Condition
from flowmusic.data.flow_data import FlowBatch
from flowmusic.flow.guided_velocity import GuidedVelocity
from flowmusic.flow.path import TIME_SAMPLERS, TIME_WEIGHTS, FlowLoss, loss_at, sample_times
from flowmusic.flow.schedule import Guidance
from flowmusic.flow.solver import noise, solve
from flowmusic.model.config import FlowConfig
from flowmusic.model.transformer import FlowTransformer
from flowmusic.model_files import Terms
from flowmusic.training.base import Optimisation
from flowmusic.training.conditioned import ConditionedTraining
from flowmusic.training.init_from import load_flow_weights


class FlowTraining(ConditionedTraining):
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
    config: FlowConfig

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
        super().__init__(net, config, optimisation, total_steps, style_weight, seed)
        if init_from is not None:
            self.terms = Terms.of(init_from)
        self.time_sampler, self.time_weight = time_sampler, time_weight
        self.guidance, self.solver_steps = Guidance.parse(guidance), solver_steps
        net.recompute = recompute
        if compiled:
            for block in net.blocks:
                block.compile()

    def describe(self) -> dict[str, Any]:
        return {"kind": "flow", "config": asdict(self.config)}

    def loss(self, net: torch.nn.Module, batch: FlowBatch, condition: Condition) -> FlowLoss:
        """Of one batch: its seeds draw noise and times, always the same ones on one kind of device."""
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
        """Times (B,) and noise (B, T, D), stream by stream, drawn where the batch is."""
        size, device = batch.size // len(batch.seeds), batch.x_1.device
        times, noises = [], []
        for seed in batch.seeds:
            generator = torch.Generator(device).manual_seed(seed)
            times.append(sample_times(size, generator, self.time_sampler))
            noises.append(torch.randn(size, *batch.x_1.shape[1:], generator=generator, device=device))
        return torch.cat(times), torch.cat(noises)

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
