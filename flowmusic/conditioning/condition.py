"""Condition: everything the model is told about a batch of clips, and what it is not told."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from features.controls import CONTROL_CHANNELS, CONTROL_NAMES, Controls
from flowmusic.conditioning.style import StyleTokens
from flowmusic.conditioning.text import TextTokens
from flowmusic.model.config import FlowConfig

CONDITION_NAMES = (*CONTROL_NAMES, "text", "style", "context")
_TOKENS = ("text", "style")


@dataclass(frozen=True)
class Condition:
    """What is known of each clip of a batch. Where a mask is False the value is never read.

    Shape (F control frames = control_fold * T latent frames):
        drums   (B, F, 4)    energies in [0, 1]            drums_mask   (B, F) bool
        melody  (B, F, 53)   salience in [0, 1]            melody_mask  (B, F) bool
        chords  (B, F, 37)   chord channels in [0, 1]      chords_mask  (B, F) bool
        text    (B, L, E)    states of a text encoder      text_mask    (B, L) bool
        style   (B, M, N)    style tokens, M may be 0      style_mask   (B, M) bool
        context (B, T, D)    latents that are known        context_mask (B, T) bool, True = known
    """

    drums: Tensor
    drums_mask: Tensor
    melody: Tensor
    melody_mask: Tensor
    chords: Tensor
    chords_mask: Tensor
    text: Tensor
    text_mask: Tensor
    style: Tensor
    style_mask: Tensor
    context: Tensor
    context_mask: Tensor

    def __post_init__(self) -> None:
        for name in CONDITION_NAMES:
            value, mask = self.get(name), self.mask(name)
            if value.ndim != 3 or value.shape[:2] != mask.shape or mask.dtype != torch.bool:
                raise ValueError(
                    f"the condition's {name} must be (B, frames, channels) with a bool mask (B, frames), "
                    f"got {tuple(value.shape)} and {mask.dtype} {tuple(mask.shape)}"
                )
            if value.shape[0] != self.batch_size:
                raise ValueError(
                    f"the condition's {name} holds {value.shape[0]} items, others {self.batch_size}"
                )

    @property
    def batch_size(self) -> int:
        return self.context.shape[0]

    @property
    def n_frames(self) -> int:
        """Latent frames T."""
        return self.context.shape[1]

    def get(self, name: str) -> Tensor:
        value: Tensor = getattr(self, name)
        return value

    def mask(self, name: str) -> Tensor:
        mask: Tensor = getattr(self, f"{name}_mask")
        return mask

    @property
    def given(self) -> tuple[str, ...]:
        """Names of what is given to at least one item."""
        return tuple(name for name in CONDITION_NAMES if bool(self.mask(name).any()))

    @classmethod
    def null(cls, batch_size: int, n_frames: int, config: FlowConfig) -> Condition:
        """Nothing is known: every mask is False."""
        frames = config.control_fold * n_frames
        sizes = {name: (frames, channels) for name, channels in CONTROL_CHANNELS.items()}
        sizes |= {"text": (0, config.text_dim), "style": (0, config.style_dim)}
        sizes |= {"context": (n_frames, config.latent_dim)}
        tensors = {name: torch.zeros(batch_size, *size) for name, size in sizes.items()}
        tensors |= {
            f"{name}_mask": torch.zeros(batch_size, sizes[name][0], dtype=torch.bool) for name in sizes
        }
        return cls(**tensors)

    @classmethod
    def from_controls(
        cls,
        controls: Sequence[Controls],
        config: FlowConfig,
        text: TextTokens | None = None,
        style: StyleTokens | None = None,
    ) -> Condition:
        """Of one `Controls` per item, all of one length, a multiple of `config.control_fold` frames."""
        lengths = sorted({item.n_frames for item in controls})
        if len(lengths) != 1 or lengths[0] % config.control_fold:
            raise ValueError(
                f"controls must all have one length, a multiple of {config.control_fold}, got {lengths}"
            )
        condition = cls.null(len(controls), lengths[0] // config.control_fold, config)
        fields: dict[str, Tensor] = {}
        for name, channels in CONTROL_CHANNELS.items():
            empty = torch.zeros(lengths[0], channels)
            values = [empty if (value := item.get(name)) is None else value.float() for item in controls]
            fields[name] = torch.stack(values)
            fields[f"{name}_mask"] = torch.stack([item.mask(name) for item in controls])
        return replace(condition, **fields).with_tokens(text, style)

    def with_tokens(self, text: TextTokens | None = None, style: StyleTokens | None = None) -> Condition:
        """The same with other tokens of text or style (None: as they are)."""
        fields: dict[str, Tensor] = {}
        if text is not None:
            fields |= {"text": text.states, "text_mask": text.mask}
        if style is not None:
            fields |= {"style": style.tokens, "style_mask": style.mask}
        return replace(self, **fields)

    def with_context(self, context: Tensor, context_mask: Tensor) -> Condition:
        """The same with known latents (B, T, D) where context_mask (B, T) is True."""
        return replace(self, context=context, context_mask=context_mask)

    def keep(self, name: str, kept: Tensor) -> Condition:
        """`name` only where `kept` is True: (B,) by item, or of the shape of its mask."""
        _check_names((name,))
        mask = self.mask(name)
        wanted = kept.to(mask.device)
        return replace(self, **{f"{name}_mask": mask & (wanted[:, None] if wanted.ndim == 1 else wanted)})

    def without(self, *names: str) -> Condition:
        """The same, not told `names`: exactly what dropout in training makes of it."""
        _check_names(names)
        return replace(self, **{f"{name}_mask": torch.zeros_like(self.mask(name)) for name in names})

    def only(self, *names: str) -> Condition:
        """The same, told nothing but `names`."""
        _check_names(names)
        return self.without(*(name for name in CONDITION_NAMES if name not in names))

    def item(self, index: int) -> Condition:
        """One clip as a batch of one, without the padding that its neighbours needed."""
        one = self._map(lambda tensor: tensor[index : index + 1])
        fields: dict[str, Tensor] = {}
        for name in _TOKENS:
            held = one.mask(name)[0].nonzero()
            length = int(held.max()) + 1 if held.numel() else 0
            fields |= {name: one.get(name)[:, :length], f"{name}_mask": one.mask(name)[:, :length]}
        return replace(one, **fields)

    def repeat(self, times: int) -> Condition:
        """The whole batch `times` times over, one copy after the other."""
        return Condition.cat([self] * times)

    @staticmethod
    def cat(conditions: Sequence[Condition]) -> Condition:
        """Join along the batch; shorter token sequences are padded with masked tokens."""
        if not conditions:
            raise ValueError("expected at least one condition to join, got none")
        fields: dict[str, Tensor] = {}
        for name in CONDITION_NAMES:
            values, masks = [c.get(name) for c in conditions], [c.mask(name) for c in conditions]
            if name in _TOKENS:
                longest = max(mask.shape[1] for mask in masks)
                values = [_pad_frames(value, longest) for value in values]
                masks = [_pad_frames(mask, longest) for mask in masks]
            fields |= {name: torch.cat(values), f"{name}_mask": torch.cat(masks)}
        return Condition(**fields)

    def to(self, device: torch.device | str) -> Condition:
        return self._map(lambda tensor: tensor.to(device))

    def _map(self, function: Callable[[Tensor], Tensor]) -> Condition:
        names = [key for name in CONDITION_NAMES for key in (name, f"{name}_mask")]
        return Condition(**{key: function(getattr(self, key)) for key in names})


def _check_names(names: Sequence[str]) -> None:
    unknown = [name for name in names if name not in CONDITION_NAMES]
    if unknown:
        raise ValueError(f"unknown condition {unknown}; expected some of {list(CONDITION_NAMES)}")


def _pad_frames(tensor: Tensor, length: int) -> Tensor:
    """Zeros (False in a mask) after the second axis up to `length`."""
    missing = length - tensor.shape[1]
    if missing == 0:
        return tensor
    return torch.cat([tensor, tensor.new_zeros(tensor.shape[0], missing, *tensor.shape[2:])], dim=1)
