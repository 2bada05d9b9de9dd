"""From noise to latents: the ODE dx/dt = velocity(x, t) from t = 0 to 1, by torchdiffeq."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from flowmusic.flow.solvers import SOLVERS


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
    per_clip: bool = True,
    start: float = 0.0,
    guidance: str = "1",
    progress: Callable[[float], None] | None = None,
) -> SolveResult:
    """Follow the field from noise x_0 (B, T, D) at t = 0, or from x_t at t = `start`, to latents at t = 1.

    method     a name in `SOLVERS`: 'euler', 'midpoint', 'heun', 'rk4' (fixed steps), 'dopri5' (adaptive:
               steps and shift have no part in it, tolerance is both the relative and the absolute one) ...
    per_clip   each clip by itself, so that its bytes do not depend on the batch: matrix products round
               differently in other shapes. False: all in one batch (for a GPU). An adaptive solver always
               has one clip at a time, because its step size would couple the clips.
    start      t of x_0, where that is not noise but a mix of noise and latents
    guidance   how the guidance of the field was written, for the message where the result is not finite
    progress   called after each evaluation with the share that is done, from 0 to 1
    Raises ValueError for unknown solvers, ArithmeticError where the result has NaN or Inf.
    """
    solver = SOLVERS.get(method)
    if not 0 <= start < 1:
        raise ValueError(f"the ODE must start at a t from 0 to below 1, got {start}")
    grid = start + (1 - start) * time_grid(steps, shift)
    alone = per_clip or solver.stages == 0
    groups = [x_0[i : i + 1] for i in range(x_0.shape[0])] if alone else [x_0]
    latents, evaluations = [], []
    for index, group in enumerate(groups):
        group_field = field.item(index) if alone else field
        counted = _Counted(group_field, index, len(groups), progress)
        with torch.no_grad():
            latents.append(solver(counted, group, grid.to(group.dtype).to(group.device), tolerance))
        evaluations += [counted.evaluations] * group.shape[0]
    if progress is not None:
        progress(1.0)
    result = torch.cat(latents) if latents else x_0
    check_finite(result, guidance, steps, method)
    return SolveResult(result, tuple(evaluations))


def check_finite(values: Tensor, guidance: str, steps: int, method: str) -> None:
    """ArithmeticError, saying how they came about and what to try, where some value is NaN or Inf.

    For latents, and for what is decoded from them: latents of 1e9 are finite, but overflow in a decoder.
    """
    if not torch.isfinite(values).all():
        raise ArithmeticError(
            f"guidance {guidance!r} in {steps} steps of the solver {method!r} produced NaN or Inf: "
            "try a lower guidance, more steps, or rescaling, as in '3; rescale=0.5'"
        )


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


@dataclass(frozen=True)
class FixedStep:
    """A method of torchdiffeq of as many steps as `times` has; `stages` evaluations in each."""

    method: str
    stages: int

    def __call__(
        self, velocity: Callable[[Tensor, Tensor], Tensor], x_0: Tensor, times: Tensor, tolerance: float
    ) -> Tensor:
        from torchdiffeq import odeint

        options = {"grid_constructor": lambda _func, _x_0, _t: times}
        states: Tensor = odeint(velocity, x_0, times[[0, -1]], method=self.method, options=options)
        return states[-1]


@dataclass(frozen=True)
class AdaptiveStep:
    """A method of torchdiffeq that chooses its steps by an estimate of the error."""

    method: str
    stages: int = 0

    def __call__(
        self, velocity: Callable[[Tensor, Tensor], Tensor], x_0: Tensor, times: Tensor, tolerance: float
    ) -> Tensor:
        from torchdiffeq import odeint

        states: Tensor = odeint(
            velocity, x_0, times[[0, -1]], method=self.method, rtol=tolerance, atol=tolerance
        )
        return states[-1]


EULER = FixedStep("euler", 1)
MIDPOINT = FixedStep("midpoint", 2)
HEUN = FixedStep("heun2", 2)
RK4 = FixedStep("rk4", 4)
DOPRI5 = AdaptiveStep("dopri5")
