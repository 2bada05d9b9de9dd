"""FlowMusic: Request -> prepare -> render -> Clip."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from features.audio import Audio, AudioSource, to_audio
from features.extract import Extractors, Progress, no_progress
from features.frames import CONTROL_FRAME_RATE
from flowmusic import __version__
from flowmusic.api.clip import Clip, ClipInfo, ModelInfo, ReferenceInfo
from flowmusic.api.dtype import AUTO
from flowmusic.api.editing import Canvas, HeldVelocity, put_back, starting_point
from flowmusic.api.loudness import at_loudness, integrated_loudness, limit
from flowmusic.api.prepared import ModelLimits, Prepared, prepare
from flowmusic.api.pretrained import Pretrained, load_pretrained, save_pretrained
from flowmusic.api.refine import refined
from flowmusic.api.request import Request
from flowmusic.api.tokens import draw_clip
from flowmusic.codec.decoding import decode_clip
from flowmusic.codec.protocol import encode_audio
from flowmusic.conditioning.condition import Condition
from flowmusic.flow.solver import SolveResult, VelocityField, check_finite, noise, solve
from flowmusic.flow.windows import WindowedVelocity, clip_windows
from flowmusic.lm.transformer import TokenTransformer


class FlowMusic:
    """A model to generate with: `FlowMusic.from_pretrained().generate(text=..., drums=..., ...)`."""

    def __init__(self, model: Pretrained, extractors: Extractors | None = None) -> None:
        self.model = model
        self.extractors = extractors or Extractors()
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
        """Make a clip for each seed; a clip's bytes do not depend on the other seeds."""
        return list(self.render_each(prepared, seeds, progress))

    def render_each(
        self, prepared: Prepared, seeds: Sequence[int], progress: Progress = no_progress
    ) -> Iterator[Clip]:
        """The clips of `render`, one after the other."""
        for index, seed in enumerate(seeds):
            yield self._render(prepared, seed, _Part(progress, index, len(seeds)))

    def _render(self, prepared: Prepared, seed: int, progress: Progress) -> Clip:
        started = time.perf_counter()
        solved, condition_sets = self.solve(prepared, [seed], progress)
        latents = solved.latents[0]
        sampled = time.perf_counter()
        canvas, request = prepared.canvas, prepared.request
        n_samples = round(prepared.duration_s * self.sample_rate)
        decoded = decode_clip(self.model.codec, latents, n_samples, canvas is not None and canvas.loop)
        sampler = prepared.sampler
        check_finite(torch.as_tensor(decoded), sampler.guidance_text, sampler.steps, sampler.solver)
        audio, gain = finished(decoded, self.sample_rate, self.model.defaults.peak, canvas, request.loudness)
        done = time.perf_counter()
        loudness = None if request.loudness is None else integrated_loudness(audio, self.sample_rate)
        loudness = None if loudness is None else round(loudness, 2)
        seconds = prepared.seconds | {"sampling": sampled - started, "decoding": done - sampled}
        info = ClipInfo(
            flowmusic=__version__,
            model=ModelInfo(
                name=self.model.name,
                fingerprint=self.model.fingerprint,
                license=self.model.license,
                credits=self.model.credits,
            ),
            request=request.replace(seed=seed),
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
            seed=seed,
            solver=prepared.sampler.solver,
            steps=prepared.sampler.steps or solved.evaluations,
            guidance=prepared.sampler.guidance_text,
            evaluations=solved.evaluations,
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
    def solve(
        self, prepared: Prepared, seeds: Sequence[int], progress: Progress = no_progress
    ) -> tuple[SolveResult, int]:
        """Latents (B, T, D) of a clip for each seed, and the condition sets evaluated in each step."""
        network, canvas, sampler = self.model.network, prepared.canvas, prepared.sampler
        config = network.config
        one = Condition.from_controls(
            [prepared.controls], config.condition_shape, prepared.text, prepared.style
        )
        if canvas is not None:
            one = one.with_context(canvas.context, canvas.known)
        if isinstance(network, TokenTransformer):
            drawn = [
                draw_clip(self.model, one.to(self.model.device), sampler, seed, progress) for seed in seeds
            ]
            latents = torch.cat([clip.latents for clip in drawn])
            return SolveResult(latents, tuple(clip.steps for clip in drawn)), drawn[0].condition_sets
        condition = one.repeat(len(seeds)).to(self.model.device)
        x_0 = noise(seeds, condition.n_frames, config.latent_dim).to(self.model.device)
        x_t, start = (x_0, 0.0) if canvas is None else starting_point(canvas, x_0)
        plan = clip_windows(
            condition.n_frames, self.model.codec.frame_rate, canvas is not None and canvas.loop
        )
        windowed = WindowedVelocity(network, condition, sampler.guidance, plan)
        field: VelocityField = windowed
        if canvas is not None and canvas.known.any():
            field = HeldVelocity(windowed, x_0, condition.context, condition.context_mask)
        solved = solve(
            field,
            x_t,
            method=sampler.solver,
            steps=sampler.steps,
            shift=sampler.time_shift,
            start=start,
            guidance=sampler.guidance_text,
            progress=lambda share: progress("generating", round(100 * share), 100),
        )
        return solved, windowed.n_sets

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
    """The progress of one of several clips, as a part of all."""

    def __init__(self, progress: Progress, index: int, of: int) -> None:
        self.progress, self.index, self.of = progress, index, of

    def __call__(self, stage: str, done: int, total: int) -> None:
        self.progress(stage, self.index * total + done, self.of * total)


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
