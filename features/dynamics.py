"""The control "dynamics": how loud the music is over time."""

from __future__ import annotations

import numpy as np
import torch
from scipy.signal import sosfilt
from torch import Tensor

from features.audio import Audio
from features.controls import ControlSpec
from features.filters import gaussian_blur
from features.frames import CONTROL_FRAME_RATE, FrameGrid

SAMPLE_RATE = 48_000
FLOOR_DB = -60.0
"""The level that is 0 in the curve; 0 dB (K-weighted, full scale) is 1."""
BLUR_S = 0.25

# K-weighting at 48 kHz: a shelf for the head, then a high-pass (ITU-R BS.1770-5, tables 1 and 2).
_K_WEIGHTING = np.array(
    [
        [1.53512485958697, -2.69169618940638, 1.19839281085285, 1.0, -1.69065929318241, 0.73248077421585],
        [1.0, -2.0, 1.0, 1.0, -1.99004745483398, 0.99007225036621],
    ]
)


def dynamics(audio: Audio) -> Tensor:
    """The loudness curve of a recording, (T, 1) at 50 Hz: 0 at -60 dB and below, 1 at 0 dB, straight between.

    The level of a frame of 20 ms is its mean square after K-weighting, averaged over the channels. Music
    ControlNet (arXiv 2311.07069, §3.1) smooths a level in dB over a second by a Savitzky-Golay filter; here a
    Gaussian of 0.25 s does, because it never leaves [0, 1].
    """
    samples = audio.resampled(SAMPLE_RATE).samples  # (C, S)
    grid = FrameGrid.from_duration(audio.duration_s, CONTROL_FRAME_RATE)
    hop = grid.hop_samples(SAMPLE_RATE)
    weighted = np.zeros((samples.shape[0], grid.n_frames * hop))
    n_samples = min(samples.shape[1], weighted.shape[1])
    weighted[:, :n_samples] = sosfilt(_K_WEIGHTING, samples.astype(np.float64))[:, :n_samples]
    power = np.square(weighted).reshape(samples.shape[0], grid.n_frames, hop).mean(axis=(0, 2))  # (T,)
    level_db = 10.0 * np.log10(np.maximum(power, 1e-12))
    curve = torch.from_numpy(1.0 - level_db / FLOOR_DB).clamp(0.0, 1.0).float()
    return gaussian_blur(curve[:, None], BLUR_S, CONTROL_FRAME_RATE)


DYNAMICS = ControlSpec("dynamics", 1, "how loud the music is over time", "dynamics-1", dynamics)
