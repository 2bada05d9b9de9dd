"""Guidance by frame: which sets of conditions are evaluated for a clip, and how much each counts."""

from __future__ import annotations

import torch
from torch import Tensor

from flowmusic.flow.guidance import summed_weights
from flowmusic.flow.schedule import Guidance


def weights_by_frame(
    guidance: Guidance, given: frozenset[str], frames: Tensor, frame_rate: float
) -> dict[frozenset[str], Tensor]:
    """Weight of each condition set: (), or (T, 1) where it changes along the clip.

    Sets that come to the same for the conditions `given` are one; a set whose weight is zero on all frames is
    none. frames (T,): which frames of the clip these are, `frame_rate` a second.
    """
    spans = guidance.spans
    by_span = [
        summed_weights((item.conditions.among(given), item.weight) for item in span.spec.sets)
        for span in spans
    ]
    if len(spans) == 1:
        return {conditions: torch.tensor(weight) for conditions, weight in by_span[0].items()}
    starts = torch.tensor([span.start_s for span in spans[1:]])
    index = torch.bucketize((frames + 0.5) / frame_rate, starts, right=True)  # by the middle of each frame
    weights = {}
    for conditions in dict.fromkeys(conditions for sets in by_span for conditions in sets):
        weight = torch.tensor([sets.get(conditions, 0.0) for sets in by_span])[index, None]  # (T, 1)
        if bool(weight.any()):
            weights[conditions] = weight
    return weights
