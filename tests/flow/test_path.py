"""The path, its conversions, and the loss."""

from __future__ import annotations

import pytest
import torch

from flowmusic.flow.path import OTPath, cfm_loss, sample_times, time_weights


@pytest.fixture
def ends() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(4, 9, 6, generator=generator), torch.randn(4, 9, 6, generator=generator)


def test_the_path_begins_at_noise_and_ends_at_data(ends: tuple[torch.Tensor, torch.Tensor]) -> None:
    x_0, x_1 = ends
    path = OTPath(sigma=1e-3)
    assert torch.equal(path.sample(x_0, x_1, torch.zeros(4)), x_0)
    torch.testing.assert_close(path.sample(x_0, x_1, torch.ones(4)), x_1 + 1e-3 * x_0, atol=1e-6, rtol=0)


def test_the_target_is_the_derivative_of_the_path(ends: tuple[torch.Tensor, torch.Tensor]) -> None:
    x_0, x_1 = (x.double() for x in ends)
    path, t, dt = OTPath(), torch.rand(4, dtype=torch.float64), 1e-3
    slope = (path.sample(x_0, x_1, t + dt) - path.sample(x_0, x_1, t - dt)) / (2 * dt)
    torch.testing.assert_close(slope, path.velocity(x_0, x_1), atol=1e-9, rtol=0)


@pytest.mark.parametrize("sigma", [0.0, 1e-5, 0.1])
def test_velocity_and_data_round_trip(ends: tuple[torch.Tensor, torch.Tensor], sigma: float) -> None:
    x_0, x_1 = (x.double() for x in ends)
    path, t = OTPath(sigma), torch.tensor([0.0, 0.3, 0.8, 0.99], dtype=torch.float64)
    x_t, velocity = path.sample(x_0, x_1, t), path.velocity(x_0, x_1)
    pointed = path.velocity_to_x_1(velocity, x_t, t)
    torch.testing.assert_close(pointed, x_1, atol=1e-9, rtol=0)
    torch.testing.assert_close(path.x_1_to_velocity(pointed, x_t, t), velocity, atol=1e-9, rtol=0)


@pytest.mark.parametrize("sampler", ["uniform", "logit_normal"])
def test_times_are_spread_as_asked(sampler: str) -> None:
    generator = torch.Generator().manual_seed(0)
    t = torch.cat([sample_times(16, generator, sampler) for _ in range(500)])
    assert t.min() >= 0
    assert t.max() <= 1
    assert abs(t.mean() - 0.5) < 0.01
    quarter = torch.quantile(t, 0.75) - 0.5
    assert abs(quarter - {"uniform": 0.25, "logit_normal": 0.6625 - 0.5}[sampler]) < 0.01


def test_each_item_of_a_batch_has_times_from_all_of_the_range() -> None:
    generator = torch.Generator().manual_seed(0)
    first = torch.stack([sample_times(8, generator)[0] for _ in range(400)])
    assert abs(first.mean() - 0.5) < 0.05
    assert first.std() > 0.25
    strata = (sample_times(8, generator) * 8).long()
    assert strata.sort().values.tolist() == list(range(8))


def test_time_weights() -> None:
    t = torch.tensor([0.0, 0.5, 1.0])
    assert time_weights(t, "1+t").tolist() == [1.0, 1.5, 2.0]
    assert time_weights(t, "uniform").tolist() == [1.0, 1.0, 1.0]


@pytest.mark.parametrize("field", ["sampler", "weight"])
def test_unknown_options_are_refused(field: str) -> None:
    generator = torch.Generator()
    with pytest.raises(ValueError, match="expected one of"):
        if field == "sampler":
            sample_times(2, generator, "beta")
        else:
            time_weights(torch.zeros(2), "snr")


def test_a_perfect_model_has_no_loss() -> None:
    x_1 = torch.randn(5, 7, 3).double()
    path = OTPath()

    def perfect(x_t: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        return path.x_1_to_velocity(x_1, x_t, t)

    out = cfm_loss(perfect, x_1, torch.Generator().manual_seed(0))
    assert out.loss < 1e-9


def test_the_loss_is_reproducible_and_weighted() -> None:
    x_1 = torch.randn(5, 7, 3)

    def zero(x_t: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        return torch.zeros_like(x_t)

    plain = cfm_loss(zero, x_1, torch.Generator().manual_seed(3), weight="uniform")
    again = cfm_loss(zero, x_1, torch.Generator().manual_seed(3), weight="uniform")
    late = cfm_loss(zero, x_1, torch.Generator().manual_seed(3), weight="1+t")
    assert torch.equal(plain.loss, again.loss)
    torch.testing.assert_close(plain.loss, plain.per_item.mean())
    torch.testing.assert_close(late.loss, ((1 + late.t) * late.per_item).mean())


def test_masked_frames_do_not_count() -> None:
    x_1 = torch.randn(3, 8, 4)
    mask = torch.ones(3, 8, dtype=torch.bool)
    mask[0, 2:6] = False
    mask[2] = False  # an item that is known as a whole

    def wrong_where_masked(x_t: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        exact = OTPath().x_1_to_velocity(x_1, x_t, t)
        return torch.where(mask.unsqueeze(-1), exact, exact + 50.0)

    out = cfm_loss(wrong_where_masked, x_1, torch.Generator().manual_seed(0), frame_mask=mask)
    assert out.loss < 1e-6
    assert torch.isfinite(out.per_item).all()
