"""Training of the embedded drum separator: a small Demucs on rendered stems.

    python -m flowmusic.training.train_separator --corpus CORPUS --steps N --out DIR

Writes drum_separator.safetensors (EMA, fp16) and drum_separator.json, which belong into
features/assets, state.pt to resume from, and curve.jsonl.
"""

from __future__ import annotations

import argparse
import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from features.separators import build_demucs
from flowmusic.training.checkpoint import load_training_state, save_tensors, save_training_state
from flowmusic.training.ema import Ema
from flowmusic.training.excerpts import list_songs, read_excerpt
from flowmusic.training.schedule import learning_rate_at

log = logging.getLogger(__name__)

SAMPLE_RATE = 32_000
SOURCES = ("drums", "rest")
REST_STEMS = ("melody", "backing")


@dataclass(frozen=True)
class SeparatorTraining:
    """Model and schedule; everything counts in steps."""

    steps: int = 4000
    batch: int = 4
    excerpt_s: float = 3.0
    learning_rate: float = 1.0e-3
    warmup_steps: int = 50
    decay_share: float = 0.4
    ema_decay: float = 0.995
    remix_share: float = 0.5
    silent_share: float = 0.08
    checkpoint_every: int = 200
    seed: int = 0


def model_config(channels: int = 24, depth: int = 4) -> dict[str, Any]:
    """Spectrogram branch only, complex spectra in and out, no LSTM, no attention; 32 kHz mono."""
    unused = 99  # the layer from which on a part is used: beyond the last one
    return {
        "class": "HDemucs",
        "init": {
            "sources": list(SOURCES),
            "audio_channels": 1,
            "samplerate": SAMPLE_RATE,
            "channels": channels,
            "depth": depth,
            "nfft": 2048,
            "hybrid": False,
            "dconv_lstm": unused,
            "dconv_attn": unused,
            "norm_starts": unused,
            "segment": 8,
        },
    }


