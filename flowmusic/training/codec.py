"""Training of the embedded codec: principal components first, then the magnitude decoder.

Two commands: `components` fits the encoder on a sample of songs (minutes, no gradients), `decoder`
trains the decoder on random excerpts. Both read mono wav files: songs of a rendered corpus (their
stems are summed) and recordings.
"""

from __future__ import annotations

import argparse
import json
import logging
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from flowmusic.codec.decoder import LOG_FLOOR
from flowmusic.codec.spectral import SpectralCodec, SpectralCodecConfig
from flowmusic.training.checkpoint import load_training_state, save_tensors, save_training_state
from flowmusic.training.ema import Ema
from flowmusic.training.excerpts import ExcerptSampler, list_sources
from flowmusic.training.schedule import learning_rate_at

log = logging.getLogger(__name__)


@torch.inference_mode()
def fit_components(codec: SpectralCodec, sampler: ExcerptSampler, n_excerpts: int, excerpt_s: float) -> float:
    """Fit the codec's principal components on random excerpts; returns the share of variance kept."""
    n = codec.analysis.n_features
    total, outer, count = torch.zeros(n, dtype=torch.float64), torch.zeros(n, n, dtype=torch.float64), 0
    for _ in tqdm(range(n_excerpts), unit="excerpt", desc="components"):
        audio = torch.from_numpy(sampler.draw(excerpt_s))[None]
        features = codec.analysis(audio)[0].double()  # (T, N)
        total += features.sum(dim=0)
        outer += features.T @ features
        count += features.shape[0]
    mean = total / count
    return codec.fit_components(mean, outer / count - torch.outer(mean, mean))


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


def bands_loss(predicted: list[Tensor], targets: list[Tensor], with_motion: bool) -> tuple[Tensor, Tensor]:
    """Mean of `decoder_loss` over the bands, each weighted by the square root of its number of bins.

    The few low bins carry most partials: by their number alone they would hardly count.
    """
    weights = torch.tensor([target.shape[-1] ** 0.5 for target in targets])
    pairs = [
        decoder_loss(p.float(), target, with_motion) for p, target in zip(predicted, targets, strict=True)
    ]
    shares = weights / weights.sum()
    loss = torch.stack([pair[0] for pair in pairs]) @ shares
    return loss, torch.stack([pair[1] for pair in pairs]) @ shares


@dataclass(frozen=True)
class DecoderTraining:
    """Schedule of the decoder's training; everything counts in steps."""

    steps: int = 2600
    batch: int = 8
    excerpt_s: float = 4.0
    learning_rate: float = 1.2e-3
    warmup_steps: int = 200
    decay_steps: int = 1500
    plain_steps: int = 0
    recordings_share: float = 0.35
    ema_decay: float = 0.998
    checkpoint_every: int = 250
    seed: int = 0


def train_decoder(
    codec: SpectralCodec, sampler: ExcerptSampler, plan: DecoderTraining, out: Path, bf16: bool
) -> None:
    """Train `codec.decoder` and write codec.safetensors (EMA) and state.pt (to resume) to `out`."""
    decoder = codec.decoder
    optimiser = torch.optim.AdamW(
        decoder.parameters(), lr=plan.learning_rate, betas=(0.9, 0.98), weight_decay=0.01
    )
    ema = Ema(decoder, plan.ema_decay)
    step = load_training_state(out / "state.pt", decoder, optimiser, ema)
    started, errors = time.monotonic(), []
    progress = tqdm(total=plan.steps, initial=step, unit="step", desc="decoder", mininterval=10)
    while step < plan.steps:
        sampler.reseed(plan.seed * 1_000_003 + step)
        audio = torch.from_numpy(
            np.stack([sampler.draw(plan.excerpt_s) for _ in range(plan.batch)])
        )  # (B, S)
        with torch.no_grad():
            latents, targets = codec.encode(audio[:, None]), codec.log_magnitudes(audio)
        rate = learning_rate_at(step, plan.learning_rate, plan.warmup_steps, plan.steps, plan.decay_steps)
        for group in optimiser.param_groups:
            group["lr"] = rate
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            predicted = decoder(latents)
        loss, error_db = bands_loss(predicted, targets, with_motion=step >= plan.plain_steps)
        if not torch.isfinite(loss):
            raise RuntimeError(
                f"the decoder's loss became {loss.item()} at step {step}; lower the learning rate"
            )
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(decoder.parameters(), 1.0)
        optimiser.step()
        ema.update(decoder)
        errors.append(error_db.item())
        step += 1
        progress.update()
        if step % 50 == 0:
            progress.set_postfix_str(f"{np.mean(errors[-200:]):.3f} dB")
        if step % plan.checkpoint_every == 0 or step == plan.steps:
            save_training_state(out / "state.pt", decoder, optimiser, ema, step)
            export_codec(codec, ema, out)
            with (out / "curve.jsonl").open("a") as file:
                row = {
                    "step": step,
                    "error_db": float(np.mean(errors[-plan.checkpoint_every :])),
                    "rate": rate,
                }
                file.write(json.dumps(row | {"seconds": round(time.monotonic() - started)}) + "\n")


