"""Prompts with pseudo-words: `<mysong>` stands for embeddings that no dictionary holds."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping

import torch
from torch import Tensor

from flowmusic.conditioning.text import WordEncoder

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


def encode_with_words(encoder: WordEncoder, text: str, words: Mapping[str, Tensor]) -> Tensor:
    """States (L, E) of one prompt in which the embeddings (N, E) of `words` stand for their names.

    Differentiable with respect to the embeddings. ValueError for an unknown name or too long a prompt.
    """
    for name in pseudo_words(text):
        check_known(name, words)
    first, last = encoder.marks
    parts = [encoder.embed(torch.tensor(first, dtype=torch.long))]
    for piece in re.split(f"({NAME.pattern})", " ".join(text.split())):
        if piece in words:
            parts.append(words[piece].to(parts[0].device))
        elif piece.strip():
            parts.append(encoder.embed(torch.tensor(encoder.ids(piece.strip(), marks=False))))
    parts.append(encoder.embed(torch.tensor(last, dtype=torch.long)))
    embeddings = torch.cat(parts)[None]  # (1, L, E)
    if embeddings.shape[1] > encoder.max_tokens:
        raise ValueError(
            f"a text with pseudo-words may have {encoder.max_tokens} tokens, "
            f"got {embeddings.shape[1]}: {text!r}"
        )
    mask = torch.ones(embeddings.shape[:2], dtype=torch.bool, device=embeddings.device)
    return encoder.states(embeddings, mask)[0].float().cpu()


def word_embeddings(encoder: WordEncoder, text: str) -> Tensor:
    """Input embeddings (N, E) of plain words; ValueError if there are none."""
    ids = encoder.ids(text, marks=False)
    if not ids:
        raise ValueError(f"expected words to start from, got {text!r}")
    return encoder.embed(torch.tensor(ids)).detach().cpu()


def encoder_fingerprint(encoder: WordEncoder) -> str:
    """Identifies the space that pseudo-words live in."""
    return hashlib.sha256(encoder.embeddings.detach().cpu().float().numpy().tobytes()).hexdigest()[:16]
