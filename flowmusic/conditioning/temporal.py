"""Conditions that run along time: channels beside x_t, frame by frame."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from features.controls import CONTROLS
from flowmusic.conditioning.condition import Condition, ConditionShape


class TemporalConditioner(nn.Module):
    """Controls and known latents -> one feature vector per latent frame.

    JASCO (arXiv 2406.10970, §3.2) concatenates controls with x_t and applies one Linear. A Linear of a
    concatenation is the sum of Linears of its parts, so the part that does not change with x_t or t is
    this module, computed once a clip. Where a control is absent its learned null vector stands in, and
    its mask is one more channel: dropped in training and not given at generation are the same input.

    Args:
        shape: of the conditions; the weights have the channels of its controls in their order.
        sound_dim: how many of the latents, the first ones, are known to this module; the others are the
            stereo image, which has a head of its own.
        width: H.

    Shape: Condition of B items, T latent frames -> (B, T, H)
    """

    def __init__(self, shape: ConditionShape, sound_dim: int, width: int) -> None:
        super().__init__()
        self.control_fold, self.latent_dim, self.sound_dim = shape.control_fold, shape.latent_dim, sound_dim
        self.channels = {name: CONTROLS.get(name).channels for name in shape.controls}
        self.nulls = nn.ParameterDict(
            {name: nn.Parameter(torch.zeros(n)) for name, n in self.channels.items()}
        )
        self.context_null = nn.Parameter(torch.zeros(sound_dim))
        folded = shape.control_fold * sum(channels + 1 for channels in self.channels.values())
        self.project = nn.Linear(folded + sound_dim + 1, width)

    def forward(self, condition: Condition) -> Tensor:
        if condition.controls != tuple(self.channels):
            raise ValueError(
                f"the condition must have the controls {', '.join(self.channels)}, "
                f"got {', '.join(condition.controls)}"
            )
        parts = [self._control(condition, name) for name in self.channels]
        if condition.context.shape[2] != self.latent_dim:
            raise ValueError(
                f"known latents must have {self.latent_dim} channels, got {condition.context.shape[2]}"
            )
        context = condition.context[..., : self.sound_dim]
        parts.append(_masked(context, condition.context_mask, self.context_null))
        features: Tensor = self.project(torch.cat(parts, dim=-1))  # (B, T, H)
        return features

    def _control(self, condition: Condition, name: str) -> Tensor:
        """Fold the control frames of a latent frame into channels: (B, F, C) -> (B, T, fold * (C + 1))."""
        value = condition.get(name)
        expected = (self.control_fold * condition.n_frames, self.channels[name])
        if tuple(value.shape[1:]) != expected:
            raise ValueError(
                f"{name} must have shape (B, {expected[0]}, {expected[1]}), got {tuple(value.shape)}"
            )
        filled = _masked(value, condition.mask(name), self.nulls[name])
        return filled.reshape(value.shape[0], condition.n_frames, -1)  # (B, T, fold * (C + 1))


def _masked(value: Tensor, mask: Tensor, null: Tensor) -> Tensor:
    """The value where it is given, else the null vector; and the mask as a last channel."""
    given = mask.unsqueeze(-1)
    return torch.cat([torch.where(given, value, null.to(value.dtype)), given.to(value.dtype)], dim=-1)
