"""The solver on equations whose solution is known, and its noise."""

from __future__ import annotations

import math

import pytest
import torch

from flowmusic.flow.solver import noise, solve, time_grid
from flowmusic.flow.solvers import SOLVERS


class Growth:
    """dx/dt = rate (1 + t) x: x(1) = x(0) exp(1.5 rate). Each clip has its own rate."""

    def __init__(self, rates: list[float]) -> None:
        self.rates = torch.tensor(rates, dtype=torch.float64)
        self.calls = 0

    def __call__(self, x_t: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        return self.rates[:, None, None] * x_t * (1 + t)[:, None, None]

    def item(self, index: int) -> Growth:
        return Growth([float(self.rates[index])])

    def solution(self, x_0: torch.Tensor) -> torch.Tensor:
        return x_0 * torch.exp(1.5 * self.rates)[:, None, None]


@pytest.fixture
def x_0() -> torch.Tensor:
    return torch.randn(2, 5, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("method", "order"), [("euler", 1), ("midpoint", 2), ("heun", 2), ("rk4", 4)])
def test_methods_have_their_order(x_0: torch.Tensor, method: str, order: int) -> None:
    field = Growth([1.0, -2.0])
    errors = []
    for steps in (16, 32, 64):
        result = solve(field, x_0, method, steps)
        assert result.evaluations == steps * SOLVERS.get(method).stages
        errors.append((result.latents - field.solution(x_0)).abs().max().item())
    slopes = [math.log2(errors[i] / errors[i + 1]) for i in range(2)]
    assert all(abs(slope - order) < 0.35 for slope in slopes), slopes


def test_dopri5_is_accurate_and_counts_each_clip(x_0: torch.Tensor) -> None:
    field = Growth([0.01, -6.0])
    result = solve(field, x_0, "dopri5", tolerance=1e-6)
    torch.testing.assert_close(result.latents, field.solution(x_0), atol=1e-4, rtol=1e-4)
    easy, hard = result.item_evaluations
    assert easy < hard == result.evaluations


@pytest.mark.parametrize("method", list(SOLVERS))
def test_clips_do_not_touch_each_other(x_0: torch.Tensor, method: str) -> None:
    both = solve(Growth([0.5, -6.0]), x_0, method, 4, tolerance=1e-3).latents
    alone = solve(Growth([0.5]), x_0[:1], method, 4, tolerance=1e-3).latents
    assert torch.equal(both[:1], alone)


def test_one_call_for_all_clips_if_wanted(x_0: torch.Tensor) -> None:
    field = Growth([0.5, -2.0])
    result = solve(field, x_0, "euler", 7, per_clip=False)
    assert field.calls == 7
    assert result.item_evaluations == (7, 7)


def test_grid_shifts_towards_noise_or_data() -> None:
    torch.testing.assert_close(time_grid(4), torch.linspace(0, 1, 5, dtype=torch.float64))
    for shift in (0.3, 1.0, 3.0):
        grid = time_grid(10, shift)
        assert grid[0] == 0
        assert grid[-1] == 1
        assert (grid.diff() > 0).all()
    assert time_grid(10, 3.0)[5] < 0.5 < time_grid(10, 0.3)[5]


def test_the_shift_changes_the_steps_not_the_solution(x_0: torch.Tensor) -> None:
    field = Growth([1.0, -2.0])
    for shift in (0.5, 2.0):
        torch.testing.assert_close(
            solve(field, x_0, "rk4", 40, shift).latents, field.solution(x_0), atol=1e-5, rtol=1e-5
        )


@pytest.mark.parametrize("method", list(SOLVERS))
def test_progress_goes_from_nothing_to_all(x_0: torch.Tensor, method: str) -> None:
    shares: list[float] = []
    result = solve(Growth([0.5, -2.0]), x_0, method, 3, progress=shares.append)
    assert shares[-1] == 1.0
    assert len(shares) == sum(result.item_evaluations) + 1
    assert all(0 <= share <= 1 for share in shares)


def test_no_gradients_are_kept(x_0: torch.Tensor) -> None:
    assert not solve(Growth([0.5, -2.0]), x_0.requires_grad_(), "euler", 2).latents.requires_grad


def test_impossible_settings_are_refused(x_0: torch.Tensor) -> None:
    field = Growth([0.5, -2.0])
    with pytest.raises(ValueError, match="unknown solver 'ddim'"):
        solve(field, x_0, "ddim")
    with pytest.raises(ValueError, match="steps must be at least 1, got 0"):
        solve(field, x_0, "euler", 0)
    with pytest.raises(ValueError, match="shift"):
        solve(field, x_0, "euler", 2, shift=0.0)
    with pytest.raises(ValueError, match="seed"):
        noise([-1], 2, 2)


def test_a_result_that_is_not_finite_is_said(x_0: torch.Tensor) -> None:
    with pytest.raises(
        ArithmeticError, match=r"guidance '99' in 2 steps of .*'euler' produced NaN or Inf: try"
    ):
        solve(Growth([float("nan"), 1.0]), x_0, "euler", 2, guidance="99")


@pytest.mark.parametrize("latent_dim", [7, 16, 19])
def test_noise_of_a_frame_depends_on_the_seed_alone(latent_dim: int) -> None:
    batch = noise([5, 6, 5], 30, latent_dim)
    assert torch.equal(batch[0], batch[2])
    assert not torch.equal(batch[0], batch[1])
    assert torch.equal(noise([6], 30, latent_dim)[0], batch[1])
    assert torch.equal(noise([6], 11, latent_dim)[0], batch[1, :11])  # a longer clip begins as a short one


def test_noise_is_standard_normal() -> None:
    drawn = noise([0, 1], 400, 20)
    assert abs(drawn.mean()) < 0.03
    assert abs(drawn.std() - 1) < 0.03
    frames = drawn[0]
    assert (frames[1:] * frames[:-1]).mean().abs() < 0.03  # frames are not copies of one another
