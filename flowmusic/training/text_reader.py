"""Trains the text reader: what a caption says of a song that was composed, not rendered.

python -m flowmusic.training.text_reader --out flowmusic/assets/text_reader.safetensors
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from flowmusic.arguments import whole_number
from flowmusic.composer.captions import SongFacts, write_caption
from flowmusic.composer.reader import ATTRIBUTES, TextReader
from flowmusic.composer.wording import Draws
from flowmusic.conditioning.minilm import MiniLm
from flowmusic.training.text_alone import composed_songs, encode_means, fit, n_valid_of
from flowmusic.weights import save_tensors

logger = logging.getLogger(__name__)

CAPTIONS_A_SONG = 6
PRIOR_COUNT = 1.0

Example = tuple[str, dict[str, str]]


def values_of(facts: SongFacts) -> dict[str, str]:
    """What a song is, attribute by attribute."""
    return {
        "style": facts.style,
        "mode": facts.mode_family,
        "tempo": facts.tempo,
        "metre": facts.metre,
        "drums": "with" if facts.kit else "without",
        "melody": "with" if facts.lead else "without",
        "solo": facts.solo,
    }


def write_examples(n_songs: int, seed: int) -> list[Example]:
    """Of each song six captions, each with what the song is."""
    return [
        (write_caption(facts, Draws(rng, rng)), values_of(facts))
        for facts, rng in composed_songs(n_songs, seed)
        for _ in range(CAPTIONS_A_SONG)
    ]


class ReaderTraining:
    """A reader, and captions as mean states (N, E) with the numbers of their values by attribute."""

    def __init__(self, examples: Sequence[Example], means: dict[str, Tensor]) -> None:
        self.reader = TextReader()
        self.states = torch.stack([means[text] for text, _ in examples])  # (N, E)
        self.targets = {
            name: torch.tensor([values.index(known[name]) for _, known in examples])
            for name, values in ATTRIBUTES.items()
        }
        self.n_valid = n_valid_of(len(examples))
        counts = [
            torch.bincount(self.targets[name][self.n_valid :], minlength=len(values)) + PRIOR_COUNT
            for name, values in ATTRIBUTES.items()
        ]
        self.reader.prior.copy_(torch.cat([(count / count.sum()).log() for count in counts]))

    def losses(self, rows: Tensor | slice) -> dict[str, Tensor]:
        """Cross-entropy of each attribute."""
        scores = self.reader(self.states[rows])
        return {name: functional.cross_entropy(scores[name], self.targets[name][rows]) for name in scores}

    @torch.no_grad()
    def gains(self) -> dict[str, float]:
        """What the unseen captions tell, in nats: cross-entropy of the prior less that of the reader."""
        self.reader.eval()
        valid = slice(0, self.n_valid)
        known = {
            name: -float(prior[self.targets[name][valid]].mean())
            for name, prior in self.reader.priors().items()
        }
        return {name: known[name] - float(loss) for name, loss in self.losses(valid).items()}

    def train(self, steps: int, generator: torch.Generator) -> None:
        """Fit the reader (`flowmusic.training.text_alone.fit`)."""
        fit(self.reader, self.loss, len(self.states), steps, generator, self.valid_loss)

    def loss(self, rows: Tensor | slice) -> Tensor:
        """The sum over the attributes."""
        return torch.stack(list(self.losses(rows).values())).sum()

    @torch.no_grad()
    def valid_loss(self) -> float:
        """Of the captions that are not trained on."""
        return float(self.loss(slice(0, self.n_valid)))


def train_reader(n_songs: int, steps: int, seed: int) -> ReaderTraining:
    """A training that is over: its `reader` is ready."""
    examples = write_examples(n_songs, seed)
    means = encode_means(MiniLm(), (text for text, _ in examples))
    torch.manual_seed(seed)  # of the first weights, and of the dropout
    training = ReaderTraining(examples, means)
    training.train(steps, torch.Generator().manual_seed(seed))
    return training


def main(arguments: Sequence[str] | None = None) -> int:
    """`python -m flowmusic.training.text_reader`."""
    parser = argparse.ArgumentParser(prog="text_reader", description="Train the text reader on captions.")
    parser.add_argument("--out", type=Path, required=True, help="file of its weights (.safetensors)")
    some = whole_number("a number", 1, 10_000_000)
    parser.add_argument("--songs", type=some, default=8000, help="composed for their captions (8000)")
    parser.add_argument("--steps", type=some, default=4000, help="of 256 captions (4000)")
    parser.add_argument("--seed", type=whole_number("a seed", 0, 2**31), default=1)
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        training = train_reader(options.songs, options.steps, options.seed)
        save_tensors(options.out, training.reader.state_dict(), torch.float16)
    except (ValueError, OSError) as error:
        parser.error(str(error))
    for name, gain in training.gains().items():
        logger.info("%s: %.3f nats a caption", name, gain)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
