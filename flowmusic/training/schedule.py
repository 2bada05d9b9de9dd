"""Learning-rate schedules by steps."""

from __future__ import annotations


def learning_rate_at(step: int, peak: float, warmup_steps: int, total_steps: int, decay_steps: int) -> float:
    """Linear warm-up, a constant stretch, a linear decay to a hundredth over the last `decay_steps`."""
    if step < warmup_steps:
        return peak * (step + 1) / warmup_steps
    left = total_steps - step
    return peak * max(min(1.0, left / max(decay_steps, 1)), 0.01)
