"""What training hides from the model, drawn for every item of a batch by itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from flowmusic.conditioning.condition import Condition


@dataclass(frozen=True)
class DropoutRates:
    """Probabilities, each drawn per item.

    everything    all controls, text and style together: the null that guidance refers to
    controls      all controls together: so that words and styles also learn to do without
    each          each control by itself
    by_control    each control that it names by itself, instead of `each`
    text, style   each by itself
    span          a control that is left is given for a part of the clip only
    no_context    no latent is known; otherwise one or two spans are, as for inpainting
    """

    everything: float = 0.15
    controls: float = 0.25
    each: float = 0.35
    text: float = 0.3
    style: float = 0.4
    span: float = 0.2
    no_context: float = 0.6
    by_control: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        names = ("everything", "controls", "each", "text", "style", "span", "no_context")
        rates = {name: getattr(self, name) for name in names}
        for name, rate in (
            rates | {f"by_control.{key}": rate for key, rate in self.by_control.items()}
        ).items():
            if not 0 <= rate <= 1:
                raise ValueError(f"DropoutRates.{name} must be a probability from 0 to 1, got {rate}")

    def of(self, name: str) -> float:
        """The rate of a control, of text or of style by itself."""
        return {"text": self.text, "style": self.style}.get(name, self.by_control.get(name, self.each))


def drop_conditions(condition: Condition, rates: DropoutRates, generator: torch.Generator) -> Condition:
    """Hide conditions from items at random; `generator` is a CPU one. The context is left as it is.

    (Known latents have their own draw in `context_masks`: guidance never takes them away.)
    """
    batch_size = condition.batch_size
    kept_any = torch.rand(batch_size, generator=generator) >= rates.everything
    kept_controls = kept_any & (torch.rand(batch_size, generator=generator) >= rates.controls)
    controls = condition.controls
    for name in (*controls, "text", "style"):
        kept = kept_controls if name in controls else kept_any
        kept = kept & (torch.rand(batch_size, generator=generator) >= rates.of(name))
        condition = condition.keep(name, kept)
        if name in controls:
            frames = condition.mask(name).shape[1]
            condition = condition.keep(name, _span_masks(batch_size, frames, rates.span, generator))
    return condition


def context_masks(batch_size: int, n_frames: int, rates: DropoutRates, generator: torch.Generator) -> Tensor:
    """Frames whose latents are known, (B, T) bool: none, or prefix, suffix, all but a hole, a middle part.

    At least one frame of each item stays unknown.
    """
    bounds = _spans(batch_size, n_frames, generator)  # a span per item, its ends anywhere in the clip
    starts, ends = bounds[:, :1], bounds[:, 1:]
    frames = torch.arange(n_frames)[None]
    inside = (frames >= starts) & (frames < ends)
    prefix, suffix = frames < starts, frames >= ends.clamp(min=1)
    kind = torch.randint(4, (batch_size, 1), generator=generator)
    known = torch.where(
        kind == 0, prefix, torch.where(kind == 1, suffix, torch.where(kind == 2, ~inside, inside))
    )
    known &= torch.rand(batch_size, 1, generator=generator) >= rates.no_context
    return known & ~known.all(dim=1, keepdim=True)


def _spans(batch_size: int, n_frames: int, generator: torch.Generator) -> Tensor:
    """Random spans [start, end) with 0 <= start < end <= n_frames where there is a frame, (B, 2)."""
    ends = (torch.rand(batch_size, 2, generator=generator) * (n_frames + 1)).long().sort(dim=1).values
    starts = torch.minimum(ends[:, 0], ends[:, 1] - 1).clamp(min=0)
    return torch.stack([starts, torch.maximum(ends[:, 1], starts + 1).clamp(max=n_frames)], dim=1)


def _span_masks(batch_size: int, n_frames: int, rate: float, generator: torch.Generator) -> Tensor:
    """(B, F) bool: True everywhere, or with probability `rate` only inside, or only outside, a span."""
    bounds = _spans(batch_size, n_frames, generator)
    frames = torch.arange(n_frames)[None]
    inside = (frames >= bounds[:, :1]) & (frames < bounds[:, 1:])
    flipped = torch.rand(batch_size, 1, generator=generator) < 0.5
    whole = torch.rand(batch_size, 1, generator=generator) >= rate
    return whole | (inside ^ flipped)
