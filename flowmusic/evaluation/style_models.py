"""A `FlowMusic` as the evaluations of style with text see it, and the checks before their long work."""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from features.audio import Audio
from flowmusic.evaluation.command import FlowSampler, load_model
from flowmusic.evaluation.inversion_scores import WORD, Learnt

if TYPE_CHECKING:
    from flowmusic.api.model import FlowMusic
    from flowmusic.conditioning.inversion import Inversion
    from flowmusic.training.invert import InversionPlan


@dataclass(frozen=True)
class FlowBalanceMaker(FlowSampler):
    """`flowmusic.evaluation.balance.BalanceMaker`; every clip has its own guidance."""

    codebooks: int | None = None

    def make(self, style: Audio, text: str, guidance: str, duration_s: float, seed: int) -> Audio:
        return self.clip(
            text=text,
            style=style,
            style_codebooks=self.codebooks,
            guidance=guidance,
            duration_s=duration_s,
            seed=seed,
        )


@dataclass(frozen=True, kw_only=True)
class FlowInversionMaker(FlowSampler):
    """`flowmusic.evaluation.inversions.InversionMaker`."""

    plan: InversionPlan

    def learn(self, audio: Audio, initial_words: str) -> tuple[Inversion, Learnt]:
        """The word `WORD`; ValueError where the model's text encoder has no room for words."""
        from tqdm import tqdm

        from flowmusic.conditioning.text import TransformersTextEncoder
        from flowmusic.training.invert import invert

        encoder = self.model.text_encoder
        if not isinstance(encoder, TransformersTextEncoder):
            raise ValueError("pseudo-words need a text encoder of transformers")
        with tqdm(total=self.plan.steps, desc="word", unit="step", leave=False) as bar:

            def progress(step: int, steps: int, best_loss: float) -> None:
                bar.update(step - bar.n)

            started = time.perf_counter()
            result = invert(self.model.model, encoder, [audio], WORD, initial_words, self.plan, progress)
            seconds = time.perf_counter() - started
        return result.inversion, Learnt(result.start_loss, result.best_loss, result.steps, seconds)

    def make(
        self, text: str, word: Inversion | None, style: Audio | None, duration_s: float, seed: int
    ) -> Audio:
        inversions = () if word is None else (word,)
        # plain words are to differ from a pseudo-word in the word alone: for neither is a song composed
        asked = {"text": text, "style": style, "inversions": inversions, "compose": False}
        return self.clip(**asked, duration_s=duration_s, seed=seed)


def load_styled(options: argparse.Namespace, excerpt: Audio, codebooks: int | None = None) -> FlowMusic:
    """The model of `options` (checkpoint, steps, solver, guidance, duration, seed).

    Raises:
        ValueError: no such model, or one that cannot take this excerpt as style, or be sampled so.
    """
    from flowmusic.api.style import encode_style, open_style

    model = load_model(options)
    encode_style(model.model, open_style(excerpt), codebooks)
    return model
