"""Text prompts -> token states of a frozen text encoder."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

logger = logging.getLogger(__name__)

BUNDLED_ENCODER = "bundled"
MAX_TEXT_TOKENS = 64


@dataclass(frozen=True)
class TextTokens:
    """Token states of each prompt of a batch.

    Shape:
        states (B, L, E)
        mask   (B, L) bool: True where a token is real; an item without any has no text
    """

    states: Tensor
    mask: Tensor

    def __post_init__(self) -> None:
        if self.states.ndim != 3 or self.mask.shape != self.states.shape[:2] or self.mask.dtype != torch.bool:
            raise ValueError(
                "text tokens must be (B, L, E) with a bool mask (B, L), "
                f"got {tuple(self.states.shape)} and {self.mask.dtype} {tuple(self.mask.shape)}"
            )

    @classmethod
    def null(cls, batch_size: int, text_dim: int) -> TextTokens:
        """Return no text: a sequence of no tokens."""
        return cls(torch.zeros(batch_size, 0, text_dim), torch.zeros(batch_size, 0, dtype=torch.bool))

    @classmethod
    def of_prompts(cls, states: Sequence[Tensor], text_dim: int) -> TextTokens:
        """Pad and stack the states (L_i, E) of each prompt."""
        longest = max((item.shape[0] for item in states), default=0)
        padded = torch.zeros(len(states), longest, text_dim)
        mask = torch.zeros(len(states), longest, dtype=torch.bool)
        for row, item in enumerate(states):
            padded[row, : item.shape[0]] = item
            mask[row, : item.shape[0]] = True
        return cls(padded, mask)


def mean_state(states: Tensor, mask: Tensor) -> Tensor:
    """Return the mean of states (B, L, E) where mask (B, L) is True, of length 1: (B, E).

    Of length 1, not of unit variance: all prompts have much in common, and a step that learns one must not
    move all by the sum of hundreds of channels.
    """
    return functional.normalize(states.masked_fill(~mask.unsqueeze(-1), 0.0).sum(dim=1), dim=-1)


class TextEncoder(Protocol):
    """Prompts -> tokens that the model attends to."""

    @property
    def text_dim(self) -> int:
        """Channels E of the states."""
        ...

    def encode(self, prompts: Sequence[str | None]) -> TextTokens:
        """Encode B prompts: states (B, L, E); None and blank prompts have no tokens."""
        ...


class WordEncoder(ABC):
    """A frozen text encoder whose words have embeddings, in the place of which others can stand.

    A prompt longer than `max_tokens` is cut, with a warning.
    """

    def __init__(self, max_tokens: int = MAX_TEXT_TOKENS) -> None:
        if max_tokens < 3:  # marks of beginning and end, and one word
            raise ValueError(f"max_tokens must be at least 3, got {max_tokens}")
        self.max_tokens = max_tokens

    @property
    @abstractmethod
    def embeddings(self) -> Tensor:
        """The embedding of each token of the vocabulary, (V, N)."""

    @property
    @abstractmethod
    def text_dim(self) -> int:
        """Channels E of the states."""

    @abstractmethod
    def ids(self, text: str, marks: bool = True) -> list[int]:
        """The tokens of a text of any length, with the marks of its beginning and end or without."""

    @abstractmethod
    def states(self, embedded: Tensor, mask: Tensor) -> Tensor:
        """States (B, L, E) of embeddings (B, L, N), differentiable; mask (B, L) is True on real tokens."""

    @cached_property
    def marks(self) -> tuple[list[int], list[int]]:
        """Tokens that stand before and after a text."""
        bare, whole = self.ids("music", marks=False), self.ids("music")
        start = next(i for i in range(len(whole)) if whole[i : i + len(bare)] == bare)
        return whole[:start], whole[start + len(bare) :]

    def encode(self, prompts: Sequence[str | None]) -> TextTokens:
        """Encode B prompts: states (B, L, E), mask (B, L), on the CPU.

        Each prompt is encoded by itself, so its states do not depend on its neighbours.
        """
        known: dict[str, Tensor] = {}
        states = []
        for prompt in prompts:
            text = "" if prompt is None else " ".join(prompt.split())
            if text not in known:
                known[text] = self._encode_one(text) if text else torch.zeros(0, self.text_dim)
            states.append(known[text])
        return TextTokens.of_prompts(states, self.text_dim)

    @torch.no_grad()
    def encode_means(self, prompts: Sequence[str]) -> Tensor:
        """Return the mean states of B prompts, of length 1, (B, E): all at once, cut without a warning."""
        rows = [self._cut(self.ids(prompt)) for prompt in prompts]
        longest = max(map(len, rows))
        padded = torch.tensor([row + [0] * (longest - len(row)) for row in rows])
        mask = torch.tensor([[True] * len(row) + [False] * (longest - len(row)) for row in rows])
        states = self.states(self.embed(padded), mask.to(self.embeddings.device))
        return mean_state(states.float().cpu(), mask)

    def embed(self, ids: Tensor) -> Tensor:
        """The embeddings (..., N) of tokens (...)."""
        return functional.embedding(ids.to(self.embeddings.device), self.embeddings)

    def _cut(self, ids: list[int]) -> list[int]:
        """At most `max_tokens` of them; the marks of the end are kept."""
        if len(ids) <= self.max_tokens:
            return ids
        _, last = self.marks
        return ids[: self.max_tokens - len(last)] + last

    @torch.no_grad()
    def _encode_one(self, text: str) -> Tensor:
        """Return the states (L, E) of one prompt, marks of its beginning and end included."""
        ids = self.ids(text)
        if len(ids) > self.max_tokens:
            logger.warning("prompt of %d tokens cut to %d: %.60r...", len(ids), self.max_tokens, text)
        embedded = self.embed(torch.tensor([self._cut(ids)]))
        mask = torch.ones(embedded.shape[:2], dtype=torch.bool, device=embedded.device)
        return self.states(embedded, mask)[0].float().cpu()  # (L, E)
