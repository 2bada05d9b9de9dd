"""Inversions: pseudo-words that were learned from recordings, and their files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from features.tensor_files import read_tensors, write_tensors
from flowmusic.conditioning.pseudo_words import (
    check_known,
    check_name,
    encode_with_words,
    encoder_fingerprint,
    pseudo_words,
)
from flowmusic.conditioning.text import TextTokens, WordEncoder

FORMAT = "flowmusic.inversion.1"
_KEYS = ("format", "name", "model", "text_encoder", "initial_words")


@dataclass(frozen=True, eq=False)
class Inversion:
    """A pseudo-word for one model and its text encoder; two are equal where all of their numbers are.

    embeddings     (N, E) in the input space of the text encoder
    model          fingerprint of the model that it was learned through
    text_encoder   fingerprint of the encoder's embeddings
    """

    name: str
    embeddings: Tensor
    model: str
    text_encoder: str
    initial_words: str

    def __post_init__(self) -> None:
        check_name(self.name)
        if self.embeddings.ndim != 2 or not self.embeddings.numel():
            raise ValueError(
                f"the embeddings of {self.name} must be (N, E), got {tuple(self.embeddings.shape)}"
            )
        if not torch.isfinite(self.embeddings).all():
            raise ValueError(f"the embeddings of {self.name} hold NaN or infinite numbers")

    def __eq__(self, other: object) -> bool:
        # A tensor has no single truth value, so a dataclass's own comparison fails on it.
        if not isinstance(other, Inversion):
            return NotImplemented
        return self._names == other._names and torch.equal(self.embeddings, other.embeddings)

    def __hash__(self) -> int:
        return hash(self._names)

    @property
    def _names(self) -> tuple[str, ...]:
        return self.name, self.model, self.text_encoder, self.initial_words

    def save(self, path: str | Path) -> Path:
        """Write a .safetensors file, whole or not at all."""
        path = check_inversion_path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        metadata = {"format": FORMAT} | {key: getattr(self, key) for key in _KEYS[1:]}
        write_tensors(path, {"embeddings": self.embeddings.contiguous()}, metadata)
        return path

    @classmethod
    def load(cls, path: str | Path) -> Inversion:
        """Read what `save` wrote; ValueError, naming the file, for anything else."""
        if not Path(path).is_file():
            raise ValueError(f"{path} does not exist; expected what `flowmusic invert` wrote")
        tensors, metadata = read_tensors(path, "an inversion")
        if metadata.get("format") != FORMAT or set(_KEYS) - set(metadata) or set(tensors) != {"embeddings"}:
            raise ValueError(f"{path} is not an inversion; expected what `flowmusic invert` wrote")
        try:
            return cls(embeddings=tensors["embeddings"].float(), **{key: metadata[key] for key in _KEYS[1:]})
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error


def check_inversion_path(path: str | Path) -> Path:
    """The path; ValueError unless its name ends as that of an inversion does."""
    if Path(path).suffix != ".safetensors":
        raise ValueError(f"cannot write {path}: expected a name that ends in .safetensors")
    return Path(path)


def check_words(text: str, inversions: Sequence[Inversion], model: str) -> dict[str, Tensor]:
    """Embeddings by name, checked as far as that takes no text encoder. ValueError as of `encode_text`."""
    words: dict[str, Tensor] = {}
    for item in inversions:
        if item.model != model:
            raise ValueError(
                f"the inversion {item.name} was made with the model {item.model}, but this is {model}: "
                "run `flowmusic invert` again"
            )
        if item.name in words:
            raise ValueError(f"two inversions have the name {item.name}")
        words[item.name] = item.embeddings
    named = pseudo_words(text)
    for name in words:
        if name not in named:
            raise ValueError(f"the text does not name {name}: {text!r}")
    for name in named:
        check_known(name, words)
    return words


def encode_text(encoder: WordEncoder, text: str, inversions: Sequence[Inversion], model: str) -> TextTokens:
    """Text tokens of one prompt with pseudo-words.

    Raises:
        ValueError: a name without an inversion or an inversion that is not named; two of one name; one of
            another model (`model` is the fingerprint of this one) or of another text encoder; a
            damaged one.
    """
    words = check_words(text, inversions, model)
    width = encoder.embeddings.shape[1]
    for item in inversions:
        if item.text_encoder != encoder_fingerprint(encoder):
            raise ValueError(f"the inversion {item.name} was made with another text encoder")
        if item.embeddings.shape[1] != width:
            raise ValueError(
                f"the inversion {item.name} has embeddings of {item.embeddings.shape[1]} numbers, "
                f"but its text encoder takes {width}: the file is damaged"
            )
    with torch.no_grad():
        states = encode_with_words(encoder, text, words)
    return TextTokens.of_prompts([states], encoder.text_dim)
