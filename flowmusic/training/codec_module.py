"""The codec's LightningModule: principal components first, then the magnitude decoder by gradient."""

from __future__ import annotations

import copy
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from flowmusic.codec.bands import LOG_FLOOR, BandStft
from flowmusic.codec.decoder import MagnitudeDecoder
from flowmusic.codec.files import read_codec
from flowmusic.codec.spectral import SpectralCodec, SpectralCodecConfig
from flowmusic.data.sound_data import ExcerptSampler, SoundBatch, SoundData
from flowmusic.model_files import Terms
from flowmusic.training.base import Clips, Optimisation, Training, sound_of

log = logging.getLogger(__name__)
COMPONENTS_EXCERPT_S = 6.0


class DecoderTraining(Training):
    """Trains the decoder of a `SpectralCodec`; its encoder is fitted before the first step.

    config                its shape
    total_steps           optimiser steps in all (linked to trainer.max_steps)
    components_excerpts   excerpts of 6 s that the principal components are fitted on
    plain_steps           first steps with the absolute error alone
    chroma_weight         weight of `chroma_error` in the lowest band
    rise_weight           weight of `rise_error` in every band
    init_from             a codec to start from (encoder and decoder): a folder with codec.safetensors and
                          codec.json, a model's folder, or 'bundled'
    """

    net: MagnitudeDecoder

    def __init__(
        self,
        config: SpectralCodecConfig,
        optimisation: Optimisation | None = None,
        total_steps: int = 1,
        components_excerpts: int = 900,
        plain_steps: int = 0,
        chroma_weight: float = 0.0,
        rise_weight: float = 0.0,
        init_from: Path | None = None,
        compiled: bool = False,
        seed: int = 0,
    ) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            codec = SpectralCodec(config)
        if init_from is not None:
            start_from(codec, Path(init_from))
        super().__init__(codec.decoder, optimisation or Optimisation(), total_steps, seed)
        self.codec = codec
        if init_from is not None:
            self.terms = Terms.of(init_from)
        self.components_excerpts, self.plain_steps = components_excerpts, plain_steps
        self.chroma_weight, self.rise_weight = chroma_weight, rise_weight
        self.register_buffer("chroma", chroma_filters(codec.bands[0], config.sample_rate), persistent=False)
        if compiled:
            for block in codec.decoder.blocks:
                block.compile()

    def describe(self) -> dict[str, Any]:
        return {"kind": "codec", "config": self.codec.config.to_dict()}

    def on_fit_start(self) -> None:
        """Fit the encoder, unless a checkpoint or `init_from` brought one."""
        if bool(self.codec.components.any()):
            return
        data = self.trainer.datamodule  # type: ignore[attr-defined]
        if not isinstance(data, SoundData):
            raise ValueError(f"a codec is trained on SoundData, got {type(data).__name__}")
        kept = fit_components(self.codec, data.sampler("train", data.seed), self.components_excerpts)
        log.info("%d components keep %.4f of the weighted variance", self.codec.config.latent_dim, kept)

    def training_step(self, batch: SoundBatch, batch_idx: int) -> Tensor:
        loss, error_db = self.loss(self.net, batch, self.global_step >= self.plain_steps)
        self.log_loss("train/loss", self.check_loss(loss), batch.size)
        self.log_loss("train/error_db", error_db, batch.size)
        return loss

    def validation_step(self, batch: SoundBatch, batch_idx: int) -> None:
        self._log_average("valid", batch)

    def test_step(self, batch: SoundBatch, batch_idx: int) -> None:
        self._log_average("test", batch)

    def predict_step(self, batch: SoundBatch, batch_idx: int) -> list[Clips]:
        """The sound of each item as it comes back from its latents."""
        with torch.no_grad():
            codec = copy.copy(self.codec)
            codec._modules = self.codec._modules | {"decoder": self.average}
            decoded = codec.decode(codec.encode(batch.sound[:, None]))  # (B, C, S)
        return [{"decoded": sound_of(sound, codec.sample_rate)} for sound in decoded]

    def _log_average(self, split: str, batch: SoundBatch) -> None:
        loss, error_db = self.loss(self.average, batch, with_motion=True)
        self.log_loss(f"{split}/loss", loss, batch.size)
        self.log_loss(f"{split}/error_db", error_db, batch.size)

    def loss(self, net: torch.nn.Module, batch: SoundBatch, with_motion: bool) -> tuple[Tensor, Tensor]:
        with torch.no_grad(), torch.autocast(batch.sound.device.type, enabled=False):
            latents, targets = self.codec.encode(batch.sound[:, None]), self.codec.log_magnitudes(batch.sound)
        predicted = self.codec.predict(net, latents)
        loss, error_db = bands_loss(predicted, targets, with_motion)
        if self.chroma_weight:
            loss = loss + self.chroma_weight * chroma_error(
                predicted[0].float(), targets[0], self.get_buffer("chroma")
            )
        if self.rise_weight:
            rises = [rise_error(p.float(), t) for p, t in zip(predicted, targets, strict=True)]
            loss = loss + self.rise_weight * torch.stack(rises).mean()
        return loss, error_db


def start_from(codec: SpectralCodec, source: Path) -> None:
    """Fill a codec with the weights of another; bands without refinement may grow it, which starts fresh.

    ValueError where it has another shape.
    """
    start = read_codec(source)
    shape = start.config
    if isinstance(shape, SpectralCodecConfig) and len(shape.decoder_bands) == len(codec.bands):
        pairs = zip(shape.decoder_bands, codec.config.decoder_bands, strict=True)
        bands = [
            band
            if band.refine_channels
            else replace(band, refine_channels=wanted.refine_channels, refine_depth=wanted.refine_depth)
            for band, wanted in pairs
        ]
        shape = replace(shape, decoder_bands=tuple(bands))
    if shape != codec.config:
        raise ValueError(f"cannot start from {source}: its codec has another shape, {start.config}")
    codec.load_state_dict(codec.state_dict() | start.state_dict())


