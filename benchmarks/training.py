"""What training costs: memory by shape and precision, a step's time, and how much of the machine it uses.

    python -m benchmarks.training memory
    python -m benchmarks.training step --recipe configs/small-flow.yaml --data DATA --steps 6
    python -m benchmarks.training step --recipe configs/400m.yaml --batch 1 --frames 500 --steps 1
    python -m benchmarks.training step --recipe configs/small-lm.yaml --batch 10 --frames 250

All times are CPU seconds of one thread, so that other work on the machine hardly counts (--threads 2: of the
wall), and stand beside the rate of fp32 matrix products that was measured just before: `share of the GEMM
rate` is the model FLOPs utilisation. Without --data the batch is made of random numbers; the codebooks of a
language model always are.
"""

from __future__ import annotations

import argparse
import os
import resource
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

from dataclasses import dataclass
from typing import Any

import torch
import yaml
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode

from flowmusic.conditioning.condition import Condition
from flowmusic.conditioning.text import TextTokens
from flowmusic.data.flow_data import FlowBatch, FlowData
from flowmusic.flow.path import loss_at
from flowmusic.lm.config import LmConfig
from flowmusic.lm.tokens import LatentTokens
from flowmusic.lm.transformer import TokenTransformer
from flowmusic.model.config import FlowConfig
from flowmusic.model.transformer import FlowTransformer
from flowmusic.training.flow_module import FlowTraining
from flowmusic.training.lm_module import LmTraining
from flowmusic.weights import save_tensors

Config = FlowConfig | LmConfig

CONFIGS = Path(__file__).resolve().parents[1] / "configs"
SHAPES = {
    "small-flow": (12, 200), "400m": (1, 500), "1b": (1, 500), "small-lm": (10, 250), "lm-medium": (1, 500),
}  # fmt: skip
MIB = 2**20
TEXT_TOKENS = 32
MIXED = "bf16-mixed"


@dataclass(frozen=True)
class Memory:
    """Bytes of one training process. A mixed precision keeps weights, gradients and moments in 32 bits."""

    parameters: int
    gradients: int
    optimiser: int
    average: int
    activations: int

    @property
    def total(self) -> int:
        return self.parameters + self.gradients + self.optimiser + self.average + self.activations


def training_memory(
    config: Config, batch_size: int, n_frames: int, precision: str = "32-true", recompute: bool = False
) -> Memory:
    """Memory of training a network with AdamW and an average, for a batch of `n_frames` latent frames.

    In bf16-mixed attention is counted as a CPU computes it; fused kernels of a GPU keep less.
    """
    with FakeTensorMode(), torch.device("cpu"):
        net = FlowTransformer(config) if isinstance(config, FlowConfig) else TokenTransformer(config)
        net.recompute = recompute
        bytes_each = 4 * sum(parameter.numel() for parameter in net.parameters())
        kept = _kept_for_backward(net, batch_size, n_frames, precision == MIXED)
    return Memory(bytes_each, bytes_each, 2 * bytes_each, bytes_each, kept)


def _kept_for_backward(
    net: FlowTransformer | TokenTransformer, batch_size: int, n_frames: int, mixed: bool
) -> int:
    """Bytes of all different tensors, but the parameters, that autograd saves."""
    own = {parameter.untyped_storage()._cdata for parameter in net.parameters()}
    kept: dict[int, Tensor] = {}

    def save(tensor: Tensor) -> Tensor:
        kept.setdefault(tensor.untyped_storage()._cdata, tensor)
        return tensor

    config: Any = net.config
    text = torch.zeros(batch_size, TEXT_TOKENS, config.text_dim)
    tokens = TextTokens(text, torch.ones(text.shape[:2], dtype=torch.bool))
    condition = Condition.null(batch_size, n_frames, config.condition_shape).with_tokens(tokens)
    x_1, t = torch.zeros(batch_size, n_frames, config.latent_dim), torch.zeros(batch_size)
    with (
        torch.autograd.graph.saved_tensors_hooks(save, lambda tensor: tensor),
        torch.autocast("cpu", torch.bfloat16, enabled=mixed),
    ):
        if isinstance(net, TokenTransformer):
            codes = torch.zeros(batch_size, n_frames, config.tokens_per_frame, dtype=torch.long)
            net.losses(codes, condition)
        else:
            loss_at(lambda x_t, times: net(x_t, times, condition), torch.zeros_like(x_1), x_1, t)
    return sum(tensor.untyped_storage().nbytes() for key, tensor in kept.items() if key not in own)


