"""Conditions that run along time: channels beside x_t, frame by frame."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from features.controls import CONTROL_CHANNELS
from flowmusic.conditioning.condition import Condition
from flowmusic.model.config import FlowConfig


class TemporalConditioner(nn.Module):
    """Drums, melody, chords and known latents -> one feature vector per latent frame.

    JASCO (arXiv 2406.10970, §3.2) concatenates controls with x_t and applies one Linear. A Linear of a
    concatenation is the sum of Linears of its parts, so the part that does not change with x_t or t is
    this module, computed once a clip. Where a control is absent its learned null vector stands in, and
    its mask is one more channel: dropped in training and not given at generation are the same input.

    Shape: Condition of B items, T latent frames -> (B, T, H)
    """

    def __init__(self, config: FlowConfig) -> None:
        super().__init__()
        self.control_fold = config.control_fold
        self.latent_dim, self.sound_dim = config.latent_dim, config.sound_dim
        self.nulls = nn.ParameterDict(
            {name: nn.Parameter(torch.zeros(n)) for name, n in CONTROL_CHANNELS.items()}
        )
        self.context_null = nn.Parameter(torch.zeros(config.sound_dim))
        folded = config.control_fold * sum(channels + 1 for channels in CONTROL_CHANNELS.values())
        self.project = nn.Linear(folded + config.sound_dim + 1, config.width)

    def forward(self, condition: Condition) -> Tensor:
        parts = [self._control(condition, name) for name in CONTROL_CHANNELS]
        if condition.context.shape[2] != self.latent_dim:
            raise ValueError(
                f"known latents must have {self.latent_dim} channels, got {condition.context.shape[2]}"
            )
        context = condition.context[..., : self.sound_dim]  # the stereo image has a head of its own
        parts.append(_masked(context, condition.context_mask, self.context_null))
        features: Tensor = self.project(torch.cat(parts, dim=-1))  # (B, T, H)
        return features

    def _control(self, condition: Condition, name: str) -> Tensor:
        """Fold the control frames of a latent frame into channels: (B, F, C) -> (B, T, fold * (C + 1))."""
        value = condition.get(name)
        expected = (self.control_fold * condition.n_frames, CONTROL_CHANNELS[name])
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
