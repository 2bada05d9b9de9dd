"""Time axes: the only place where seconds, frames and samples are converted into each other."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

CONTROL_FRAME_RATE = 50.0
"""Frames per second of every control signal."""


def frames_in(duration_s: float, frame_rate: float) -> int:
    """Frames needed to cover `duration_s`: a last, partly filled frame counts."""
    return max(0, math.ceil(duration_s * frame_rate - 1e-6))


@dataclass(frozen=True)
class FrameGrid:
    """A regular time axis of `n_frames` frames, `frame_rate` of them a second.

    Frame i covers [i, i + 1) / frame_rate seconds; its time is the middle of that span.
    """

    frame_rate: float
    n_frames: int

    def __post_init__(self) -> None:
        if not (math.isfinite(self.frame_rate) and self.frame_rate > 0):
            raise ValueError(f"frame_rate must be a positive number, got {self.frame_rate}")
        if self.n_frames < 0:
            raise ValueError(f"n_frames must not be negative, got {self.n_frames}")

    @classmethod
    def from_duration(cls, duration_s: float, frame_rate: float = CONTROL_FRAME_RATE) -> FrameGrid:
        if not (math.isfinite(duration_s) and duration_s >= 0):
            raise ValueError(f"duration_s must be a number of seconds >= 0, got {duration_s}")
        return cls(frame_rate, frames_in(duration_s, frame_rate))

    @property
    def duration_s(self) -> float:
        return self.n_frames / self.frame_rate

    def times_s(self) -> np.ndarray:
        """Middle of each frame in seconds, shape (T,)."""
        return (np.arange(self.n_frames) + 0.5) / self.frame_rate

    def hop_samples(self, sample_rate: int) -> int:
        """Samples a frame; ValueError where that is not a whole number."""
        hop = sample_rate / self.frame_rate
        if abs(hop - round(hop)) > 1e-9:
            raise ValueError(
                f"a frame rate of {self.frame_rate} Hz does not divide the sample rate {sample_rate} Hz"
            )
        return round(hop)

    def slice_between(self, start_s: float, end_s: float) -> slice:
        """Frames whose middle lies in [start_s, end_s)."""
        first, last = (
            min(max(math.ceil(time_s * self.frame_rate - 0.5 - 1e-9), 0), self.n_frames)
            for time_s in (start_s, end_s)
        )
        return slice(first, max(first, last))