def clock() -> float:
    """CPU seconds of one thread; with several threads seconds of the wall, for which nothing else may run."""
    return time.process_time() if torch.get_num_threads() == 1 else time.perf_counter()


def gemm_rate(n: int = 1024, repeats: int = 12) -> float:
    """Best rate of fp32 matrix products, FLOP a second of `clock`."""
    a, b = torch.randn(n, n), torch.randn(n, n)
    best = float("inf")
    for _ in range(repeats):
        started = clock()
        torch.mm(a, b)
        best = min(best, clock() - started)
    return 2 * n**3 / best


def shape_of(recipe: Path) -> Config:
    model = yaml.safe_load(recipe.read_text())["model"]
    settings = yaml.safe_load((recipe.parent / model).read_text()) if isinstance(model, str) else model
    kind = LmConfig if settings["class_path"].endswith("LmTraining") else FlowConfig
    return kind.from_dict(settings["init_args"]["config"])


def module_of(config: Config) -> FlowTraining | LmTraining:
    """The training of a network of this shape; a language model's codebooks are random numbers."""
    if isinstance(config, FlowConfig):
        return FlowTraining(config)
    tokens = {name: torch.randn_like(value) for name, value in LatentTokens(config).state_dict().items()}
    with tempfile.TemporaryDirectory() as folder:
        save_tensors(Path(folder) / "tokens.safetensors", tokens)
        return LmTraining(config, Path(folder) / "tokens.safetensors")


def random_batch(config: Config, batch_size: int, n_frames: int) -> FlowBatch:
    """Every control and a text of 32 tokens are given."""
    null = Condition.null(batch_size, n_frames, config.condition_shape)
    values = {name: torch.rand(null.get(name).shape) for name in null.controls}
    masks = {f"{name}_mask": torch.ones_like(null.mask(name)) for name in values}
    text = TextTokens(
        torch.randn(batch_size, 32, config.text_dim), torch.ones(batch_size, 32, dtype=torch.bool)
    )
    x_1 = torch.randn(batch_size, n_frames, config.latent_dim)
    known = torch.zeros(batch_size, n_frames, dtype=torch.bool)
    kept = torch.ones(batch_size, dtype=torch.bool)
    return FlowBatch(0, x_1, null.having(**values, **masks).with_tokens(text), known, (0,), None, kept)


def memory_table() -> None:
    """MiB of one process, by shape and precision."""
    names = ("parameters", "gradients", "optimiser", "average", "activations", "total")
    sys.stdout.write(f"| shape | batch | precision | {' | '.join(names)} | total, recomputing |\n")
    sys.stdout.write("| --- " * (len(names) + 4) + "|\n")
    for name, (batch_size, n_frames) in SHAPES.items():
        config = shape_of(CONFIGS / f"{name}.yaml")
        for precision in ("32-true", "bf16-mixed"):
            plain = training_memory(config, batch_size, n_frames, precision)
            again = training_memory(config, batch_size, n_frames, precision, recompute=True)
            cells = [f"{getattr(plain, part) / MIB:.0f}" for part in names] + [f"{again.total / MIB:.0f}"]
            size = f"{batch_size} × {n_frames} frames"
            sys.stdout.write(f"| {name} | {size} | {precision} | {' | '.join(cells)} |\n")


def step_figures(args: argparse.Namespace) -> None:
    """CPU seconds of data, forward, backward and optimiser of a training step."""
    config = shape_of(args.recipe)
    module = module_of(config)
    if not args.average:
        del module.ema
    module.net.recompute = args.recompute
    trained = list(module.net.parameters())
    optimiser = torch.optim.AdamW(trained, lr=1e-4)
    data = (
        FlowData(args.data, config, args.batch, args.frames, extracted_share=args.extracted_share)
        if args.data
        else None
    )
    if data is not None:
        data.open_split("train")
    rate = gemm_rate()
    seconds = {"data": 0.0, "step": 0.0}
    flops = 0
    for number in range(args.steps + 1):
        started = clock()
        batch = (
            random_batch(config, args.batch, args.frames)
            if data is None
            else data.draw_batch("train", number, [0])
        )
        drawn = clock()
        if number == 0 and args.steps > 1:  # counting takes time of its own: the first step is not measured
            with FlopCounterMode(display=False) as counter:
                train_step(module, batch, optimiser, args)
            flops = counter.get_total_flops()
            continue
        train_step(module, batch, optimiser, args)
        seconds["data"] += drawn - started if number else 0.0
        seconds["step"] += clock() - drawn
        if args.steps == 1:
            break
    report(module, args, rate, seconds, flops)


