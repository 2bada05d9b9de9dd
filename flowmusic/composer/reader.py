"""What a text asks of a composition: style, mode, tempo, metre and who plays, as evidence for each.

A small network that was trained on captions of composed songs (`flowmusic.training.text_reader`) reads the
mean state of the bundled text encoder.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from flowmusic.composer.sheet import METRES
from flowmusic.composer.style_table import STYLES
from flowmusic.weights import load_exactly, read_weights

TEXT_DIM = 384
HIDDEN, DROPOUT = 256, 0.3
ATTRIBUTES: dict[str, tuple[str, ...]] = {
    "style": (*STYLES, "experimental"),
    "mode": ("minor", "major"),
    "tempo": ("slow", "medium", "fast"),
    "metre": tuple(METRES),
    "drums": ("without", "with"),
    "melody": ("without", "with"),
    "solo": ("none", "melody", "chords", "drums"),
}
"""What is read, and what it may be: the words of `flowmusic.composer.captions.SongFacts`."""

Evidence = dict[str, dict[str, float]]
"""By attribute and value: log P(value | text) - log P(value)."""


class TextReader(nn.Module):
    """The mean state of a text, of length 1 -> scores of each value of each attribute.

    prior   log-probabilities of the values where nothing is said, (N,) over all attributes

    Shape: (B, E) -> {attribute: (B, values)}
    """

    prior: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.sizes = {name: len(values) for name, values in ATTRIBUTES.items()}
        total = sum(self.sizes.values())
        self.norm = nn.LayerNorm(TEXT_DIM)
        self.body = nn.Linear(TEXT_DIM, HIDDEN)
        self.dropout = nn.Dropout(DROPOUT)
        self.heads = nn.Linear(HIDDEN, total)
        self.register_buffer("prior", torch.zeros(total))

    def forward(self, mean: Tensor) -> dict[str, Tensor]:
        scores = self.heads(self.dropout(functional.gelu(self.body(self.norm(mean)))))
        return dict(zip(self.sizes, scores.split(list(self.sizes.values()), dim=-1), strict=True))

    def priors(self) -> dict[str, Tensor]:
        """The prior by attribute, (values,) each."""
        return dict(zip(self.sizes, self.prior.split(list(self.sizes.values())), strict=True))

    @torch.no_grad()
    def evidence(self, mean: Tensor) -> Evidence:
        """What the text with the mean state (E,) says beyond what songs are anyway."""
        scores, priors = self(mean[None]), self.priors()
        return {
            name: dict(
                zip(ATTRIBUTES[name], (logits[0].log_softmax(-1) - priors[name]).tolist(), strict=True)
            )
            for name, logits in scores.items()
        }


def reader_file() -> Path:
    """Its weights, shipped with the package."""
    return Path(str(files("flowmusic") / "assets" / "text_reader.safetensors"))


@cache
def load_reader() -> TextReader:
    """The shipped reader, in evaluation mode."""
    reader = TextReader()
    load_exactly(reader, read_weights(reader_file()), reader_file())
    return reader.eval().requires_grad_(False)
