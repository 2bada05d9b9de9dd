"""Text and style tokens: as one sequence for cross-attention, and as a mean that is added to every frame."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from flowmusic.conditioning.condition import Condition
from flowmusic.conditioning.text import mean_state
from flowmusic.conditioning.text_adapter import TextAdapter


class TokenConditioner(nn.Module):
    """[null text | text ... | null style | style ...] and the mask of the tokens that may be attended to.

    A null token is attended to only by an item without any token of its kind, so an item always
    attends to at least one of each, and padding for longer neighbours is never seen. The tokens know
    nothing of t, so keys and values made of them hold for all steps of the solver.

    Shape: Condition -> tokens (B, L + M + 2, H), mask (B, L + M + 2) bool
    """

    def __init__(self, text_dim: int, style_dim: int, width: int) -> None:
        super().__init__()
        self.kinds = {"text": text_dim, "style": style_dim}
        self.project = nn.ModuleDict(
            {
                name: nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, width))
                for name, dim in self.kinds.items()
            }
        )
        self.types = nn.ParameterDict({name: nn.Parameter(0.02 * torch.randn(width)) for name in self.kinds})
        self.nulls = nn.ParameterDict({name: nn.Parameter(0.02 * torch.randn(width)) for name in self.kinds})

    def forward(self, condition: Condition) -> tuple[Tensor, Tensor]:
        tokens, masks = [], []
        for name, dim in self.kinds.items():
            states, mask = condition.get(name), condition.mask(name)
            if states.shape[2] != dim:
                raise ValueError(f"{name} tokens must have {dim} channels, got {states.shape[2]}")
            # masked states may hold anything, also what would turn into NaN: take them out first
            projected = self.project[name](states.masked_fill(~mask.unsqueeze(-1), 0.0)) + self.types[name]
            null = self.nulls[name].to(projected.dtype).expand(states.shape[0], 1, -1)
            tokens.append(torch.cat([null, projected], dim=1))  # (B, 1 + L, H)
            masks.append(torch.cat([~mask.any(dim=1, keepdim=True), mask], dim=1))  # (B, 1 + L)
        return torch.cat(tokens, dim=1), torch.cat(masks, dim=1)


class TokenSummary(nn.Module):
    """The mean token of text and of style, projected and summed; a learned null where there is none.

    Attention takes long to find out what a sequence is about; the mean says it at once, as pooled text
    does in Stable Diffusion 3 (arXiv 2403.03206, §4). It starts at zero: a model may grow it later. With
    an `adapter` (its hidden channels), what the text says is first put as plain words would put it.

    Shape: Condition -> (B, 1, H)
    """

    def __init__(self, text_dim: int, style_dim: int, width: int, adapter: int = 0) -> None:
        super().__init__()
        kinds = {"text": text_dim, "style": style_dim}
        layers = {name: nn.Linear(dim, width) for name, dim in kinds.items()}
        for layer in layers.values():
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
        self.project = nn.ModuleDict(layers)
        self.nulls = nn.ParameterDict({name: nn.Parameter(torch.zeros(width)) for name in kinds})
        self.adapter = TextAdapter(text_dim, adapter) if adapter else None
        if self.adapter is not None:  # trained by itself: with the flow, it would learn what `project` should
            self.adapter.requires_grad_(False)

    def forward(self, condition: Condition) -> Tensor:
        total = torch.zeros(())
        for name in self.nulls:
            mask = condition.mask(name)
            mean = mean_state(condition.get(name), mask).unsqueeze(1)  # (B, 1, E)
            said = self.said(mean) if name == "text" else self.project[name](mean)  # (B, 1, H)
            some = mask.any(dim=1)[:, None, None]
            total = total + torch.where(some, said, self.nulls[name].to(said.dtype))
        return total

    def said(self, mean: Tensor) -> Tensor:
        """What is added for a text with this mean state: (..., E) -> (..., H)."""
        said: Tensor = self.project["text"](mean if self.adapter is None else self.adapter(mean))
        return said
