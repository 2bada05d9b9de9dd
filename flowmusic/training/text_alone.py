"""What trainings on text alone share: songs that are composed, not rendered, their words, and the loop."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset
from tqdm import tqdm

from flowmusic.composer.arranger import arrange
from flowmusic.composer.captions import SongFacts
from flowmusic.composer.generator import make_brief, write_sheet
from flowmusic.conditioning.text import WordEncoder
from flowmusic.training.base import is_decayed

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


def encode_means(encoder: WordEncoder, texts: Iterable[str]) -> dict[str, Tensor]:
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


class _Rows(IterableDataset[Tensor]):
    """Without end: BATCH numbers of examples that are not for validation, drawn by a generator."""

    def __init__(self, n_valid: int, n_examples: int, generator: torch.Generator) -> None:
        self.n_valid, self.n_examples, self.generator = n_valid, n_examples, generator

    def __iter__(self) -> Iterator[Tensor]:
        while True:
            yield torch.randint(self.n_valid, self.n_examples, (BATCH,), generator=self.generator)


class _Fit(pl.LightningModule):
    """A module and its losses, as Lightning's Trainer takes them."""

    def __init__(
        self, module: nn.Module, loss: Callable[[Tensor], Tensor], steps: int, valid_loss: Callable[[], float]
    ) -> None:
        super().__init__()
        self.module, self.loss, self.steps, self.valid_loss = module, loss, steps, valid_loss

    def configure_optimizers(self) -> Any:
        trained = [(name, p) for name, p in self.module.named_parameters() if p.requires_grad]
        groups = [
            {"params": [p for name, p in trained if is_decayed(name, p)], "weight_decay": WEIGHT_DECAY},
            {"params": [p for name, p in trained if not is_decayed(name, p)], "weight_decay": 0.0},
        ]
        optimiser = torch.optim.AdamW(groups, lr=LEARNING_RATE)
        fall = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, self.steps)
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": fall, "interval": "step"}}

    def training_step(self, rows: Tensor, _: int) -> Tensor:
        loss = self.loss(rows)
        self.log("train", loss, prog_bar=True)
        return loss

    def validation_step(self, _: Tensor, __: int) -> None:
        self.log("valid", self.valid_loss(), prog_bar=True, batch_size=1)


def fit(
    module: nn.Module,
    loss: Callable[[Tensor], Tensor],
    n_examples: int,
    steps: int,
    generator: torch.Generator,
    valid_loss: Callable[[], float],
) -> None:
    """Train those parameters of a module that are not frozen with AdamW; the rate falls as half a cosine.

    Args:
        loss: loss of the examples with these numbers, (BATCH,).
        valid_loss: loss of the examples that are kept for validation; shown every LOG_EVERY steps.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="lightning")  # advice on worker processes
        trainer = pl.Trainer(
            accelerator="cpu",
            devices=1,
            max_steps=steps,
            val_check_interval=min(LOG_EVERY, steps),
            check_val_every_n_epoch=None,
            num_sanity_val_steps=0,
            logger=False,
            enable_checkpointing=False,
            enable_model_summary=False,
        )
        rows = DataLoader(_Rows(n_valid_of(n_examples), n_examples, generator), batch_size=None)
        module.train()  # the Trainer leaves modes as they are
        trainer.fit(_Fit(module, loss, steps, valid_loss), rows, DataLoader([torch.zeros(1)]))  # type: ignore[arg-type]
    module.eval()