def train_step(
    module: FlowTraining | LmTraining,
    batch: FlowBatch,
    optimiser: torch.optim.Optimizer,
    args: argparse.Namespace,
) -> None:
    with torch.autocast("cpu", torch.bfloat16, enabled=args.precision == "bf16-mixed"):
        condition, _ = module.conditions(module.net, batch)
        loss = module.loss(module.net, batch, condition).loss
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(module.net.parameters(), 1.0)
    optimiser.step()
    if args.average:
        module.ema.update(module.net)


@torch.no_grad()
def report(
    module: FlowTraining | LmTraining,
    args: argparse.Namespace,
    rate: float,
    seconds: dict[str, float],
    flops: int,
) -> None:
    unit = "CPU-s" if torch.get_num_threads() == 1 else "s"
    per_step = {name: value / args.steps for name, value in seconds.items()}
    n_parameters = sum(parameter.numel() for parameter in module.net.parameters())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    rows = [
        ("parameters", f"{n_parameters / 1e6:.1f} M"),
        (f"fp32 GEMM rate, threads: {torch.get_num_threads()}", f"{rate / 1e9:.0f} GFLOP/s"),
        ("training step", f"{per_step['step']:.2f} {unit}"),
        ("peak memory of training", f"{peak:.0f} MiB"),
        (f"latent frames a {unit}", f"{args.batch * args.frames / per_step['step']:.0f}"),
    ]
    if flops:
        share = flops / per_step["step"] / rate
        rows += [("FLOP of a step", f"{flops / 1e9:.0f} G"), ("share of the GEMM rate", f"{share:.2f}")]
    if args.data:
        waiting = per_step["data"] / (per_step["data"] + per_step["step"])
        rows.append(("drawing data, share of the time", f"{100 * waiting:.1f} %"))
    net = module.net.eval()
    for n_rows in args.rows:
        if not isinstance(net, FlowTransformer):
            raise ValueError("--rows times velocities, which a language model has none of")
        batch = random_batch(module.config, n_rows, args.frames)
        prepared = net.prepare(batch.condition)
        started = clock()
        net.velocity(batch.x_1, torch.full((n_rows,), 0.5), prepared)
        spent = clock() - started
        rows.append((f"a velocity with {n_rows} guidance rows", f"{spent:.2f} {unit}"))
        for count in args.evaluations:
            rows.append(
                (f"all of a clip of {args.frames} frames, {count} evaluations", f"{count * spent:.1f} {unit}")
            )
    for name, value in rows:
        sys.stdout.write(f"| {name} | {value} |\n")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["memory", "step"])
    parser.add_argument("--recipe", type=Path, default=CONFIGS / "small-flow.yaml")
    parser.add_argument("--data", type=Path, help="prepared music")
    parser.add_argument("--batch", type=int, default=12)
    parser.add_argument("--frames", type=int, default=200)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--precision", choices=["32-true", "bf16-mixed"], default="32-true")
    parser.add_argument("--threads", type=int, default=1, help="(1); with more, seconds of an idle machine")
    parser.add_argument("--extracted-share", type=float, default=0.0)
    parser.add_argument("--recompute", action="store_true")
    parser.add_argument("--average", action="store_true", help="with the moving average of the weights")
    parser.add_argument(
        "--rows", type=int, nargs="*", default=[], help="also time velocities of a flow of so many rows"
    )
    parser.add_argument(
        "--evaluations", type=int, nargs="*", default=[], help="and say what so many of them take"
    )
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if args.what == "memory":
        memory_table()
    else:
        step_figures(args)


if __name__ == "__main__":
    main()
