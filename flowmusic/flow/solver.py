"""From noise to latents: the ODE dx/dt = velocity(x, t) from t = 0 to 1, by torchdiffeq."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

FIXED_METHODS = {"euler": "euler", "midpoint": "midpoint", "heun": "heun2", "rk4": "rk4"}
"""Our names of methods of fixed step -> torchdiffeq's."""

STAGES = {"euler": 1, "midpoint": 2, "heun": 2, "rk4": 4}
"""Evaluations of the velocity in one step."""

METHODS = (*FIXED_METHODS, "dopri5")


def check_method(name: str) -> None:
    """ValueError unless there is a solver of this name."""
    if name not in METHODS:
        raise ValueError(f"unknown solver {name!r}; expected one of {', '.join(METHODS)}")


class VelocityField(Protocol):
    """The velocity of a batch of clips, and of each of them alone."""

    def __call__(self, x_t: Tensor, t: Tensor) -> Tensor:
        """x_t (B, T, D), t (B,) -> (B, T, D)."""
        ...

    def item(self, index: int) -> VelocityField:
        """The field of one clip: x_t (1, T, D)."""
        ...


@dataclass(frozen=True)
class SolveResult:
    """latents (B, T, D) at t = 1, and how often the velocity of each clip was evaluated."""

    latents: Tensor
    item_evaluations: tuple[int, ...]

    @property
    def evaluations(self) -> int:
        """Evaluations for a clip; with an adaptive method, for the clip that took most."""
        return max(self.item_evaluations, default=0)


def noise(seeds: Sequence[int], n_frames: int, latent_dim: int) -> Tensor:
    """Standard normal x_0 (B, T, D), each clip from a generator of its own on the CPU.

    Neither the batch nor the length of a clip changes the noise of its frames: it is drawn frame by
    frame, because one large `randn` draws its last values differently when its size is no multiple of 16.
    """
    clips = []
    for seed in seeds:
        if not 0 <= seed < 2**63:
            raise ValueError(f"a seed must be a whole number from 0 to 2^63 - 1, got {seed}")
        generator = torch.Generator().manual_seed(seed)
        frames = [torch.randn(latent_dim, generator=generator) for _ in range(n_frames)]
        clips.append(torch.stack(frames) if frames else torch.zeros(0, latent_dim))
    return torch.stack(clips)


def time_grid(steps: int, shift: float = 1.0) -> Tensor:
    """Times of `steps` steps from 0 to 1, (steps + 1,), in float64.

    With n = 1 - t the share of noise, n' = shift n / (1 + (shift - 1) n) (arXiv 2403.03206, eq. 23):
    a shift above 1 takes smaller steps near the noise, below 1 near the data, 1 equal steps.
    """
    if steps < 1:
        raise ValueError(f"steps must be at least 1, got {steps}")
    if not 0 < shift < float("inf"):
        raise ValueError(f"the time shift must be a positive number, got {shift}")
    share = 1 - torch.linspace(0, 1, steps + 1, dtype=torch.float64)
    grid = 1 - shift * share / (1 + (shift - 1) * share)
    grid[0], grid[-1] = 0.0, 1.0  # exactly
    return grid


def solve(
    field: VelocityField,
    x_0: Tensor,
    method: str = "euler",
    steps: int = 10,
    shift: float = 1.0,
    tolerance: float = 1e-5,
    apart: bool = True,
    start: float = 0.0,
    progress: Callable[[float], None] | None = None,
) -> SolveResult:
    """Follow the field from noise x_0 (B, T, D) at t = 0, or from x_t at t = `start`, to latents at t = 1.

    method     'euler', 'midpoint', 'heun', 'rk4' (fixed steps), or 'dopri5' (adaptive: steps and
               shift have no part in it, tolerance is both the relative and the absolute one)
    apart      each clip by itself, so that its bytes do not depend on the batch: matrix products round
               differently in other shapes. False: all in one batch (for a GPU). dopri5 is always
               apart, because its step size would couple the clips.
    start      t of x_0, where that is not noise but a mix on the way to latents
    progress   called after each evaluation with the share that is done, from 0 to 1
    Raises ValueError for unknown methods, ArithmeticError where the result is not finite.
    """
    check_method(method)
    if not 0 <= start < 1:
        raise ValueError(f"the ODE must start at a t from 0 to below 1, got {start}")
    grid = start + (1 - start) * time_grid(steps, shift)
    alone = apart or method == "dopri5"
    groups = [x_0[i : i + 1] for i in range(x_0.shape[0])] if alone else [x_0]
    latents, evaluations = [], []
    for index, group in enumerate(groups):
        group_field = field.item(index) if alone else field
        counted = _Counted(group_field, index, len(groups), progress)
        latents.append(_integrate(counted, group, method, grid, tolerance))
        evaluations += [counted.evaluations] * group.shape[0]
    if progress is not None:
        progress(1.0)
    result = torch.cat(latents) if latents else x_0
    if not torch.isfinite(result).all():
        raise ArithmeticError(
            f"the solver {method!r} with {steps} steps left finite numbers: lower the guidance"
        )
    return SolveResult(result, tuple(evaluations))


class _Counted:
    """The function that torchdiffeq calls: (t (), x (B, T, D)) -> velocity, counted."""

    def __init__(
        self, field: VelocityField, index: int, of: int, progress: Callable[[float], None] | None
    ) -> None:
        self.field, self.index, self.of, self.progress = field, index, of, progress
        self.evaluations = 0

    def __call__(self, t: Tensor, x_t: Tensor) -> Tensor:
        velocity = self.field(x_t, t.to(x_t.dtype).expand(x_t.shape[0]))
        self.evaluations += 1
        if self.progress is not None:
            self.progress(min((self.index + float(t)) / self.of, 1.0))
        return velocity


@torch.no_grad()
def _integrate(function: _Counted, x_0: Tensor, method: str, grid: Tensor, tolerance: float) -> Tensor:
    from torchdiffeq import odeint

    times = grid.to(x_0.dtype).to(x_0.device)  # cast first: not every device has float64
    ends = times[[0, -1]]
    if method == "dopri5":
        states = odeint(function, x_0, ends, method="dopri5", rtol=tolerance, atol=tolerance)
    else:
        options = {"grid_constructor": lambda _func, _x_0, _t: times}
        states = odeint(function, x_0, ends, method=FIXED_METHODS[method], options=options)
    final: Tensor = states[-1]
    return final
