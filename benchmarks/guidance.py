"""What guidance costs: time of a clip for 1 to 4 sets of conditions, in one process, one after another.

    python benchmarks/guidance.py --duration 10 --repeats 3

Prints a markdown table: sets evaluated in each step, rows of the model in all, seconds (the fastest of the
repeats) and the ratio to plain sampling. The style is a given one where the model knows style.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from dataclasses import dataclass

import torch

from flowmusic.api.pretrained import Pretrained, load_pretrained
from flowmusic.conditioning.condition import CONDITION_NAMES, Condition
from flowmusic.flow.guided_velocity import GuidedVelocity
from flowmusic.flow.schedule import Guidance
from flowmusic.flow.solver import noise, solve

RULES = ("1", "2", "double:3,2", "drums=2,chords=2,text=2", "2; t=0-0.5", "2@0-5,1@5-")


@dataclass(frozen=True)
class Cost:
    """Of one rule: sets in a step, rows of the model over all steps, seconds."""

    rule: str
    sets: int
    rows: int
    seconds: float


def full_condition(model: Pretrained, duration_s: float) -> Condition:
    """Everything given, with numbers drawn at random: the time does not depend on them."""
    generator = torch.Generator().manual_seed(0)
    config = model.flow.config
    null = Condition.null(1, round(duration_s * model.codec.frame_rate), config)
    values = {
        name: torch.rand(null.get(name).shape, generator=generator)
        for name in CONDITION_NAMES
        if name != "context"
    }
    masks = {f"{name}_mask": torch.ones_like(null.mask(name)) for name in values}
    fields = {key: getattr(null, key) for name in CONDITION_NAMES for key in (name, f"{name}_mask")}
    tokens = {"text": (12, config.text_dim), "style": (22, config.style_dim)}
    for name, shape in tokens.items():
        values[name] = torch.randn(1, *shape, generator=generator)
        masks[f"{name}_mask"] = torch.ones(1, shape[0], dtype=torch.bool)
    return Condition(**(fields | values | masks))


def measure(model: Pretrained, condition: Condition, rule: str, steps: int) -> Cost:
    field = GuidedVelocity(model.flow, condition, Guidance.parse(rule))
    rows = 0
    velocity = model.flow.velocity

    def counted(x_t: torch.Tensor, *rest: object) -> torch.Tensor:
        nonlocal rows
        rows += x_t.shape[0]
        return velocity(x_t, *rest)  # type: ignore[arg-type]

    model.flow.velocity = counted  # type: ignore[method-assign, assignment]
    x_0 = noise([0], condition.n_frames, model.flow.config.latent_dim)
    started = time.perf_counter()
    solve(field, x_0, "euler", steps, apart=False)
    seconds = time.perf_counter() - started
    model.flow.velocity = velocity  # type: ignore[method-assign]
    return Cost(rule, field.rows, rows, seconds)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--checkpoint", help="a model's folder (the embedded one)")
    parser.add_argument("--duration", type=float, default=10.0)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args(argv)
    torch.set_num_threads(args.threads)
    model = load_pretrained(args.checkpoint)
    condition = full_condition(model, args.duration)
    # the rules take turns, so that what else the machine does falls on all of them alike
    runs = [[measure(model, condition, rule, args.steps) for rule in RULES] for _ in range(args.repeats)]
    best = [min(costs, key=lambda cost: cost.seconds) for costs in zip(*runs, strict=True)]
    out = sys.stdout
    out.write(f"{args.duration:g} s, Euler {args.steps}, {args.threads} thread(s), ")
    out.write(f"load average {os.getloadavg()[0]:.1f}\n\n")
    out.write("| guidance | sets | rows in all | seconds | ratio |\n| --- | --- | --- | --- | --- |\n")
    for cost in best:
        ratio = cost.seconds / best[0].seconds
        out.write(f"| `{cost.rule}` | {cost.sets} | {cost.rows} | {cost.seconds:.2f} | {ratio:.2f} |\n")


if __name__ == "__main__":
    main()
