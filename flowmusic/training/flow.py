"""Training of the flow transformer on prepared songs."""

from __future__ import annotations

import argparse
import json
import logging
import time
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from tqdm import tqdm

from flowmusic.conditioning.augment import ControlErrors, disturb
from flowmusic.conditioning.dropout import DropoutRates, context_masks, drop_conditions
from flowmusic.conditioning.style import StyleTokens
from flowmusic.config import FlowConfig, StyleConfig
from flowmusic.data.dataset import FlowExcerpts, load_songs
from flowmusic.flow.path import FlowLoss, cfm_loss
from flowmusic.model.transformer import FlowTransformer
from flowmusic.training.checkpoint import load_training_state, save_tensors, save_training_state
from flowmusic.training.ema import Ema
from flowmusic.training.extend import extend_training_state
from flowmusic.training.schedule import learning_rate_at
from flowmusic.training.style import encode_styles

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class FlowTraining:
    """Schedule of a flow model's training; everything counts in steps."""

    steps: int = 6000
    batch: int = 12
    excerpt_frames: int = 200
    learning_rate: float = 1.0e-3
    warmup_steps: int = 300
    decay_steps: int = 1200
    ema_decay: float = 0.999
    weight_decay: float = 0.01
    checkpoint_every: int = 200
    reload_every: int = 400
    valid_batches: int = 4
    style_weight: float = 0.1
    seed: int = 0


def flow_loss(
    model: FlowTransformer,
    excerpts: FlowExcerpts,
    plan: FlowTraining,
    rates: DropoutRates,
    seed: int,
    bf16: bool,
    other_style: bool = False,
) -> FlowLoss:
    """Loss of one random batch; the same seed draws the same batch, dropout, noise and times.

    other_style: each item is given the style of its neighbour in the batch, to see what its own is worth.
    """
    generator = torch.Generator().manual_seed(seed)
    x_1, condition, style = excerpts.draw(plan.batch, generator)
    condition = disturb(condition, ControlErrors(), generator, frame_rate=50.0)
    style_loss = torch.zeros(())
    if model.style is not None and style is not None:
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            tokens, style_loss = encode_styles(model.style, style, generator)
        shift = int(other_style)
        tokens = StyleTokens(tokens.tokens.roll(shift, 0), tokens.mask.roll(shift, 0))
        condition = condition.with_tokens(style=tokens)
    condition = drop_conditions(condition, rates, generator)
    known = context_masks(plan.batch, plan.excerpt_frames, rates, generator)
    condition = condition.with_context(x_1, known)
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        prepared = model.prepare(condition)
        loss = cfm_loss(
            lambda x_t, t: model.velocity(x_t, t, prepared).float(),
            x_1,
            generator,
            sampler="logit_normal",
            weight="uniform",
            frame_mask=~known,
        )
    return replace(loss, loss=loss.loss + plan.style_weight * style_loss)


@torch.no_grad()
def validate(
    model: FlowTransformer, ema: Ema, excerpts: FlowExcerpts, plan: FlowTraining, bf16: bool
) -> dict[str, float]:
    """Losses of the averaged weights on fixed batches with every control given.

    'valid_loss'; and, where the model knows style, with the style of another song, and without style.
    """
    kept = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    model.load_state_dict(ema.shadow)
    model.eval()
    given = DropoutRates(everything=0, drums=0, melody=0, chords=0, text=0, style=0, span=0, no_context=1)
    ways = {"valid_loss": (given, False)}
    if model.style is not None:
        ways["valid_loss_other_style"] = (given, True)
        ways["valid_loss_no_style"] = (replace(given, style=1), False)
    found = {}
    for name, (rates, other) in ways.items():
        losses = [
            flow_loss(model, excerpts, plan, rates, seed, bf16, other).loss
            for seed in range(plan.valid_batches)
        ]
        found[name] = float(torch.stack(losses).mean())
    model.load_state_dict(kept)
    model.train()
    return found


