"""Trains the text adapter of a flow on text alone: what users say shall move it as plain words do.

python -m flowmusic.training.text_adapter --out model

Songs are composed, not rendered, and what is known of them is said twice: in the words of users and in the
plain ones. A prompt acts on a flow with a summary through its mean state above all, so the adapter learns to
bring the mean state of the first to where the summary is that of the second. All else of the flow is held.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from features.text_files import read_text
from flowmusic.api.pretrained import Pretrained, load_pretrained, save_pretrained
from flowmusic.arguments import whole_number
from flowmusic.composer.captions import twin_captions
from flowmusic.conditioning.encoders import word_encoder
from flowmusic.conditioning.tokens import TokenSummary
from flowmusic.model.transformer import FlowTransformer
from flowmusic.model_files import CARD_FILE, resolve
from flowmusic.training.text_alone import composed_songs, encode_means, fit, n_valid_of

logger = logging.getLogger(__name__)

HIDDEN = 1024
PAIRS_A_SONG = 6

Pair = tuple[str, str]


def write_pairs(n_songs: int, seed: int) -> list[Pair]:
    """Of each song six times (in a user's words, in plain ones)."""
    return [
        twin_captions(facts, rng) for facts, rng in composed_songs(n_songs, seed) for _ in range(PAIRS_A_SONG)
    ]


class AdapterTraining:
    """The summaries of pairs, and how far apart they are.

    The error is the mean square of what the summaries of a pair differ by, relative to the variance of the
    summaries of plain words: 1 is what one summary for everything would reach.
    """

    def __init__(self, summary: TokenSummary, pairs: Sequence[Pair], means: dict[str, Tensor]) -> None:
        self.summary = summary
        self.said = torch.stack([means[said] for said, _ in pairs])  # (N, E)
        with torch.no_grad():
            plain = torch.stack([means[plain] for _, plain in pairs])
            self.wanted = summary.project["text"](plain)  # (N, H)
        self.variance = self.wanted.var(dim=0, correction=0).mean()
        self.n_valid = n_valid_of(len(pairs))

    def error(self, rows: Tensor | slice) -> Tensor:
        difference = self.summary.said(self.said[rows]) - self.wanted[rows]
        return difference.square().mean() / self.variance

    @torch.no_grad()
    def valid_error(self) -> float:
        """Of the pairs that are not trained on, without dropout."""
        self.summary.eval()
        return float(self.error(slice(0, self.n_valid)))

    def train(self, steps: int, generator: torch.Generator) -> None:
        """Fit the adapter (`flowmusic.training.text_alone.fit`)."""
        if self.summary.adapter is None:
            raise ValueError("the summary has no adapter to train")
        fit(self.summary, self.error, len(self.said), steps, generator, self.valid_error)


def with_adapter(model: Pretrained) -> Pretrained:
    """The model with an adapter that changes nothing yet, in the place of the one that it may have.

    ValueError where its flow has no summary of the text.
    """
    if model.flow.summary is None:
        raise ValueError(f"the flow of {model.name} has no summary of its text (token_summary)")
    flow = FlowTransformer(replace(model.flow.config, text_adapter=HIDDEN))
    held = {k: v for k, v in model.flow.state_dict().items() if not k.startswith("summary.adapter.")}
    flow.load_state_dict(held, strict=False)
    return replace(model, network=flow.eval().requires_grad_(False))


def train_adapter(model: Pretrained, n_songs: int, steps: int, seed: int) -> tuple[Pretrained, float, float]:
    """The model with a trained adapter; the error on unseen pairs before and after."""
    pairs = write_pairs(n_songs, seed)
    encoder = word_encoder(model.defaults.text_encoder)
    means = encode_means(encoder, (text for pair in pairs for text in pair))
    torch.manual_seed(seed)  # of the first weights, and of the dropout
    grown = with_adapter(model)
    summary = grown.flow.summary
    if summary is None or summary.adapter is None:
        raise ValueError(f"the flow of {model.name} has no adapter")
    summary.adapter.requires_grad_(True)
    training = AdapterTraining(summary, pairs, means)
    before = training.valid_error()
    training.train(steps, torch.Generator().manual_seed(seed))
    summary.requires_grad_(False)
    return grown, before, training.valid_error()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="text_adapter", description="Train the text adapter of a model, on text alone."
    )
    parser.add_argument("--checkpoint", metavar="MODEL", help="a model's folder or hub id (the bundled one)")
    parser.add_argument("--out", type=Path, required=True, help="folder of the model with its new adapter")
    some = whole_number("a number", 1, 10_000_000)
    parser.add_argument("--songs", type=some, default=5000, help="composed for their captions (5000)")
    parser.add_argument("--steps", type=some, default=6000, help="of 256 pairs (6000)")
    parser.add_argument("--seed", type=whole_number("a seed", 0, 2**31), default=0)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """`python -m flowmusic.training.text_adapter`."""
    parser = _parser()
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        model = load_pretrained(options.checkpoint)
        trained, before, after = train_adapter(model, options.songs, options.steps, options.seed)
        card = resolve(options.checkpoint) / CARD_FILE
        text = read_text(card, "a model card") if card.is_file() else None
        save_pretrained(trained, options.out, text)
    except (ValueError, OSError) as error:
        parser.error(str(error))
    logger.info("error on unseen pairs %.3f -> %.3f; %s", before, after, options.out)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
