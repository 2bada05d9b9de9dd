"""The straight path from noise to data, and the loss of flow matching along it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

TIME_SAMPLERS = ("uniform", "logit_normal")
TIME_WEIGHTS = ("uniform", "1+t")


@dataclass(frozen=True)
class OTPath:
    """Conditional optimal-transport path (arXiv 2210.02747, eq. 20-23).

        x_t      = (1 - (1 - sigma) t) x_0 + t x_1
        velocity = x_1 - (1 - sigma) x_0

    x_0 is noise, x_1 data, t (B,) in [0, 1]; tensors are (B, T, D).
    """

    sigma: float = 1e-5

    def sample(self, x_0: Tensor, x_1: Tensor, t: Tensor) -> Tensor:
        """x_t on the path."""
        t = _over_frames(t)
        return (1 - (1 - self.sigma) * t) * x_0 + t * x_1

    def velocity(self, x_0: Tensor, x_1: Tensor) -> Tensor:
        """The target of the model: the same at every t."""
        return x_1 - (1 - self.sigma) * x_0

    def velocity_to_x_1(self, velocity: Tensor, x_t: Tensor, t: Tensor) -> Tensor:
        """The data that a velocity at x_t points to: (1 - sigma) x_t + (1 - (1 - sigma) t) velocity."""
        t = _over_frames(t)
        return (1 - self.sigma) * x_t + (1 - (1 - self.sigma) * t) * velocity

    def x_1_to_velocity(self, x_1: Tensor, x_t: Tensor, t: Tensor) -> Tensor:
        """The velocity at x_t that leads to x_1: (x_1 - (1 - sigma) x_t) / (1 - (1 - sigma) t)."""
        t = _over_frames(t)
        return (x_1 - (1 - self.sigma) * x_t) / (1 - (1 - self.sigma) * t)


def sample_times(batch_size: int, generator: torch.Generator, sampler: str = "uniform") -> Tensor:
    """Times t (B,) in [0, 1), each distributed as `sampler` says and together spread evenly over it.

    'uniform'; 'logit_normal': the sigmoid of a standard normal, more of the middle of the path
    (arXiv 2403.03206, §3.1). The batch takes one draw of each of B equal quantiles in random order:
    each t alone is distributed as before, the loss of a batch varies less. Times are on the generator's
    device.
    """
    if sampler not in TIME_SAMPLERS:
        raise ValueError(f"unknown sampler of times {sampler!r}; expected one of {TIME_SAMPLERS}")
    device = generator.device
    order = torch.randperm(batch_size, generator=generator, device=device)
    quantiles = (order + torch.rand(batch_size, generator=generator, device=device)) / batch_size
    if sampler == "uniform":
        return quantiles
    return torch.sigmoid(math.sqrt(2.0) * torch.erfinv((2 * quantiles - 1).clamp(-1 + 1e-6, 1 - 1e-6)))


def time_weights(t: Tensor, weight: str) -> Tensor:
    """Weight (B,) of the loss at t: 'uniform', or '1+t' as in JASCO (arXiv 2406.10970, §3.1)."""
    if weight not in TIME_WEIGHTS:
        raise ValueError(f"unknown weight of times {weight!r}; expected one of {TIME_WEIGHTS}")
    return 1 + t if weight == "1+t" else torch.ones_like(t)


@dataclass(frozen=True)
class FlowLoss:
    """loss: the scalar to minimise, a mean over the `n_frames` frames that count (a scalar).

    per_item (B,): unweighted mean squared error at the times t (B,).
    """

    loss: Tensor
    per_item: Tensor
    t: Tensor
    n_frames: Tensor


def cfm_loss(
    velocity_fn: Callable[[Tensor, Tensor], Tensor],
    x_1: Tensor,
    generator: torch.Generator,
    path: OTPath | None = None,
    sampler: str = "uniform",
    weight: str = "1+t",
    frame_mask: Tensor | None = None,
) -> FlowLoss:
    """`loss_at` with times and noise of a CPU generator: a seed gives the same loss on any device."""
    t = sample_times(x_1.shape[0], generator, sampler).to(x_1.device)
    x_0 = torch.randn(x_1.shape, generator=generator).to(x_1.device)
    return loss_at(velocity_fn, x_0, x_1, t, path, weight, frame_mask)


def loss_at(
    velocity_fn: Callable[[Tensor, Tensor], Tensor],
    x_0: Tensor,
    x_1: Tensor,
    t: Tensor,
    path: OTPath | None = None,
    weight: str = "1+t",
    frame_mask: Tensor | None = None,
) -> FlowLoss:
    """Conditional flow-matching loss E |v(x_t, t) - (x_1 - (1 - sigma) x_0)|^2 of one batch.

    velocity_fn  (x_t (B, T, D), t (B,)) -> (B, T, D), with the condition of the batch inside
    x_0, x_1     noise and data (B, T, D)
    frame_mask   None or (B, T) bool: only True frames count (a padded clip, an inpainted part)
    """
    path = OTPath() if path is None else path
    errors = (velocity_fn(path.sample(x_0, x_1, t), t) - path.velocity(x_0, x_1)).square()  # (B, T, D)
    per_frame = errors.mean(dim=2)  # (B, T)
    counted = torch.ones_like(per_frame) if frame_mask is None else frame_mask.to(per_frame.dtype)
    item_sums, item_frames = (per_frame * counted).sum(1), counted.sum(1)
    n_frames = item_frames.sum().clamp(min=1)
    # every counted frame has the same say, so an item that is mostly known weighs little
    loss = (time_weights(t, weight) * item_sums).sum() / n_frames
    return FlowLoss(loss, (item_sums / item_frames.clamp(min=1)).detach(), t, n_frames)


def _over_frames(t: Tensor) -> Tensor:
    """t (B,) or a scalar, shaped to multiply (B, T, D)."""
    return t[:, None, None] if t.ndim == 1 else t