def train_flow(
    model: FlowTransformer,
    data: Path,
    plan: FlowTraining,
    out: Path,
    bf16: bool,
    init: Path | None = None,
) -> None:
    """Train `model`; flow.safetensors (EMA), state.pt (to resume) and curve.jsonl go to `out`.

    init: the folder of a run of the same shape without style, to go on from with style. It counts only
    until `out` holds a state of its own.
    """
    optimiser = torch.optim.AdamW(
        model.parameters(), lr=plan.learning_rate, betas=(0.9, 0.98), weight_decay=plan.weight_decay
    )
    ema = Ema(model, plan.ema_decay)
    own = out / "state.pt"
    if init is not None and not own.is_file():
        step = extend_training_state(init, model, optimiser, ema)
        log.info("went on from step %d of %s, with style", step, init)
    else:
        step = load_training_state(own, model, optimiser, ema)
    valid = FlowExcerpts(load_songs(data / "valid"), model.config, plan.excerpt_frames)
    excerpts = FlowExcerpts(load_songs(data / "train"), model.config, plan.excerpt_frames)
    started, running = time.monotonic(), []
    progress = tqdm(total=plan.steps, initial=step, unit="step", desc="flow", mininterval=10)
    while step < plan.steps:
        rate = learning_rate_at(step, plan.learning_rate, plan.warmup_steps, plan.steps, plan.decay_steps)
        for group in optimiser.param_groups:
            group["lr"] = rate
        loss = flow_loss(model, excerpts, plan, DropoutRates(), plan.seed * 1_000_003 + 17 + step, bf16).loss
        if not torch.isfinite(loss):
            raise RuntimeError(f"the loss became {loss.item()} at step {step}; lower the learning rate")
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        ema.update(model)
        step += 1
        running.append(loss.item())
        progress.update()
        if step % 20 == 0:
            progress.set_postfix_str(f"loss {sum(running[-200:]) / len(running[-200:]):.4f}")
        if step % plan.checkpoint_every == 0 or step == plan.steps:
            save_training_state(out / "state.pt", model, optimiser, ema, step)
            save_tensors(out / "flow.safetensors", ema.shadow)
            (out / "flow.json").write_text(model.config.to_json() + "\n")
            row = {
                "step": step,
                "loss": sum(running[-plan.checkpoint_every :]) / len(running[-plan.checkpoint_every :]),
                "rate": rate,
                "seconds": round(time.monotonic() - started),
            } | validate(model, ema, valid, plan, bf16)
            with (out / "curve.jsonl").open("a") as file:
                file.write(json.dumps(row) + "\n")
        if step % plan.reload_every == 0:  # songs prepared since then join in
            excerpts = FlowExcerpts(load_songs(data / "train"), model.config, plan.excerpt_frames)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--data", type=Path, required=True, help="folder with train/ and valid/ of prepared songs"
    )
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=FlowTraining.steps)
    parser.add_argument("--decay-steps", type=int, default=FlowTraining.decay_steps)
    parser.add_argument("--batch", type=int, default=FlowTraining.batch)
    parser.add_argument("--learning-rate", type=float, default=FlowTraining.learning_rate)
    parser.add_argument("--width", type=int, default=FlowConfig.width)
    parser.add_argument("--depth", type=int, default=FlowConfig.depth)
    parser.add_argument("--heads", type=int, default=FlowConfig.heads)
    parser.add_argument(
        "--style", action="store_true", help="a model that can be given the style of a recording"
    )
    parser.add_argument(
        "--init",
        type=Path,
        metavar="FOLDER",
        help="with --style: go on from the run in FOLDER, made without (used until --out holds a state)",
    )
    parser.add_argument(
        "--bf16", action="store_true", help="matrix products in bfloat16 (CPUs with avx512_bf16)"
    )
    args = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    torch.manual_seed(0)
    style = StyleConfig() if args.style else None
    model = FlowTransformer(
        FlowConfig(
            width=args.width, depth=args.depth, heads=args.heads, token_summary=args.style, style=style
        )
    )
    log.info("%.2f M parameters", sum(p.numel() for p in model.parameters()) / 1e6)
    plan = FlowTraining(
        steps=args.steps, decay_steps=args.decay_steps, batch=args.batch, learning_rate=args.learning_rate
    )
    args.out.mkdir(parents=True, exist_ok=True)
    train_flow(model, args.data, plan, args.out, args.bf16, args.init)


if __name__ == "__main__":
    main()
