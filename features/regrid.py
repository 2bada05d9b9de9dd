"""Values that an extractor gives at times of its own -> the frames of a grid."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from features.frames import FrameGrid


def onto_grid(values: Tensor, times_s: np.ndarray, grid: FrameGrid) -> Tensor:
    """Linear interpolation of (N, C) at ascending `times_s` (N,) to the middles of the frames, (T, C).

    Before the first and after the last time the nearest value holds.
    """
    if len(times_s) == 0 or len(times_s) != values.shape[0]:
        raise ValueError(
            f"expected one time a value and one value at least, got {len(times_s)} and {len(values)}"
        )
    if len(times_s) == 1:
        return values.expand(grid.n_frames, -1).clone()
    times = np.clip(grid.times_s(), times_s[0], times_s[-1])
    right = np.clip(np.searchsorted(times_s, times), 1, len(times_s) - 1)
    share = (times - times_s[right - 1]) / (times_s[right] - times_s[right - 1])
    weight = torch.from_numpy(share.astype(np.float32))[:, None]  # (T, 1)
    return values[right - 1] * (1.0 - weight) + values[right] * weight
