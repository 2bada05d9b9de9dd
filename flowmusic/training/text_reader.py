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
from tqdm import tqdm

from flowmusic.commands.options import whole_number
from flowmusic.composer.captions import SongFacts, write_caption
from flowmusic.composer.reader import ATTRIBUTES, TextReader
from flowmusic.composer.wording import Draws
from flowmusic.conditioning.text import TransformersTextEncoder
from flowmusic.training.text_adapter import composed_songs, encode_means
from flowmusic.weights import save_tensors

logger = logging.getLogger(__name__)

CAPTIONS_A_SONG = 6
VALID_SHARE = 0.05
BATCH = 256
LEARNING_RATE, WEIGHT_DECAY = 1e-3, 0.05
PRIOR_COUNT = 1.0

Example = tuple[str, dict[str, str]]


def values_of(facts: SongFacts) -> dict[str, str]:
    """What a song is, attribute by attribute."""
    return {
        "style": facts.style,
        "shade": facts.shade,
        "pace": facts.pace,
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
        self.n_valid = max(1, round(VALID_SHARE * len(examples)))  # the first ones: of songs of their own
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
        """AdamW; the rate falls as half a cosine."""
        optimiser = torch.optim.AdamW(self.reader.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
        fall = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
        self.reader.train()
        for _ in tqdm(range(steps), desc="training", unit="step"):
            rows = torch.randint(self.n_valid, len(self.states), (BATCH,), generator=generator)
            loss = torch.stack(list(self.losses(rows).values())).sum()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            fall.step()
        self.reader.eval()


def train_reader(n_songs: int, steps: int, seed: int) -> ReaderTraining:
    """A training that is over: its `reader` is ready."""
    examples = write_examples(n_songs, seed)
    means = encode_means(TransformersTextEncoder(), (text for text, _ in examples))
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
