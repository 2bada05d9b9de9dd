"""Prompts with pseudo-words: `<mysong>` stands for embeddings that no dictionary holds."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping

import torch
from torch import Tensor

from flowmusic.conditioning.text import TransformersTextEncoder

NAME = re.compile(r"<[A-Za-z0-9_-]+>")


def pseudo_words(text: str) -> list[str]:
    """The pseudo-words that a prompt names, each once, in order."""
    return list(dict.fromkeys(NAME.findall(text)))


def check_name(name: str) -> str:
    """The name; ValueError unless it is one of a pseudo-word."""
    if not NAME.fullmatch(name):
        raise ValueError(
            "a pseudo-word must be letters, digits, '_' or '-' between '<' and '>', as '<mysong>', "
            f"got {name!r}"
        )
    return name


def check_known(name: str, words: Mapping[str, Tensor]) -> None:
    """ValueError unless a pseudo-word of a text has embeddings."""
    if name not in words:
        known = ", ".join(words) or "none"
        raise ValueError(f"the text names {name}, which is not among the pseudo-words given: {known}")


def encode_with_words(encoder: TransformersTextEncoder, text: str, words: Mapping[str, Tensor]) -> Tensor:
    """States (L, E) of one prompt in which the embeddings (N, E) of `words` stand for their names.

    Differentiable with respect to the embeddings. ValueError for an unknown name or too long a prompt.
    """
    for name in pseudo_words(text):
        check_known(name, words)
    embed = encoder.model.get_input_embeddings()
    device = encoder.model.device
    first, last = _marks(encoder)
    parts = [_embedded(first, embed, device)]
    for piece in re.split(f"({NAME.pattern})", " ".join(text.split())):
        if piece in words:
            parts.append(words[piece].to(device))
        elif piece.strip():
            ids = encoder.tokenizer(piece.strip(), add_special_tokens=False)["input_ids"]
            parts.append(_embedded(ids, embed, device))
    parts.append(_embedded(last, embed, device))
    embeddings = torch.cat(parts)[None]  # (1, L, E)
    if embeddings.shape[1] > encoder.max_tokens:
        raise ValueError(
            f"a text with pseudo-words may have {encoder.max_tokens} tokens, "
            f"got {embeddings.shape[1]}: {text!r}"
        )
    mask = torch.ones(embeddings.shape[:2], dtype=torch.long, device=device)
    states: Tensor = encoder.model(inputs_embeds=embeddings, attention_mask=mask).last_hidden_state[0]
    return states.float().cpu()


def word_embeddings(encoder: TransformersTextEncoder, text: str) -> Tensor:
    """Input embeddings (N, E) of plain words; ValueError if there are none."""
    ids = encoder.tokenizer(text, add_special_tokens=False)["input_ids"]
    if not ids:
        raise ValueError(f"expected words to start from, got {text!r}")
    return _embedded(ids, encoder.model.get_input_embeddings(), encoder.model.device).detach().cpu()


def encoder_fingerprint(encoder: TransformersTextEncoder) -> str:
    """Identifies the space that pseudo-words live in."""
    weight = encoder.model.get_input_embeddings().weight
    return hashlib.sha256(weight.detach().cpu().float().numpy().tobytes()).hexdigest()[:16]


def _marks(encoder: TransformersTextEncoder) -> tuple[list[int], list[int]]:
    """Ids that the tokenizer puts before and after a text."""
    bare = encoder.tokenizer("music", add_special_tokens=False)["input_ids"]
    whole = encoder.tokenizer("music")["input_ids"]
    start = next(i for i in range(len(whole)) if whole[i : i + len(bare)] == bare)
    return whole[:start], whole[start + len(bare) :]


def _embedded(ids: list[int], embed: torch.nn.Module, device: torch.device) -> Tensor:
    states: Tensor = embed(torch.tensor(ids, dtype=torch.long, device=device))  # (N, E)
    return states
