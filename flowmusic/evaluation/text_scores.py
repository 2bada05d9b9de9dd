"""What the text probe says of clips: a row an attribute, and how new the prompts are."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from flowmusic.evaluation.frechet import distance_of
from flowmusic.evaluation.probe import (
    ATTRIBUTES,
    Labels,
    Logistic,
    auc,
    features_of,
    inputs_for,
    mode_of,
    train_probe,
)

if TYPE_CHECKING:
    from features.audio import Audio
    from features.cache import FeatureCache
    from features.chords import LvChordia
    from flowmusic.evaluation.embeddings import EmbeddingStore
    from flowmusic.evaluation.prompts import Prompt

SMALLEST_CEILING = 0.55
"""A probe that does not tell renders apart says nothing of clips."""


@dataclass(frozen=True)
class Example:
    """A clip as the probe sees it; `labels` is what it is, or what its prompt asks for."""

    name: str
    features: dict[str, np.ndarray]
    labels: Labels


@dataclass(frozen=True)
class Row:
    """One attribute: mean probability and AUC of clips that were asked for it against those asked not to be.

    The ceiling is the AUC on unseen renders after the codec, the original that on the renders.
    """

    attribute: str
    n_asked: int
    n_others: int
    asked: float | None
    others: float | None
    auc: float | None
    ceiling: float | None
    original: float | None
    share_closed: float | None


@dataclass(frozen=True)
class Novel:
    """How new the prompts are: those found word for word among the captions, those with a word of none."""

    n_prompts: int
    n_captions: int
    verbatim: int
    with_new_words: int


class ProbeListener:
    """Features of audio, each computed once; chords are only heard where the mode is asked about."""

    def __init__(self, store: EmbeddingStore, cache: FeatureCache) -> None:
        self.store, self.cache = store, cache

    @cached_property
    def chords(self) -> LvChordia:
        from features.chords import LvChordia

        return LvChordia(n_models=1)

    def example(self, name: str, audio: Audio, labels: Labels) -> Example:
        features = features_of(audio, self.store, self.cache)
        if labels.get("minor") is not None:
            features["mode"] = mode_of(audio, self.chords, self.cache)
        return Example(name, features, labels)


def words_of(text: str) -> list[str]:
    """Words and numbers in lower case."""
    return re.findall(r"[a-z0-9#']+", text.lower())


def novelty_of(prompts: Sequence[Prompt], captions: Iterable[str]) -> Novel:
    """Compare prompts with captions, letter case and punctuation apart."""
    written = [tuple(words_of(caption)) for caption in captions]
    known, vocabulary = set(written), {word for words in written for word in words}
    ours = [tuple(words_of(prompt.text)) for prompt in prompts]
    new = sum(bool(set(words) - vocabulary) for words in ours)
    return Novel(len(ours), len(written), sum(words in known for words in ours), new)


def train_probes(examples: Sequence[Example]) -> dict[str, Logistic]:
    """One regression for each attribute.

    Raises:
        ValueError: too few examples of an attribute, naming it.
    """
    probes = {}
    for name in ATTRIBUTES:
        known = [item for item in examples if item.labels.get(name) is not None]
        inputs = np.stack([inputs_for(name, item.features) for item in known] or [np.zeros(1)])
        try:
            probes[name] = train_probe(inputs, np.array([bool(item.labels[name]) for item in known]))
        except ValueError as error:
            raise ValueError(f"the attribute {name!r} cannot be learnt from --probe: {error}") from error
    return probes


def judge(probe: Logistic, attribute: str, examples: Sequence[Example]) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities of the examples that have an attribute, and of those that have not."""

    def values(kind: bool) -> np.ndarray:
        chosen = [item for item in examples if item.labels.get(attribute) is kind]
        return (
            probe(np.stack([inputs_for(attribute, item.features) for item in chosen]))
            if chosen
            else np.zeros(0)
        )

    return values(True), values(False)


def row_of(
    attribute: str,
    probe: Logistic,
    made: Sequence[Example],
    resynthesised: Sequence[Example],
    renders: Sequence[Example],
) -> Row:
    """The figures of one attribute; None where there is no clip of one kind."""

    def area(examples: Sequence[Example]) -> float | None:
        positive, negative = judge(probe, attribute, examples)
        return auc(positive, negative) if len(positive) and len(negative) else None

    asked, others = judge(probe, attribute, made)
    score, ceiling = area(made), area(resynthesised)
    share = None
    if score is not None and ceiling is not None and ceiling > SMALLEST_CEILING:
        share = (score - 0.5) / (ceiling - 0.5)
    return Row(
        attribute=attribute,
        n_asked=len(asked),
        n_others=len(others),
        asked=float(asked.mean()) if len(asked) else None,
        others=float(others.mean()) if len(others) else None,
        auc=score,
        ceiling=ceiling,
        original=area(renders),
        share_closed=share,
    )


def frechet(first: Sequence[Example], second: Sequence[Example]) -> float:
    """Fréchet distance of the patches of two sets."""
    return distance_of(
        *(np.concatenate([item.features["patches"] for item in one]) for one in (first, second))
    )


def to_markdown(rows: Sequence[Row], novel: Novel, heading: str) -> str:
    from flowmusic.evaluation.report import markdown_table

    header = ["attribute", "clips asked", "others", "probability if asked", "otherwise", "AUC", "ceiling"]
    header += ["original", "share closed"]
    cells: list[list[str | float | None]] = [
        [row.attribute, f"{row.n_asked}", f"{row.n_others}", row.asked, row.others, row.auc]
        + [row.ceiling, row.original, row.share_closed]
        for row in rows
    ]
    return (
        f"{heading}\n\n{novel.verbatim} of {novel.n_prompts} prompts stand among {novel.n_captions} captions "
        f"of the training songs; {novel.with_new_words} hold a word that no caption has.\n\n"
        f"{markdown_table(header, cells)}"
    )
