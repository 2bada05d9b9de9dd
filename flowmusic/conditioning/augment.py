"""Small errors added to training controls, of the kinds that extractors make."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from features.filters import gaussian_blur
from flowmusic.conditioning.condition import Condition


@dataclass(frozen=True)
class ControlErrors:
    """How far controls are disturbed; every item and control draws its own.

    Attributes:
        jitter_frames: largest shift in time, in control frames.
        blur_s: largest blur (standard deviation), in seconds.
        gain_low: smallest factor on the values; the largest is 1.
        noise: largest standard deviation of added noise.
        share: share of item-controls that are disturbed at all.
    """

    jitter_frames: int = 1
    blur_s: float = 0.04
    gain_low: float = 0.6
    noise: float = 0.05
    share: float = 0.5


def disturb(
    condition: Condition, errors: ControlErrors, generator: torch.Generator, frame_rate: float
) -> Condition:
    """`condition` with disturbed controls; values stay within [0, 1]."""
    fields = {}
    for name in condition.controls:
        value = condition.get(name)  # (B, F, C)
        draws = torch.rand(value.shape[0], 5, generator=generator).tolist()
        items = [
            _disturb_item(item, draw, errors, generator, frame_rate)
            for item, draw in zip(value, draws, strict=True)
        ]
        fields[name] = torch.stack(items)
    return condition.having(**fields)


def _disturb_item(
    value: Tensor, draw: list[float], errors: ControlErrors, generator: torch.Generator, frame_rate: float
) -> Tensor:
    """(F, C) -> (F, C)."""
    if draw[0] >= errors.share:
        return value
    shift = round((2 * draw[1] - 1) * errors.jitter_frames)
    value = gaussian_blur(shifted(value, shift), draw[2] * errors.blur_s + 1e-3, frame_rate)
    value = value * (errors.gain_low + (1 - errors.gain_low) * draw[3])
    noise = torch.randn(value.shape, generator=generator) * (errors.noise * draw[4])
    return (value + noise).clamp(0, 1)


def shifted(value: Tensor, shift: int) -> Tensor:
    """(F, C) moved by `shift` frames, later where it is positive; the frames at the edge are repeated."""
    places = torch.arange(value.shape[0]) - shift
    return value[places.clamp(0, value.shape[0] - 1)]
