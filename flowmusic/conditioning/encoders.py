"""The text encoders by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from features.registry import Registry
from flowmusic.conditioning.text import BUNDLED_ENCODER, TextEncoder, WordEncoder

if TYPE_CHECKING:
    import torch

TEXT_ENCODERS: Registry[Callable[[], TextEncoder]] = Registry(
    "text_encoders",
    "text encoder",
    {BUNDLED_ENCODER: "flowmusic.conditioning.minilm:MiniLm"},
)


def text_encoder(source: str | Path, device: str | torch.device = "cpu") -> TextEncoder:
    """The encoder called `source` in `TEXT_ENCODERS`, or one of transformers: a folder, or an id of the hub.

    Those of transformers compute on `device`; the others are small enough for the CPU.

    Raises:
        ValueError: there is no such encoder, or it cannot be loaded.
    """
    if isinstance(source, str) and source in TEXT_ENCODERS:
        return TEXT_ENCODERS.get(source)()
    from flowmusic.conditioning.transformers_text import TransformersTextEncoder

    return TransformersTextEncoder(source, device=device)


def word_encoder(source: str | Path) -> WordEncoder:
    """The same, where pseudo-words are to stand in its prompts. ValueError where none can."""
    encoder = text_encoder(source)
    if not isinstance(encoder, WordEncoder):
        raise ValueError(f"pseudo-words need a text encoder with embeddings of words; {source} has none")
    return encoder
