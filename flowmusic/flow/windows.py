"""Clips of any length: overlapping windows of the trained length that share one velocity where they overlap.

At every evaluation of the ODE each window is given its own part of x_t and of the conditions; where
windows overlap, their velocities are averaged with weights that fall to zero at a window's ends
(MultiDiffusion, arXiv 2302.08113, eq. 5, with a taper). All windows move along one path, so there is
no border to hide afterwards. A circular plan joins the end of the clip to its start.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from flowmusic.conditioning.condition import Condition
from flowmusic.flow.guidance import GuidanceSpec
from flowmusic.flow.guided_velocity import GuidedVelocity, TokenReader
from flowmusic.flow.schedule import Guidance
from flowmusic.model.config import FlowConfig
from flowmusic.model.transformer import FlowTransformer

LONGEST_WHOLE_S = 30.0
"""A clip up to this length is one window: attention still holds a little beyond the trained length."""


@dataclass(frozen=True)
class WindowPlan:
    """Where the windows of a clip begin; one past the end continues at the start if `circular`.

    Every frame lies in at least one window.
    """

    n_frames: int
    size: int
    starts: tuple[int, ...]
    circular: bool = False

    def __post_init__(self) -> None:
        if not 1 <= self.size <= self.n_frames:
            raise ValueError(f"a window must have 1 to {self.n_frames} frames, got {self.size}")
        covered = torch.zeros(self.n_frames, dtype=torch.bool)
        for index in range(len(self.starts)):
            frames = self.frames(index)
            if int(frames.max()) >= self.n_frames:
                raise ValueError(f"window {index} ends after the clip's {self.n_frames} frames")
            covered[frames] = True
        if not covered.all():
            raise ValueError("some frames of the clip lie in no window")

    @property
    def whole(self) -> bool:
        """One window is the clip."""
        return len(self.starts) == 1

    def frames(self, index: int) -> Tensor:
        """Frames of a window, (size,) int64."""
        frames = torch.arange(self.size) + self.starts[index]
        return frames % self.n_frames if self.circular else frames

    def taper(self) -> Tensor:
        """Weight of each frame of a window, (size,): raised-cosine ramps as long as the overlap."""
        if self.whole:
            return torch.ones(self.size)
        hop = min(b - a for a, b in zip(self.starts, self.starts[1:], strict=False))
        ramp = max(1, min(self.size - hop, self.size // 2))
        distance = torch.minimum(torch.arange(self.size), torch.arange(self.size).flip(0)) + 0.5
        return torch.sin(0.5 * torch.pi * (distance / ramp).clamp(max=1)).square()


def clip_windows(
    n_frames: int, frame_rate: float, circular: bool = False, window_s: float = FlowConfig.window_s
) -> WindowPlan:
    """The windows of a clip of `n_frames` latent frames, `frame_rate` of them a second.

    window_s: their length, as the model's configuration has it; they overlap by half of it.
    """
    size, longest = (round(seconds * frame_rate) for seconds in (window_s, LONGEST_WHOLE_S))
    return plan_windows(n_frames, size, size // 2, longest, circular)


def plan_windows(
    n_frames: int, size: int, overlap: int, longest_whole: int = 0, circular: bool = False
) -> WindowPlan:
    """Windows of `size` frames that overlap by at least `overlap`, evenly spread over the clip.

    A clip of up to `longest_whole` frames is one window; a circular one has at least two, so that
    the middle of one lies where the other ends.
    """
    if not 0 <= overlap < size:
        raise ValueError(f"windows of {size} frames cannot overlap by {overlap}")
    if circular:
        size = min(size, n_frames)
        n_windows = max(2, -(-n_frames // (size - min(overlap, size // 2))))
        starts = tuple(index * n_frames // n_windows for index in range(n_windows))
        return WindowPlan(n_frames, size, starts, circular=True)
    if n_frames <= max(size, longest_whole):
        return WindowPlan(n_frames, n_frames, (0,))
    n_windows = -(-(n_frames - overlap) // (size - overlap))
    starts = tuple(round(float(start)) for start in np.linspace(0, n_frames - size, n_windows))
    return WindowPlan(n_frames, size, starts)


def take_frames(condition: Condition, frames: Tensor, control_fold: int) -> Condition:
    """The condition of some latent frames (N,) of a clip, with the control frames that they fold."""
    fine = (frames[:, None] * control_fold + torch.arange(control_fold)).flatten()  # (N * fold,)
    fields: dict[str, Tensor] = {}
    for name, index in [(name, fine) for name in condition.controls] + [("context", frames)]:
        value, mask = condition.get(name), condition.mask(name)
        fields |= {name: value[:, index.to(value.device)], f"{name}_mask": mask[:, index.to(mask.device)]}
    return condition.having(**fields)


class WindowedVelocity:
    """The guided velocity of clips of any length: a `flowmusic.flow.solver.VelocityField`.

    Windows are evaluated one after another, so that memory does not grow with the clip; those whose
    latents are all known are left out.

    frame_mask   None or (B, T): False where a clip is padded, of clips that are one window
    """

    def __init__(
        self,
        model: FlowTransformer,
        condition: Condition,
        guidance: GuidanceSpec | Guidance,
        plan: WindowPlan,
        frame_mask: Tensor | None = None,
    ) -> None:
        if frame_mask is not None and not plan.whole:
            raise ValueError("clips of several windows must have one length, got a mask of padded frames")
        self.model, self.condition, self.guidance, self.plan = model, condition, guidance, plan
        self.frame_mask = frame_mask
        self.taper = plan.taper().to(condition.context.device)[:, None]  # (size, 1)
        self.windows: list[tuple[Tensor, GuidedVelocity]] = []
        reader = TokenReader(model, condition)
        for index in range(len(plan.starts)):
            frames = plan.frames(index)
            part = take_frames(condition, frames, model.config.control_fold)
            if not part.context_mask.all():
                field = GuidedVelocity(model, part, guidance, frame_mask, frames, reader)
                self.windows.append((frames.to(self.taper.device), field))
        self.n_sets = max((field.n_sets for _, field in self.windows), default=0)

    def __call__(self, x_t: Tensor, t: Tensor) -> Tensor:
        """x_t (B, T, D), t (B,) -> (B, T, D)."""
        if self.plan.whole and self.windows:
            return self.windows[0][1](x_t, t)
        total, weight = torch.zeros_like(x_t), x_t.new_zeros(x_t.shape[1], 1)
        for frames, field in self.windows:
            total.index_add_(1, frames, self.taper * field(x_t[:, frames], t))
            weight.index_add_(0, frames, self.taper)
        return total / weight.clamp(min=1e-12)

    def item(self, index: int) -> WindowedVelocity:
        """The same for one clip alone, without anything of its neighbours."""
        mask = None if self.frame_mask is None else self.frame_mask[index : index + 1]
        return WindowedVelocity(self.model, self.condition.item(index), self.guidance, self.plan, mask)
