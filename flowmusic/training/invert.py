"""Textual inversion: a pseudo-word that stands for the sound of recordings in a frozen model
(arXiv 2208.01618; for music with a style prompt 2407.12563, §3.3).

Only the embeddings of the word are learned. This is the one loop by hand: some hundred steps inside a
command, which stops early and keeps the best. Lightning's Trainer would bring files and a start of two
seconds, and nothing of it would be used.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from features.audio import AudioSource, to_audio
from features.text_files import unprintable
from flowmusic.api.pretrained import Pretrained
from flowmusic.codec.protocol import encode_audio
from flowmusic.conditioning.condition import Condition
from flowmusic.conditioning.inversion import Inversion
from flowmusic.conditioning.pseudo_words import (
    check_name,
    encode_with_words,
    encoder_fingerprint,
    word_embeddings,
)
from flowmusic.conditioning.text import TextTokens, WordEncoder
from flowmusic.flow.path import cfm_loss
from flowmusic.lm.transformer import TokenTransformer
from flowmusic.model.transformer import FlowTransformer

PROMPTS = ("{}", "music of {}", "a recording of {}", "{} music", "in the style of {}")
MIN_REFERENCE_S = 4.0


@dataclass(frozen=True)
class InversionPlan:
    """How long and how hard a pseudo-word is learned.

    steps, batch    of the optimiser; excerpts of excerpt_frames latent frames
    check_every     steps between two looks at the loss of fixed excerpts, noises and times
    patience        looks without a gain after which it stops
    seed            of excerpts, noises, times and prompts
    """

    steps: int = 300
    batch: int = 4
    excerpt_frames: int = 100
    learning_rate: float = 0.005
    check_every: int = 25
    check_batches: int = 4
    patience: int = 4
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("steps", "batch", "excerpt_frames", "check_every", "check_batches", "patience"):
            if getattr(self, name) < 1:
                raise ValueError(f"InversionPlan.{name} must be at least 1, got {getattr(self, name)}")


@dataclass(frozen=True)
class InversionResult:
    """The inversion with the lowest loss, and that loss: at the start, at its best, and how far it went."""

    inversion: Inversion
    start_loss: float
    best_loss: float
    steps: int


def invert(
    model: Pretrained,
    encoder: WordEncoder,
    references: Sequence[AudioSource],
    name: str,
    initial_words: str = "music",
    plan: InversionPlan | None = None,
    progress: Callable[[int, int, float], None] | None = None,
) -> InversionResult:
    """Learn the pseudo-word `name` from recordings of 4 s or more.

    initial_words   what the word begins as: as many embeddings as these words have tokens
    progress        called with (step, steps, best loss) at every look

    Raises:
        ValueError: a wrong name, no or unusable recordings, no words to start from.
    """
    plan = plan or InversionPlan()
    check_name(name)
    if character := unprintable(initial_words):
        raise ValueError(f"the initial words must be a text without control characters, got {character}")
    pool = encode_references(model, references, plan.excerpt_frames)
    embeddings = word_embeddings(encoder, initial_words).clone().requires_grad_()
    optimiser = torch.optim.Adam([embeddings], lr=plan.learning_rate)
    learner = _Learner(model, encoder, pool, name, plan)
    start_loss = best_loss = learner.check(embeddings)
    best, since, step = embeddings.detach().clone(), 0, 0
    while step < plan.steps and since < plan.patience:
        loss = learner.loss(embeddings, plan.seed * 1_000_003 + step, PROMPTS[step % len(PROMPTS)])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        step += 1
        if step % plan.check_every == 0 or step == plan.steps:
            found, since = learner.check(embeddings), since + 1
            if found < best_loss:
                best_loss, best, since = found, embeddings.detach().clone(), 0
            if progress is not None:
                progress(step, plan.steps, best_loss)
    inversion = Inversion(name, best, model.fingerprint, encoder_fingerprint(encoder), initial_words)
    return InversionResult(inversion, start_loss, best_loss, step)


def encode_references(
    model: Pretrained, references: Sequence[AudioSource], excerpt_frames: int
) -> list[Tensor]:
    """Latents (T, D) of each recording; ValueError for those that are too short or silent, or none."""
    if not references:
        raise ValueError("expected at least one recording to invert, got none")
    shortest_s = max(MIN_REFERENCE_S, excerpt_frames / model.codec.frame_rate)
    device, latents = model.device, []
    for source in references:
        audio = to_audio(source)
        said = str(source) if not isinstance(source, tuple) else "a recording"
        if audio.duration_s < shortest_s:
            raise ValueError(f"{said:.80} lasts {audio.duration_s:.2f} s; expected at least {shortest_s:g} s")
        if abs(audio.samples).max() < 1e-4:
            raise ValueError(f"{said:.80} is silent; expected sound")
        latents.append(encode_audio(model.codec, audio, device)[0])
    return latents


Objective = Callable[[Tensor, Condition, torch.Generator], Tensor]
"""The mean loss of latents (B, T, D) under a condition; the generator draws what is random in it."""


def objective_of(network: FlowTransformer | TokenTransformer) -> Objective:
    """What a network was trained with: flow matching, or cross entropy of the next token."""
    if isinstance(network, TokenTransformer):
        return lambda x_1, condition, generator: network.losses(network.latents.encode(x_1), condition).mean()

    def flow_loss(x_1: Tensor, condition: Condition, generator: torch.Generator) -> Tensor:
        prepared = network.prepare(condition)
        return cfm_loss(
            lambda x_t, t: network.velocity(x_t, t, prepared),
            x_1,
            generator,
            sampler="logit_normal",
            weight="uniform",
        ).loss

    return flow_loss


class _Learner:
    """The loss of an embedding on excerpts of the references, through the frozen model."""

    def __init__(
        self,
        model: Pretrained,
        encoder: WordEncoder,
        pool: list[Tensor],
        name: str,
        plan: InversionPlan,
    ) -> None:
        network = model.network.eval().requires_grad_(False)
        self.objective, self.shape = objective_of(network), network.config.condition_shape
        self.encoder, self.pool, self.name, self.plan = encoder, pool, name, plan

    @torch.no_grad()
    def check(self, embeddings: Tensor) -> float:
        """Mean loss of excerpts, noises and times that no step of the training draws."""
        seeds = range(2**40, 2**40 + self.plan.check_batches)
        losses = [self.loss(embeddings, seed, PROMPTS[0]) for seed in seeds]
        return float(torch.stack(losses).mean())

    def loss(self, embeddings: Tensor, seed: int, prompt: str) -> Tensor:
        generator = torch.Generator().manual_seed(seed)
        x_1 = torch.stack([self._excerpt(generator) for _ in range(self.plan.batch)])  # (B, T, D)
        states = encode_with_words(self.encoder, prompt.format(self.name), {self.name: embeddings})  # (L, E)
        text = TextTokens(
            states.expand(self.plan.batch, -1, -1),
            torch.ones(self.plan.batch, states.shape[0], dtype=torch.bool),
        )
        condition = Condition.null(self.plan.batch, self.plan.excerpt_frames, self.shape)
        return self.objective(x_1, condition.with_tokens(text).to(x_1.device), generator)

    def _excerpt(self, generator: torch.Generator) -> Tensor:
        """(T, D): longer recordings are drawn more often, in proportion."""
        rooms = torch.tensor([latents.shape[0] - self.plan.excerpt_frames + 1 for latents in self.pool])
        place = int(torch.randint(int(rooms.sum()), (), generator=generator))
        for latents, room in zip(self.pool, rooms.tolist(), strict=True):
            if place < room:
                return latents[place : place + self.plan.excerpt_frames]
            place -= room
        raise AssertionError("the place lies within the rooms")
