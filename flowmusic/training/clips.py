"""What networks make, as sound files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from torch import Tensor

from features.audio import Audio, normalise_peak, write_audio

Clips = dict[str, Audio]
"""Sounds of one item of a batch, by what they are."""


def sound_of(samples: Tensor, sample_rate: int) -> Audio:
    """(C, S) of a network as sound that does not clip."""
    values = samples.float().cpu().numpy()
    return Audio(
        normalise_peak(values, 0.95) if np.abs(values).max(initial=0.0) > 0.95 else values, sample_rate
    )


def write_clips(folder: Path, items: Sequence[Clips], first: int) -> None:
    """FOLDER/<number>-<name>.wav; the items are numbered from `first`."""
    for number, clips in enumerate(items, first):
        for name, clip in clips.items():
            write_audio(folder / f"{number:04d}-{name}.wav", clip.samples, clip.sample_rate)