def export_codec(codec: SpectralCodec, ema: Ema, out: Path) -> None:
    """codec.safetensors with the averaged decoder, and codec.json, its shape."""
    state = {name: tensor for name, tensor in codec.state_dict().items() if not name.startswith("decoder.")}
    state |= {f"decoder.{name}": tensor for name, tensor in ema.shadow.items()}
    save_tensors(out / "codec.safetensors", state)
    (out / "codec.json").write_text(json.dumps(codec.config.to_dict(), indent=2) + "\n")


def load_codec(path: Path) -> SpectralCodec:
    """From components.safetensors (its decoder untrained) or codec.safetensors; codec.json beside it."""
    from safetensors.torch import load_file

    codec = SpectralCodec(SpectralCodecConfig.from_dict(json.loads((path.parent / "codec.json").read_text())))
    missing, unknown = codec.load_state_dict(load_file(path), strict=False)
    if unknown or any(not name.startswith("decoder.") for name in missing):
        raise ValueError(f"{path} does not fit codec.json beside it: missing {missing}, unknown {unknown}")
    return codec.eval()


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("stage", choices=["components", "decoder"])
    parser.add_argument("--corpus", type=Path, required=True, help="folder of rendered songs (…/train)")
    parser.add_argument("--recordings", type=Path, help="folder of wav recordings (…/train)")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--latent-dim", type=int, default=SpectralCodecConfig.latent_dim)
    parser.add_argument("--width", type=int, default=SpectralCodecConfig.decoder_width)
    parser.add_argument("--depth", type=int, default=SpectralCodecConfig.decoder_depth)
    parser.add_argument("--excerpts", type=int, default=1500, help="excerpts of 6 s for the components")
    parser.add_argument("--steps", type=int, default=DecoderTraining.steps)
    parser.add_argument(
        "--bf16", action="store_true", help="matrix products in bfloat16 (CPUs with avx512_bf16)"
    )
    args = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    config = SpectralCodecConfig(
        latent_dim=args.latent_dim, decoder_width=args.width, decoder_depth=args.depth
    )
    torch.manual_seed(0)
    codec = SpectralCodec(config)
    plan = DecoderTraining(steps=args.steps)
    sampler = ExcerptSampler(
        list_sources(args.corpus),
        list_sources(args.recordings) if args.recordings else [],
        plan.recordings_share,
        config.sample_rate,
        seed=plan.seed,
    )
    args.out.mkdir(parents=True, exist_ok=True)
    if args.stage == "components":
        kept = fit_components(codec, sampler, args.excerpts, excerpt_s=6.0)
        log.info("%d components keep %.4f of the weighted variance", config.latent_dim, kept)
        state = {
            name: tensor for name, tensor in codec.state_dict().items() if not name.startswith("decoder.")
        }
        save_tensors(args.out / "components.safetensors", state)
        (args.out / "codec.json").write_text(json.dumps(config.to_dict(), indent=2) + "\n")
    else:
        codec = load_codec(args.out / "components.safetensors").train()
        train_decoder(codec, sampler, plan, args.out, args.bf16)


if __name__ == "__main__":
    main()
