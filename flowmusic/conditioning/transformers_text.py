"""Text encoders of transformers: any that a folder or the hub holds."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from features.hub import load_model, load_settings
from flowmusic.conditioning.text import MAX_TEXT_TOKENS, WordEncoder

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


class TransformersTextEncoder(WordEncoder):
    """Any text encoder of transformers (BERT, T5, ...), frozen, in evaluation mode.

    source    a folder, or owner/name[@revision] of a model on the hub
    Raises ValueError where it cannot be loaded (`features.hub`).
    """

    def __init__(
        self, source: str | Path, max_tokens: int = MAX_TEXT_TOKENS, device: str | torch.device = "cpu"
    ) -> None:
        super().__init__(max_tokens)
        from transformers import AutoModelForTextEncoding, AutoTokenizer

        place = _locate(source)
        self.tokenizer: PreTrainedTokenizerBase = load_settings(AutoTokenizer, place, "text encoder")
        model: PreTrainedModel = load_model(AutoModelForTextEncoding, place, "text encoder")
        self.model = model.eval().requires_grad_(False)
        self.model.to(torch.device(device))

    @property
    def embeddings(self) -> Tensor:
        weight: Tensor = self.model.get_input_embeddings().weight
        return weight

    @property
    def text_dim(self) -> int:
        width: int = self.model.config.hidden_size
        return width

    def ids(self, text: str, marks: bool = True) -> list[int]:
        ids: list[int] = self.tokenizer(text, add_special_tokens=marks, truncation=False, verbose=False)[
            "input_ids"
        ]
        return ids

    def states(self, embedded: Tensor, mask: Tensor) -> Tensor:
        states: Tensor = self.model(inputs_embeds=embedded, attention_mask=mask.long()).last_hidden_state
        return states


def _locate(source: str | Path) -> str:
    """Return the folder or hub id that `source` means. ValueError where it can be neither."""
    path = Path(source)
    if path.exists():
        if not (path / "config.json").is_file():
            raise ValueError(f"{path} is not the folder of a text encoder: expected a config.json in it")
        return str(path)
    # an id of the hub is 'name' or 'owner/name'; anything else was meant to be a path
    if isinstance(source, Path) or str(source).count("/") > 1 or str(source).startswith((".", "/", "~")):
        raise ValueError(f"text encoder folder {source} does not exist")
    return str(source)
