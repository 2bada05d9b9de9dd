"""The drum separator's LightningModule: a small Demucs on rendered stems."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from features.separators import build_demucs
from flowmusic.data.sound_data import SoundBatch
from flowmusic.training.base import Clips, Optimisation, Training, sound_of
from flowmusic.weights import load_exactly, read_weights

SOURCES = ("drums", "rest")


@dataclass(frozen=True)
class SeparatorConfig:
    """HDemucs with its spectrogram branch only: complex spectra in and out, no LSTM, no attention; mono."""

    channels: int = 24
    depth: int = 4
    sample_rate: int = 32000
    window: int = 2048
    segment_s: int = 8

    def demucs(self) -> dict[str, Any]:
        """What `features.separators.build_demucs` builds it from."""
        unused = 99  # the layer from which on a part is used: beyond the last one
        return {
            "class": "HDemucs",
            "init": {
                "sources": list(SOURCES),
                "audio_channels": 1,
                "samplerate": self.sample_rate,
                "channels": self.channels,
                "depth": self.depth,
                "nfft": self.window,
                "hybrid": False,
                "dconv_lstm": unused,
                "dconv_attn": unused,
                "norm_starts": unused,
                "segment": self.segment_s,
            },
        }


class SeparatorTraining(Training):
    """Trains a separator of drums and rest.

    total_steps   optimiser steps in all (linked to trainer.max_steps)
    init_from     a drum_separator.safetensors of the same shape to start from
    """

    def __init__(
        self,
        config: SeparatorConfig,
        optimisation: Optimisation | None = None,
        total_steps: int = 1,
        init_from: Path | None = None,
        seed: int = 0,
    ) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            net = build_demucs(config.demucs())
        if init_from is not None:
            load_exactly(net, read_weights(Path(init_from)), Path(init_from))
        super().__init__(net, optimisation or Optimisation(), total_steps, seed)
        self.config = config

    def describe(self) -> dict[str, Any]:
        return {"kind": "separator", "config": self.config.demucs()}

    def training_step(self, batch: SoundBatch, batch_idx: int) -> Tensor:
        loss = self.check_loss(self.loss(self.net, batch))
        self.log_loss("train/loss", loss, batch.size)
        return loss

    def validation_step(self, batch: SoundBatch, batch_idx: int) -> None:
        self.log_loss("valid/loss", self.loss(self.average, batch), batch.size)

    def test_step(self, batch: SoundBatch, batch_idx: int) -> None:
        self.log_loss("test/loss", self.loss(self.average, batch), batch.size)

    def predict_step(self, batch: SoundBatch, batch_idx: int) -> list[Clips]:
        """The stems that each item's mix is taken apart into."""
        stems = self.average(batch.sound.sum(dim=1))  # (B, 2, 1, S)
        rate = self.config.sample_rate
        return [
            {name: sound_of(stem, rate) for name, stem in zip(SOURCES, item, strict=True)} for item in stems
        ]

    def loss(self, net: torch.nn.Module, batch: SoundBatch) -> Tensor:
        return separation_loss(net(batch.sound.sum(dim=1)).float(), batch.sound)


def separation_loss(estimate: Tensor, stems: Tensor) -> Tensor:
    """Logarithm of each stem's squared error in relation to its mix: (B, 2, 1, S) twice -> scalar.

    Every item weighs alike, however quiet. (The absolute error, which Demucs is trained with, stayed
    at an almost silent drum stem for the first 600 steps: 1.7 dB.)
    """
    error = (estimate - stems).square().mean(dim=(2, 3))  # (B, 2)
    mix = stems.sum(dim=1).square().mean(dim=(1, 2))[:, None]  # (B, 1)
    return torch.log10(error / (mix + 1e-8) + 1e-3).mean()