class StemSampler:
    """Draws (drums, rest) excerpts: of one song or of two, at random gains, some without one of them."""

    def __init__(self, songs: list[Path], plan: SeparatorTraining) -> None:
        self.songs, self.plan = songs, plan

    def draw_batch(self, step: int) -> Tensor:
        """Stems (B, 2, 1, S). Seeded by the step, so that a resumed run draws what an unbroken one would."""
        rng = np.random.default_rng((self.plan.seed, step))
        return torch.from_numpy(np.stack([self._draw(rng) for _ in range(self.plan.batch)]))

    def _draw(self, rng: np.random.Generator) -> np.ndarray:
        song = self.songs[int(rng.integers(len(self.songs)))]
        other = self.songs[int(rng.integers(len(self.songs)))]
        remixed = rng.random() < self.plan.remix_share
        drums, rest = self._stems(song, rng)
        if remixed:
            rest = self._stems(other, rng)[1]
        gains = 10.0 ** (rng.uniform((-8.0, -6.0), (4.0, 4.0)) / 20.0)
        stems = np.stack([drums * gains[0], rest * gains[1]])[:, None].astype(np.float32)  # (2, 1, S)
        chance = rng.random()
        if chance < self.plan.silent_share:
            stems[0] = 0.0
        elif chance < 1.5 * self.plan.silent_share:
            stems[1] = 0.0
        return np.asarray(stems / max(1.0, float(np.abs(stems.sum(0)).max())))

    def _stems(self, song: Path, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        import soundfile

        info = soundfile.info(song / "drums.wav")
        latest = max(0.0, info.duration - self.plan.excerpt_s)
        start_s = float(rng.uniform(0.0, latest))
        drums, *rest = (
            read_excerpt(song / f"{stem}.wav", start_s, self.plan.excerpt_s, None)
            for stem in ("drums", *REST_STEMS)
        )
        return drums, np.sum(rest, axis=0)


def separation_loss(estimate: Tensor, stems: Tensor) -> Tensor:
    """Logarithm of each stem's squared error in relation to its mix: (B, 2, 1, S) twice -> scalar.

    Every item weighs alike, however quiet. (The absolute error, which Demucs is trained with, stayed
    at an almost silent drum stem for the first 600 steps: 1.7 dB.)
    """
    error = (estimate - stems).square().mean(dim=(2, 3))  # (B, 2)
    mix = stems.sum(dim=1).square().mean(dim=(1, 2))[:, None]  # (B, 1)
    return torch.log10(error / (mix + 1e-8) + 1e-3).mean()


def train(model: nn.Module, sampler: StemSampler, plan: SeparatorTraining, out: Path, bf16: bool) -> Ema:
    """Train with `separation_loss`, resuming from `out`/state.pt where it is there."""
    optimiser = torch.optim.AdamW(
        model.parameters(), lr=plan.learning_rate, betas=(0.9, 0.99), weight_decay=1e-3
    )
    ema = Ema(model, plan.ema_decay)
    step = load_training_state(out / "state.pt", model, optimiser, ema)
    losses: list[float] = []
    progress = tqdm(total=plan.steps, initial=step, unit="step", desc="separator", mininterval=10)
    model.train()
    while step < plan.steps:
        stems = sampler.draw_batch(step)  # (B, 2, 1, S)
        decay_steps = round(plan.decay_share * plan.steps)
        rate = learning_rate_at(step, plan.learning_rate, plan.warmup_steps, plan.steps, decay_steps)
        for group in optimiser.param_groups:
            group["lr"] = rate
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            estimate = model(stems.sum(dim=1))
        loss = separation_loss(estimate.float(), stems)
        if not torch.isfinite(loss):
            raise RuntimeError(
                f"the separator's loss became {loss.item()} at step {step}; lower the learning rate"
            )
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        ema.update(model)
        losses.append(loss.item())
        step += 1
        progress.update()
        if step % plan.checkpoint_every == 0 or step == plan.steps:
            save_training_state(out / "state.pt", model, optimiser, ema, step)
            save_tensors(out / "drum_separator.safetensors", ema.shadow, torch.float16)
            row = {"step": step, "loss": float(np.mean(losses[-plan.checkpoint_every :])), "rate": rate}
            with (out / "curve.jsonl").open("a") as file:
                file.write(json.dumps(row) + "\n")
            progress.set_postfix_str(f"loss {row['loss']:.4f}")
    return ema


def evaluate(weights: Path, songs: list[Path], excerpt_s: float = 20.0) -> dict[str, float]:
    """Mean SDR in dB of the drum stem over songs: the separator's, HPSS's and the mix's."""
    from features.separators import SmallDemucsSeparator
    from flowmusic.evaluation.references import find_references
    from flowmusic.evaluation.separation import separate_song

    separator = SmallDemucsSeparator(weights)
    references = find_references(songs, len(songs))
    scored = [s for r in references if (s := separate_song(separator, r, excerpt_s)) is not None]
    if not scored:
        raise ValueError("none of the songs to evaluate on has drums")
    columns = ("separator_db", "hpss_db", "mix_db")
    return {name: float(np.mean([getattr(s, name) for s in scored])) for name in columns} | {
        "songs": len(scored)
    }


def main(argv: list[str] | None = None) -> None:
    defaults = SeparatorTraining()
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--corpus", type=Path, required=True, help="rendered corpus with train/ and valid/")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=defaults.steps)
    parser.add_argument("--batch", type=int, default=defaults.batch)
    parser.add_argument("--channels", type=int, default=24)
    parser.add_argument("--learning-rate", type=float, default=defaults.learning_rate)
    parser.add_argument("--valid-songs", type=int, default=24)
    parser.add_argument(
        "--bf16", action="store_true", help="convolutions in bfloat16 (CPUs with avx512_bf16)"
    )
    args = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    plan = SeparatorTraining(steps=args.steps, batch=args.batch, learning_rate=args.learning_rate)
    songs = list_songs(args.corpus / "train")
    valid = list_songs(args.corpus / "valid")[: args.valid_songs]
    torch.manual_seed(plan.seed)
    config = model_config(args.channels)
    model = build_demucs(config)
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "drum_separator.json").write_text(json.dumps(config, indent=2) + "\n")
    log.info("%.2f M parameters", sum(p.numel() for p in model.parameters()) / 1e6)
    train(model, StemSampler(songs, plan), plan, args.out, args.bf16)
    figures = evaluate(args.out / "drum_separator.safetensors", valid)
    (args.out / "sdr.json").write_text(json.dumps(figures, indent=2) + "\n")
    log.info("SDR on %d valid songs: %s", len(valid), figures)


if __name__ == "__main__":
    main()
