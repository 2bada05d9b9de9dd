"""FlowMusic: Request -> prepare -> render -> Clip."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from features.audio import Audio, AudioSource, to_audio
from features.extract import Extractors, Progress, no_progress
from features.frames import CONTROL_FRAME_RATE
from flowmusic import __version__
from flowmusic.api.clip import Clip, ClipInfo, ModelInfo, ReferenceInfo
from flowmusic.api.dtype import AUTO
from flowmusic.api.editing import Canvas, put_back
from flowmusic.api.loudness import at_loudness, integrated_loudness, limit
from flowmusic.api.prepared import ModelLimits, Prepared, prepare
from flowmusic.api.pretrained import Pretrained, load_pretrained, save_pretrained
from flowmusic.api.refine import refined
from flowmusic.api.request import Request
from flowmusic.api.sampling import Draw, Sampled, batches, sample
from flowmusic.codec.decoding import decode_clips
from flowmusic.codec.protocol import encode_audio
from flowmusic.conditioning.condition import Condition
from flowmusic.errors import is_out_of_memory
from flowmusic.flow.solver import check_finite
from flowmusic.lm.transformer import TokenTransformer
from flowmusic.runtime import free_memory

log = logging.getLogger(__name__)

BATCH_SIZE = 32
"""Clips that an accelerator makes at once; one by one a CPU is 1.24 times as fast as four at once."""


class FlowMusic:
    """A model to generate with: `FlowMusic.from_pretrained().generate(text=..., drums=..., ...)`.

    batch_size   clips that are made at once; by default BATCH_SIZE on an accelerator, 1 on a CPU
    """

    def __init__(
        self, model: Pretrained, extractors: Extractors | None = None, batch_size: int | None = None
    ) -> None:
        if batch_size is not None and batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}")
        self.model = model
        self.extractors = extractors or Extractors()
        self.batch_size = batch_size or (1 if model.device.type == "cpu" else BATCH_SIZE)
        codec, network = model.codec, model.network
        if abs(network.config.control_fold * codec.frame_rate - CONTROL_FRAME_RATE) > 1e-6:
            raise ValueError(
                f"the model folds {network.config.control_fold} control frames into each of "
                f"{codec.frame_rate:g} latent frames a second; "
                f"expected {CONTROL_FRAME_RATE:g} control frames a second"
            )

    @classmethod
    def from_pretrained(
        cls,
        source: str | Path | None = None,
        device: str = "cpu",
        extractors: Extractors | None = None,
        dtype: str = AUTO,
    ) -> FlowMusic:
        """Load the bundled model (no source), one in a folder, or one of the Hugging Face hub (`owner/name`).

        Args:
            dtype: 'float32', 'bfloat16', 'float16'; 'auto' is bfloat16 where the device multiplies it
                correctly, else float32.

        Raises:
            ValueError: no such model, files that are broken or do not fit together, or a device or dtype that
                this machine does not have.
        """
        return cls(load_pretrained(source, device, dtype), extractors)

    def save_pretrained(self, folder: str | Path, card: str | None = None) -> Path:
        """Write the model as a folder that `from_pretrained` reads; `card` is its README.md."""
        return save_pretrained(self.model, folder, card)

    @property
    def sample_rate(self) -> int:
        return self.model.codec.sample_rate

    @property
    def limits(self) -> ModelLimits:
        """What opening a request asks of the model."""
        return ModelLimits.of(self.model)

    def generate(
        self, request: Request | None = None, *, progress: Progress = no_progress, **options: Any
    ) -> Clip:
        """Make one clip: `render(prepare(request), [request.seed])`. The same request gives the same bytes.

        Args:
            request: what is asked for; or its fields as keywords, such as text="calm piano", chords="Am | F".
            progress: called with (stage, parts done, parts in all).

        Raises:
            ValueError: an option or a reference that cannot be used; before any long work.
            ArithmeticError: the solver's result holds NaN or Inf.
        """
        if request is not None and options:
            request = request.replace(**options)
        prepared = self.prepare(Request(**options) if request is None else request, progress)
        return self.render(prepared, [prepared.request.seed], progress)[0]

    def prepare(self, request: Request, progress: Progress = no_progress) -> Prepared:
        """Do once what does not depend on the seed: open references, extract controls, read text and style,
        compose where only a text is given.

        Raises:
            ValueError: an option or a reference that cannot be used; before any long work.
        """
        return prepare(self.model, self.extractors, request, progress)

    def render(
        self, prepared: Prepared, seeds: Sequence[int], progress: Progress = no_progress
    ) -> list[Clip]:
        """Make a clip for each seed, as `render_each` does."""
        return list(self.render_each(prepared, seeds, progress))

    def render_each(
        self, prepared: Prepared, seeds: Sequence[int], progress: Progress = no_progress
    ) -> Iterator[Clip]:
        """Make a clip for each seed, in batches of `batch_size`, and yield them in the order of the seeds.

        A clip's noise depends on its seed alone, on any device. With a batch size of 1, the default on a CPU,
        its bytes do not depend on the other seeds either.
        """
        yield from self.render_draws([Draw(prepared, seed) for seed in seeds], progress)

    def render_draws(self, draws: Sequence[Draw], progress: Progress = no_progress) -> Iterator[Clip]:
        """Make clips of several requests, those of like length in one batch; yield them in the order given.

        Where memory is not enough for a batch, `batch_size` is halved, with a warning.

        Raises:
            ArithmeticError: the solver's result holds NaN or Inf.
        """
        waiting = deque(batches(self.model, draws, self.batch_size))
        made: dict[int, Clip] = {}
        next_place = n_done = 0
        while waiting:
            places = waiting.popleft()
            if len(places) > self.batch_size:  # it was halved
                waiting.extendleft((places[self.batch_size :], places[: self.batch_size]))
                continue
            try:
                part = _Part(progress, n_done, len(places), len(draws))
                clips = self._render([draws[place] for place in places], part)
            except Exception as error:
                if len(places) == 1 or not is_out_of_memory(error):
                    raise
                clips = []
            if not clips:  # the error is gone here, and with it the tensors of the frames that raised it
                free_memory(self.model.device)
                self.batch_size = (len(places) + 1) // 2
                log.warning("not enough memory for %d clips at once: making %d", len(places), self.batch_size)
                waiting.appendleft(places)
                continue
            made |= zip(places, clips, strict=True)
            n_done += len(places)
            while next_place in made:
                yield made.pop(next_place)
                next_place += 1

    def _render(self, draws: Sequence[Draw], progress: Progress) -> list[Clip]:
        """The clips of one batch; each has an equal part of the seconds that the batch took."""
        started = time.perf_counter()
        sampled = sample(self.model, draws, self.batch_size == 1, progress)
        solved_at = time.perf_counter()
        decoded = self._decode(draws, sampled)
        seconds = {
            "sampling": (solved_at - started) / len(draws),
            "decoding": (time.perf_counter() - solved_at) / len(draws),
        }
        return [
            self._finished(draw, sound, latents, evaluations, sampled.condition_sets, seconds)
            for draw, sound, latents, evaluations in zip(
                draws, decoded, sampled.latents, sampled.evaluations, strict=True
            )
        ]

    def _decode(self, draws: Sequence[Draw], sampled: Sampled) -> list[np.ndarray]:
        """The sound (C, S) of each clip; clips of one length are decoded as one batch."""
        sounds: dict[int, np.ndarray] = {}
        of_length: dict[float, list[int]] = {}
        for place, draw in enumerate(draws):
            of_length.setdefault(draw.prepared.duration_s, []).append(place)
        for duration_s, places in of_length.items():
            canvas = draws[places[0]].prepared.canvas
            latents = torch.stack([sampled.latents[place] for place in places])
            loops = canvas is not None and canvas.loop
            decoded = decode_clips(self.model.codec, latents, round(duration_s * self.sample_rate), loops)
            sounds |= zip(places, decoded, strict=True)
        sampler = draws[0].prepared.sampler
        for sound in sounds.values():
            check_finite(torch.as_tensor(sound), sampler.guidance_text, sampler.steps, sampler.solver)
        return [sounds[place] for place in range(len(draws))]

    def _finished(
        self,
        draw: Draw,
        decoded: np.ndarray,
        latents: Tensor,
        evaluations: int,
        condition_sets: int,
        seconds: dict[str, float],
    ) -> Clip:
        """The clip of decoded sound (C, S): kept sound put back, its loudness set, its settings noted."""
        prepared, canvas, request = draw.prepared, draw.prepared.canvas, draw.prepared.request
        started = time.perf_counter()
        audio, gain = finished(decoded, self.sample_rate, self.model.defaults.peak, canvas, request.loudness)
        finishing = time.perf_counter() - started
        loudness = None if request.loudness is None else integrated_loudness(audio, self.sample_rate)
        loudness = None if loudness is None else round(loudness, 2)
        seconds = prepared.seconds | seconds | {"decoding": seconds["decoding"] + finishing}
        info = ClipInfo(
            flowmusic=__version__,
            model=ModelInfo(
                name=self.model.name,
                fingerprint=self.model.fingerprint,
                license=self.model.license,
                credits=self.model.credits,
            ),
            request=request.replace(seed=draw.seed),
            files=prepared.files,
            references={
                item.role: ReferenceInfo(name=item.name, duration=item.duration_s)
                for item in prepared.references
            },
            style=prepared.style_info,
            composed=prepared.song_info,
            extractors=self.extractors.names,
            controls=prepared.controls.given,
            duration=prepared.duration_s,
            kept=() if canvas is None else canvas.kept_s(self.sample_rate),
            sample_rate=self.sample_rate,
            seed=draw.seed,
            solver=prepared.sampler.solver,
            steps=prepared.sampler.steps or evaluations,
            guidance=prepared.sampler.guidance_text,
            evaluations=evaluations,
            condition_sets=condition_sets,
            gain=gain,
            loudness=loudness,
            seconds={name: round(value, 3) for name, value in seconds.items()},
            torch=torch.__version__,
            dtype=self.model.dtype_name,
            threads=torch.get_num_threads(),
        )
        return Clip(audio, self.sample_rate, prepared.controls, latents.cpu(), info, prepared.followed)

    @torch.no_grad()
    def resynthesise(self, audio: AudioSource) -> Audio:
        """Encode and decode a recording: the most that any clip of this model can be like it.

        A language model's clips are of its tokens, and refined, so that its resynthesis is as well.
        """
        original = to_audio(audio).resampled(self.sample_rate)
        codec, network = self.model.codec, self.model.network
        latents = encode_audio(codec, original, self.model.device)
        of_tokens = isinstance(network, TokenTransformer)
        if isinstance(network, TokenTransformer):
            latents = network.latents.decode(network.latents.encode(latents))
            if start := self.model.defaults.refine:
                nothing = Condition.null(1, latents.shape[1], network.config.condition_shape)
                nothing = nothing.to(self.model.device)
                latents = refined(self.model.refiner, latents, nothing, start, 0, codec.frame_rate)
        decoded = codec.decode(latents, generated=of_tokens)[0, :, : original.n_samples]  # (C, S)
        return Audio(decoded.cpu().numpy(), self.sample_rate)


class _Part:
    """The progress of a batch of clips, as a part of all."""

    def __init__(self, progress: Progress, n_done: int, n_clips: int, of: int) -> None:
        self.progress, self.n_done, self.n_clips, self.of = progress, n_done, n_clips, of

    def __call__(self, stage: str, done: int, total: int) -> None:
        self.progress(stage, self.n_done * total + self.n_clips * done, self.of * total)


def finished(
    decoded: np.ndarray, sample_rate: int, peak: float, canvas: Canvas | None, loudness: float | None
) -> tuple[np.ndarray, float]:
    """The sound (C, S) of a clip with what it keeps put back, within `peak` and at its loudness; and its
    gain.

    What is kept of a context has its own level, and the sound between belongs beside it: there only the peaks
    are limited, all of it is turned down only if a sample lies beyond 1 even so.
    """
    if canvas is not None and canvas.kept:
        filled = put_back(limit(decoded, peak, sample_rate), canvas, sample_rate)
        audio, gain = _turned_down(filled, 1.0, peak)
    else:
        audio, gain = _turned_down(decoded, peak, peak)
    audio = np.ascontiguousarray(audio, dtype=np.float32)
    if loudness is None:
        return audio, gain
    audio, louder = at_loudness(audio, sample_rate, loudness, peak)
    return audio, gain * louder


def _turned_down(audio: np.ndarray, most: float, peak: float) -> tuple[np.ndarray, float]:
    """Scaled to `peak` if a sample is beyond `most`."""
    largest = float(np.abs(audio).max(initial=0.0))
    return (audio, 1.0) if largest <= most else (audio * (peak / largest), peak / largest)