@torch.inference_mode()
def fit_components(codec: SpectralCodec, sampler: ExcerptSampler, n_excerpts: int) -> float:
    """Fit the codec's principal components on random excerpts; returns the share of variance kept.

    Those of the stereo image are fitted on the same excerpts.
    """
    device = codec.components.device
    on_cpu = copy.deepcopy(codec).cpu()  # the fit is in float64, which not every device has
    sound, image = Moments(), Moments()
    for _ in range(n_excerpts):
        audio = torch.from_numpy(sampler.draw(COMPONENTS_EXCERPT_S))[None].to(device)  # (1, 2, S)
        sound.add(codec.analysis(audio.mean(dim=1))[0])
        if codec.image is not None:
            image.add(codec.image.features(audio)[0])
    if on_cpu.image is not None:
        on_cpu.image.fit(*image.mean_and_covariance())
    kept = on_cpu.fit_components(*sound.mean_and_covariance())
    codec.load_state_dict(on_cpu.state_dict())
    return kept


class Moments:
    """Sums over features (T, N), for their mean and covariance."""

    def __init__(self) -> None:
        self.total, self.outer, self.count = torch.zeros(()), torch.zeros(()), 0

    def add(self, features: Tensor) -> None:
        values = features.cpu().double()
        self.total, self.outer = self.total + values.sum(dim=0), self.outer + values.T @ values
        self.count += values.shape[0]

    def mean_and_covariance(self) -> tuple[Tensor, Tensor]:
        """(N,) and (N, N), float64, on the CPU."""
        mean = self.total / self.count
        return mean, self.outer / self.count - torch.outer(mean, mean)


def decoder_loss(predicted: Tensor, target: Tensor, with_motion: bool) -> tuple[Tensor, Tensor]:
    """Loss of log10 magnitudes (B, T, F), and the plain error in dB.

    After a warm-up with the absolute error alone, errors at loud bins and errors of the change over
    time (lags of 1, 3 and 8 columns) count as well: a wobbling magnitude is heard as "underwater".
    """
    error = predicted - target
    plain = error.abs().mean()
    if not with_motion:
        return plain, plain * 20.0
    loudness = (target - LOG_FLOOR).clamp(min=0.0)
    peaks = (error.abs() * loudness / loudness.mean().clamp(min=0.1)).mean()
    motion = torch.stack([(error[:, lag:] - error[:, :-lag]).abs().mean() for lag in (1, 3, 8)]).mean()
    root = (10.0 ** (predicted / 2) - 10.0 ** (target / 2)).abs().mean()
    return 0.3 * plain + peaks + 0.7 * motion + 4.0 * root, plain * 20.0


def chroma_filters(band: BandStft, sample_rate: int) -> Tensor:
    """Filters (F, 12) from power at the band's bins to pitch classes (librosa's, tuned to A4 = 440 Hz)."""
    from librosa.filters import chroma

    filters = torch.from_numpy(chroma(sr=sample_rate, n_fft=band.stft.window, tuning=0.0))
    return filters[:, band.first : band.last].T.float()


def chroma_error(predicted: Tensor, target: Tensor, filters: Tensor) -> Tensor:
    """Mean |difference| of two chromagrams, each column scaled to a maximum of 1.

    predicted, target: log10 magnitudes (B, T, F); filters (F, 12). An error of a decibel costs more at the
    loudest partials of a column than at all others, whatever the column's level.
    """
    with torch.autocast(predicted.device.type, enabled=False):
        pair = [10.0 ** (2.0 * levels.clamp(max=3.0)) @ filters for levels in (predicted, target)]
    scaled = [chroma / chroma.amax(dim=-1, keepdim=True).clamp(min=1e-8) for chroma in pair]
    return (scaled[0] - scaled[1]).abs().mean()


def rise_error(predicted: Tensor, target: Tensor) -> Tensor:
    """Mean |difference| of how much groups of 16 bins rise over 1, 2 and 4 columns, in log10 amplitude.

    predicted, target: log10 magnitudes (B, T, F). The median of each bin alone, which the absolute error
    asks for, rises less at a stroke than the bins do together.
    """

    def rises(levels: Tensor) -> list[Tensor]:
        power = nn.functional.avg_pool1d(10.0 ** (2.0 * levels.clamp(max=3.0)), 16, ceil_mode=True)
        grouped = 0.5 * torch.log10(power + 10.0 ** (2.0 * LOG_FLOOR))
        return [(grouped[:, lag:] - grouped[:, :-lag]).clamp(min=0.0) for lag in (1, 2, 4)]

    pairs = zip(rises(predicted), rises(target), strict=True)
    return torch.stack([(ours - theirs).abs().mean() for ours, theirs in pairs]).mean()


def bands_loss(predicted: list[Tensor], targets: list[Tensor], with_motion: bool) -> tuple[Tensor, Tensor]:
    """Mean of `decoder_loss` over the bands: the low one has few bins but most partials."""
    pairs = [
        decoder_loss(p.float(), target, with_motion) for p, target in zip(predicted, targets, strict=True)
    ]
    return torch.stack([pair[0] for pair in pairs]).mean(), torch.stack([pair[1] for pair in pairs]).mean()
