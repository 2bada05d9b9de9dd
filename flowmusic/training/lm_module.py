"""The language model's LightningModule: next-token prediction on prepared excerpts."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from flowmusic.conditioning.condition import Condition
from flowmusic.data.flow_data import FlowBatch
from flowmusic.flow.schedule import Guidance
from flowmusic.lm.config import LmConfig
from flowmusic.lm.sampling import TokenSampling, draw_codes
from flowmusic.lm.transformer import TokenTransformer
from flowmusic.model_files import Terms
from flowmusic.training.base import Optimisation
from flowmusic.training.conditioned import ConditionedTraining
from flowmusic.weights import load_exactly, read_weights


@dataclass(frozen=True)
class TokenLoss:
    """Mean cross entropy of the tokens in nats, over `n_frames` frames; and of each codebook (K,)."""

    loss: Tensor
    n_frames: Tensor
    by_codebook: Tensor


class LmTraining(ConditionedTraining):
    """Trains a `TokenTransformer`.

    config         its shape
    tokens         file of the codebooks, as `flowmusic.training.latent_tokens` writes it
    total_steps    optimiser steps in all (linked to trainer.max_steps)
    init_from      weights to start from: a file of safetensors of the same shape
    recompute      activation checkpointing: blocks are computed again for the backward pass
    style_weight   weight of the style conditioner's own loss, where the model has one
    guidance, temperature, top_k   of the clips that watching and predict generate
    """

    net: TokenTransformer
    config: LmConfig

    def __init__(
        self,
        config: LmConfig,
        tokens: Path,
        optimisation: Optimisation | None = None,
        total_steps: int = 1,
        init_from: Path | None = None,
        recompute: bool = False,
        style_weight: float = 0.1,
        guidance: str = "3",
        temperature: float = 1.0,
        top_k: int = 0,
        seed: int = 0,
    ) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)  # the same first weights in every process
            net = TokenTransformer(config)
        load_exactly(net.latents, read_weights(Path(tokens)), Path(tokens))
        if init_from is not None:
            load_exactly(net, read_weights(Path(init_from)), Path(init_from))
        super().__init__(net, config, optimisation, total_steps, style_weight, seed)
        if init_from is not None:
            self.terms = Terms.of(init_from)
        net.recompute = recompute
        self.guidance = Guidance.parse(guidance)
        self.sampling = TokenSampling((temperature,), (top_k,))

    def describe(self) -> dict[str, Any]:
        return {"kind": "lm", "config": asdict(self.config)}

    def loss(self, net: torch.nn.Module, batch: FlowBatch, condition: Condition) -> TokenLoss:
        """Cross entropy of the tokens that are not known as context."""
        codes = self.net.latents.encode(batch.x_1)  # (B, T, K)
        assert isinstance(net, TokenTransformer)
        losses = net.losses(codes, condition)  # (B, T, K)
        counted = (~batch.known).float()  # (B, T)
        n_frames = counted.sum()
        by_codebook = (losses * counted.unsqueeze(-1)).sum((0, 1)) / n_frames.clamp(min=1)
        return TokenLoss(by_codebook.mean(), n_frames, by_codebook.detach())

    def validation_step(self, batch: FlowBatch, batch_idx: int) -> None:
        super().validation_step(batch, batch_idx)
        condition, _ = self.conditions(self.average, batch)
        for index, value in enumerate(self.loss(self.average, batch, condition).by_codebook):
            self.log_loss(f"valid/codebook_{index}", value, batch.size)

    @torch.no_grad()
    def generate(self, batch: FlowBatch, n_items: int | None = None) -> Tensor:
        """Latents (n_items, T, D) by the averaged weights; item i of a batch has always the same seed."""
        conditions, _ = self.conditions(self.average, batch)
        assert isinstance(self.average, TokenTransformer)
        latents = []
        for index in range(batch.size if n_items is None else min(n_items, batch.size)):
            seed = batch.number * 1000 + index
            codes, _ = draw_codes(self.average, conditions.item(index), self.guidance, seed, self.sampling)
            latents.append(self.average.latents.decode(codes.to(batch.x_1.device)))
        return torch.stack(latents)
