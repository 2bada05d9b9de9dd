"""Condition: everything that conditions the model on a batch of clips, and what is hidden from it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from features.controls import CONTROL_NAMES, CONTROLS, Controls
from flowmusic.conditioning.style import StyleTokens
from flowmusic.conditioning.text import TextTokens

_TOKENS = ("text", "style")
_OTHERS = (*_TOKENS, "context")
_MASK = "_mask"


@dataclass(frozen=True)
class ConditionShape:
    """What a model's conditions look like.

    controls       names of the controls that the model was trained with, in the order of its weights
    control_fold   control frames F for each latent frame
    latent_dim     channels D of the latents
    text_dim       channels E of the states of the text encoder
    style_dim      channels N of a style token
    """

    latent_dim: int
    text_dim: int
    style_dim: int
    control_fold: int = 2
    controls: tuple[str, ...] = CONTROL_NAMES

    def check_controls(self, names: Sequence[str]) -> None:
        """ValueError for a control that the model was not trained with."""
        for name in names:
            if name not in self.controls:
                raise ValueError(
                    f"the model was trained with {', '.join(self.controls)}; it knows no control {name!r}"
                )


@dataclass(frozen=True, eq=False)
class Condition:
    """What is known of each clip of a batch, by name. Where a mask is False the value is never read.

    Shape (F control frames = control_fold * T latent frames, C channels of the control):
        values[control]    (B, F, C)    in [0, 1]                     masks[control]   (B, F) bool
        values["text"]     (B, L, E)    states of a text encoder      masks["text"]    (B, L) bool
        values["style"]    (B, M, N)    style tokens, M may be 0      masks["style"]   (B, M) bool
        values["context"]  (B, T, D)    latents that are known        masks["context"] (B, T) bool
    """

    values: Mapping[str, Tensor]
    masks: Mapping[str, Tensor]

    def __post_init__(self) -> None:
        for name, value in self.values.items():
            mask = self.masks[name]
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
    def names(self) -> tuple[str, ...]:
        """All conditions that there may be: the controls, then text, style and context."""
        return tuple(self.values)

    @property
    def controls(self) -> tuple[str, ...]:
        return tuple(name for name in self.values if name not in _OTHERS)

    @property
    def text(self) -> Tensor:
        return self.values["text"]

    @property
    def style(self) -> Tensor:
        return self.values["style"]

    @property
    def context(self) -> Tensor:
        return self.values["context"]

    @property
    def context_mask(self) -> Tensor:
        return self.masks["context"]

    @property
    def batch_size(self) -> int:
        return self.context.shape[0]

    @property
    def n_frames(self) -> int:
        """Latent frames T."""
        return self.context.shape[1]

    def get(self, name: str) -> Tensor:
        return self.values[name]

    def mask(self, name: str) -> Tensor:
        return self.masks[name]

    @property
    def given(self) -> tuple[str, ...]:
        """Names of what is given to at least one item."""
        return tuple(name for name, mask in self.masks.items() if bool(mask.any()))

    @classmethod
    def null(cls, batch_size: int, n_frames: int, shape: ConditionShape) -> Condition:
        """Nothing is known: every mask is False."""
        frames = shape.control_fold * n_frames
        sizes = {name: (frames, CONTROLS.get(name).channels) for name in shape.controls}
        sizes |= {"text": (0, shape.text_dim), "style": (0, shape.style_dim)}
        sizes |= {"context": (n_frames, shape.latent_dim)}
        return cls(
            {name: torch.zeros(batch_size, *size) for name, size in sizes.items()},
            {name: torch.zeros(batch_size, size[0], dtype=torch.bool) for name, size in sizes.items()},
        )

    @classmethod
    def from_controls(
        cls,
        controls: Sequence[Controls],
        shape: ConditionShape,
        text: TextTokens | None = None,
        style: StyleTokens | None = None,
    ) -> Condition:
        """The condition of one `Controls` per item, all of one length.

        Raises:
            ValueError: controls of several lengths, or of one that is no multiple of `shape.control_fold`
                frames; a control that the model was not trained with.
        """
        lengths = sorted({item.n_frames for item in controls})
        if len(lengths) != 1 or lengths[0] % shape.control_fold:
            raise ValueError(
                f"controls must all have one length, a multiple of {shape.control_fold}, got {lengths}"
            )
        for item in controls:
            shape.check_controls(item.given)
        condition = cls.null(len(controls), lengths[0] // shape.control_fold, shape)
        tensors: dict[str, Tensor] = {}
        for name in shape.controls:
            empty = condition.get(name)[0]
            values = [empty if (value := item.get(name)) is None else value.float() for item in controls]
            tensors[name] = torch.stack(values)
            tensors[name + _MASK] = torch.stack([item.mask(name) for item in controls])
        return condition.having(**tensors).with_tokens(text, style)

    def having(self, **values_and_masks: Tensor) -> Condition:
        """The same with other tensors: values by their name, masks by name_mask."""
        values, masks = dict(self.values), dict(self.masks)
        for key, tensor in values_and_masks.items():
            name = key.removesuffix(_MASK)
            self._check_names((name,))
            (masks if key.endswith(_MASK) else values)[name] = tensor
        return Condition(values, masks)

    def with_tokens(self, text: TextTokens | None = None, style: StyleTokens | None = None) -> Condition:
        """The same with other tokens of text or style (None: as they are)."""
        fields: dict[str, Tensor] = {}
        if text is not None:
            fields |= {"text": text.states, "text_mask": text.mask}
        if style is not None:
            fields |= {"style": style.tokens, "style_mask": style.mask}
        return self.having(**fields)

    def with_context(self, context: Tensor, context_mask: Tensor) -> Condition:
        """The same with known latents (B, T, D) where context_mask (B, T) is True."""
        return self.having(context=context, context_mask=context_mask)

    def keep(self, name: str, kept: Tensor) -> Condition:
        """`name` only where `kept` is True: (B,) by item, or of the shape of its mask."""
        self._check_names((name,))
        mask = self.mask(name)
        wanted = kept.to(mask.device)
        return self.having(**{name + _MASK: mask & (wanted[:, None] if wanted.ndim == 1 else wanted)})

    def without(self, *names: str) -> Condition:
        """The same with `names` hidden: exactly what dropout in training makes of it."""
        self._check_names(names)
        return self.having(**{name + _MASK: torch.zeros_like(self.mask(name)) for name in names})

    def only(self, *names: str) -> Condition:
        """The same with all but `names` hidden."""
        self._check_names(names)
        return self.without(*(name for name in self.values if name not in names))

    def item(self, index: int) -> Condition:
        """One clip as a batch of one, without the padding that its neighbours needed."""
        one = self.map(lambda tensor: tensor[index : index + 1])
        fields: dict[str, Tensor] = {}
        for name in _TOKENS:
            held = one.mask(name)[0].nonzero()
            length = int(held.max()) + 1 if held.numel() else 0
            fields |= {name: one.get(name)[:, :length], f"{name}_mask": one.mask(name)[:, :length]}
        return one.having(**fields)

    def repeat(self, times: int) -> Condition:
        """The whole batch `times` times over, one copy after the other."""
        return Condition.cat([self] * times)

    @staticmethod
    def cat(conditions: Sequence[Condition]) -> Condition:
        """Join along the batch; shorter clips and token sequences are padded with what is masked."""
        if not conditions:
            raise ValueError("expected at least one condition to join, got none")
        values: dict[str, Tensor] = {}
        masks: dict[str, Tensor] = {}
        for name in conditions[0].names:
            of_name, masks_of_name = [c.get(name) for c in conditions], [c.mask(name) for c in conditions]
            longest = max(mask.shape[1] for mask in masks_of_name)
            values[name] = torch.cat([_pad_frames(value, longest) for value in of_name])
            masks[name] = torch.cat([_pad_frames(mask, longest) for mask in masks_of_name])
        return Condition(values, masks)

    def to(self, device: torch.device | str) -> Condition:
        return self.map(lambda tensor: tensor.to(device))

    def map(self, function: Callable[[Tensor], Tensor]) -> Condition:
        """The same with a function applied to every value and mask."""
        return Condition(
            {name: function(value) for name, value in self.values.items()},
            {name: function(mask) for name, mask in self.masks.items()},
        )

    def _check_names(self, names: Sequence[str]) -> None:
        unknown = [name for name in names if name not in self.values]
        if unknown:
            raise ValueError(f"unknown condition {unknown}; expected some of {list(self.values)}")


def _pad_frames(tensor: Tensor, length: int) -> Tensor:
    """Zeros (False in a mask) after the second axis up to `length`."""
    missing = length - tensor.shape[1]
    if missing == 0:
        return tensor
    return torch.cat([tensor, tensor.new_zeros(tensor.shape[0], missing, *tensor.shape[2:])], dim=1)
