"""What trainings on text alone share: songs that are composed, not rendered, their words, and the loop."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from flowmusic.composer.arranger import arrange
from flowmusic.composer.captions import SongFacts
from flowmusic.composer.generator import make_brief, write_sheet
from flowmusic.conditioning.text import TransformersTextEncoder

VALID_SHARE = 0.05
BATCH = 256
LEARNING_RATE, WEIGHT_DECAY = 1e-3, 0.05
LOG_EVERY = 500


def composed_songs(n_songs: int, seed: int) -> Iterator[tuple[SongFacts, np.random.Generator]]:
    """What is known of each of some songs, and a generator for what is said of it."""
    for number in tqdm(range(n_songs), desc="captions", unit="song"):
        rng = np.random.default_rng([seed, number])
        brief = make_brief(rng)
        sheet, sections = write_sheet(rng, brief)
        yield arrange(sheet, sections, brief, 1, rng).facts, rng


def encode_means(encoder: TransformersTextEncoder, texts: Iterable[str]) -> dict[str, Tensor]:
    """The mean state (E,) of each text."""
    waiting = sorted(set(texts), key=len)  # of like length together: little padding
    means: dict[str, Tensor] = {}
    with tqdm(total=len(waiting), desc="text encoder", unit="text") as bar:
        for first in range(0, len(waiting), 64):
            batch = waiting[first : first + 64]
            means |= zip(batch, encoder.encode_means(batch), strict=True)
            bar.update(len(batch))
    return means


def n_valid_of(n_examples: int) -> int:
    """How many of them, the first, are kept for validation: of songs of their own."""
    return max(1, round(VALID_SHARE * n_examples))


def fit(
    module: nn.Module,
    loss: Callable[[Tensor], Tensor],
    n_examples: int,
    steps: int,
    generator: torch.Generator,
    valid_loss: Callable[[], float],
) -> None:
    """AdamW on those parameters of a module that are not held; the rate falls as half a cosine.

    loss        of the examples with these numbers, (BATCH,)
    valid_loss  of those kept for validation; told now and then
    """
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    optimiser = torch.optim.AdamW(trained, lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    fall = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    n_valid = n_valid_of(n_examples)
    bar = tqdm(range(1, steps + 1), desc="training", unit="step")
    for step in bar:
        module.train()
        value = loss(torch.randint(n_valid, n_examples, (BATCH,), generator=generator))
        optimiser.zero_grad()
        value.backward()
        optimiser.step()
        fall.step()
        if step % LOG_EVERY == 0 or step == steps:
            module.eval()
            bar.set_postfix(train=f"{value.detach():.3f}", valid=f"{valid_loss():.3f}")
    module.eval()
