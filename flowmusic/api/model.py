"""FlowMusic: references and text in, a clip out."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from features.audio import Audio, AudioSource, to_audio
from features.controls import Controls
from features.extract import Extractors, Progress, no_progress
from features.frames import CONTROL_FRAME_RATE
from features.references import Reference, ReferenceSource, open_reference
from flowmusic import __version__
from flowmusic.api.clip import Generation, within_peak
from flowmusic.api.editing import Canvas, Edit, HeldVelocity, lay_out, starting_point
from flowmusic.api.length import LengthRule
from flowmusic.api.pretrained import Pretrained, load_pretrained, save_pretrained
from flowmusic.api.sampler import GuidanceSource, SamplerSettings, check_seed
from flowmusic.api.style import encode_style, open_style
from flowmusic.codec.decoding import decode_clip
from flowmusic.codec.protocol import encode_audio
from flowmusic.composer.for_text import compose_for, is_text_alone
from flowmusic.conditioning.condition import Condition
from flowmusic.conditioning.inversion import Inversion, encode_text
from flowmusic.conditioning.pseudo_words import pseudo_words
from flowmusic.conditioning.text import EMBEDDED_ENCODER, TransformersTextEncoder
from flowmusic.flow.solver import SolveResult, VelocityField, noise, solve
from flowmusic.flow.windows import WindowedVelocity, clip_windows

if TYPE_CHECKING:
    from flowmusic.conditioning.style import StyleTokens
    from flowmusic.conditioning.text import TextEncoder, TextTokens

CLIP_FORMAT = "flowmusic.clip.1"
log = logging.getLogger(__name__)


class FlowMusic:
    """A model to generate with: `FlowMusic.from_pretrained().generate(text=..., drums=..., ...)`."""

    def __init__(self, model: Pretrained, extractors: Extractors | None = None) -> None:
        self.model = model
        self.extractors = extractors or Extractors()
        self._text_encoder: TextEncoder | None = None
        codec, flow = model.codec, model.flow
        if abs(flow.config.control_fold * codec.frame_rate - CONTROL_FRAME_RATE) > 1e-6:
            raise ValueError(
                f"the model folds {flow.config.control_fold} control frames into each of "
                f"{codec.frame_rate:g} latent frames a second; "
                f"expected {CONTROL_FRAME_RATE:g} control frames a second"
            )

    @classmethod
    def from_pretrained(
        cls, source: str | Path | None = None, device: str = "cpu", extractors: Extractors | None = None
    ) -> FlowMusic:
        """The embedded model (no source), one in a folder, or one of the hub (`owner/name`).

        Raises:
            ValueError: no such model, or files that are broken or do not fit together.
        """
        return cls(load_pretrained(source, device), extractors)

    def save_pretrained(self, folder: str | Path, card: str | None = None) -> Path:
        """Write the model as a folder that `from_pretrained` reads; `card` is its README.md."""
        return save_pretrained(self.model, folder, card)

    @property
    def sample_rate(self) -> int:
        return self.model.codec.sample_rate

    @property
    def lengths(self) -> LengthRule:
        codec, flow = self.model.codec, self.model.flow
        return LengthRule(self.model.defaults.duration_s, codec.frame_rate, flow.config.control_fold)

    @property
    def device(self) -> torch.device:
        return next(self.model.flow.parameters()).device

    @property
    def text_encoder(self) -> TextEncoder:
        if self._text_encoder is None:
            self._text_encoder = TransformersTextEncoder(self.model.defaults.text_encoder)
        return self._text_encoder

    @property
    def _embedded_encoder(self) -> TransformersTextEncoder | None:
        """The model's text encoder, where that is the embedded one: it is not loaded a second time."""
        encoder, name = self.text_encoder, self.model.defaults.text_encoder
        return encoder if name == EMBEDDED_ENCODER and isinstance(encoder, TransformersTextEncoder) else None

    def generate(
        self,
        text: str | None = None,
        drums: ReferenceSource | None = None,
        melody: ReferenceSource | None = None,
        chords: ReferenceSource | None = None,
        controls: Controls | None = None,
        duration_s: float | None = None,
        seed: int = 0,
        steps: int | None = None,
        solver: str | None = None,
        guidance: GuidanceSource | None = None,
        bpm: float | None = None,
        beats_per_bar: float = 4,
        loop_chords: bool = True,
        edit: Edit | None = None,
        style: AudioSource | None = None,
        style_codebooks: int | None = None,
        style_excerpt: tuple[float, float] | None = None,
        inversions: Sequence[str | Path | Inversion] = (),
        compose: bool = True,
        song: int | None = None,
        progress: Progress = no_progress,
    ) -> Generation:
        """Make one clip. The same arguments make the same bytes.

        Args:
            text: a description of instruments, tempo, mood ...
            drums, melody, chords: each a recording (file, `Audio`, or (samples, sample_rate)) or symbols
                (MIDI, `.lab`, `.csv`, or a chord chart such as "Am | F C | G7").
            controls: what was extracted before; `drums`, `melody`, `chords` take its place where given.
            duration_s: by default that of the longest reference (up to 30 s), or the model's default; any
                length up to an hour. Longer than 30 s, it is made in windows that share one velocity.
            guidance: how strongly all that is given is followed: 1 plainly, 2 more; or an expression
                (`Guidance.parse`), such as "drums=2,chords=3@0-8,text=1.5".
            bpm, beats_per_bar, loop_chords: how a chord chart is played.
            edit: sound that is kept, gone on with or varied (`flowmusic.api.editing.Edit`).
            style: a recording that the clip shall sound like, by 1.5 to 4.5 s of it: those from
                style_excerpt[0] to style_excerpt[1] seconds, or its loudest.
            style_codebooks: how closely, from 1 (loosest) to the model's number of books (the default).
            inversions: pseudo-words that the text names, as `flowmusic invert` made them.
            compose: where a text is all that is given, compose chords, drums and a melody that fit it, to be
                followed like any others (at `bpm`, where it is given).
            song: seed of what is composed: another number, another song (the clip's seed).
            progress: called with (stage, parts done, parts in all).

        Raises:
            ValueError: an argument or a reference that cannot be used; before any long work.
        """
        started = time.perf_counter()
        check_seed(seed)
        if style is None and (style_codebooks is not None or style_excerpt is not None):
            raise ValueError("style_codebooks and style_excerpt need style: the sound to be like")
        sources = {"drums": drums, "melody": melody, "chords": chords}
        references = [
            open_reference(role, source, bpm, beats_per_bar)
            for role, source in sources.items()
            if source is not None
        ]
        edit = None if edit is None else edit.opened()
        sounds_like = None if style is None else open_style(style, style_excerpt)
        style_tokens = None if sounds_like is None else encode_style(self.model, sounds_like, style_codebooks)
        tokens = self._read(text, inversions)
        duration_s = self.lengths.duration_s(duration_s, references, controls, edit)
        composition = None
        if compose and is_text_alone(text, references, controls, style, edit, song):
            song = seed if song is None else song
            composition = compose_for(text or "", duration_s, song, bpm, self._embedded_encoder)
            guidance = self.model.defaults.composed_guidance if guidance is None else guidance
        elif song is not None:
            log.warning("song %d is not used: songs are composed for a text alone", song)
        settings = SamplerSettings.of(self.model.defaults, steps, solver, guidance)
        settings.check_duration(duration_s)
        canvas = self._canvas(edit, duration_s)
        read = time.perf_counter()
        played: Sequence[Reference] = references
        if composition is not None:
            played, controls = composition.references, composition.rests(duration_s)
        known = self._controls(played, controls, duration_s, loop_chords, progress)
        extracted = time.perf_counter()
        solved, rows = self.sample([known], [seed], settings, tokens, progress, canvas, style_tokens)
        sampled = time.perf_counter()
        n_samples = round(duration_s * self.sample_rate)
        decoded = decode_clip(
            self.model.codec, solved.latents[0], n_samples, canvas is not None and canvas.loop
        )
        audio, gain = within_peak(decoded, self.model.defaults.peak, canvas, self.sample_rate)
        metadata: dict[str, object] = {
            "format": CLIP_FORMAT,
            "flowmusic": __version__,
            "model": {"name": self.model.name, "fingerprint": self.model.fingerprint},
            "text": text,
            "references": {
                item.role: {"name": item.name, "duration_s": item.duration_s} for item in references
            },
            "style": None if sounds_like is None else sounds_like.describe(style_codebooks),
            "inversions": pseudo_words(text or ""),
            "chart": {"bpm": bpm, "beats_per_bar": beats_per_bar, "loop": loop_chords},
            "listener": self.extractors.names,
            "controls": list(known.given),
            "composed": None if composition is None else composition.describe(),
            "duration_s": duration_s,
            "kept_s": [] if canvas is None else canvas.kept_s(self.sample_rate),
            "sample_rate": self.sample_rate,
            "seed": seed,
            "solver": settings.solver,
            "steps": settings.steps,
            "guidance": settings.guidance_text,
            "evaluations": solved.evaluations,
            "condition_sets": rows,
            "gain": gain,
            "seconds": {
                "reading text and style": round(read - started, 3),
                "listening": round(extracted - read, 3),
                "sampling": round(sampled - extracted, 3),
                "decoding": round(time.perf_counter() - sampled, 3),
            },
        }
        return Generation(audio, self.sample_rate, known, solved.latents[0].cpu(), metadata, tuple(played))

    def _read(self, text: str | None, inversions: Sequence[str | Path | Inversion]) -> TextTokens | None:
        """Tokens of a prompt; None where it is blank."""
        said = "" if text is None else text.strip()
        if not inversions and not pseudo_words(said):
            return self.text_encoder.encode([said]) if said else None
        if not isinstance(self.text_encoder, TransformersTextEncoder):
            raise ValueError("pseudo-words need a text encoder of transformers")
        words = [item if isinstance(item, Inversion) else Inversion.load(item) for item in inversions]
        return encode_text(self.text_encoder, said, words, self.model.fingerprint)

    @torch.no_grad()
    def sample(
        self,
        controls: list[Controls],
        seeds: list[int],
        settings: SamplerSettings,
        text: TextTokens | None = None,
        progress: Progress = no_progress,
        canvas: Canvas | None = None,
        style: StyleTokens | None = None,
    ) -> tuple[SolveResult, int]:
        """Latents (B, T, D) of B clips, and the condition sets evaluated in each step.

        All controls have one length; a clip's latents do not depend on its neighbours. A `canvas` is
        for one clip.
        """
        config = self.model.flow.config
        condition = Condition.from_controls(controls, config, text, style)
        x_0 = noise(seeds, condition.n_frames, config.latent_dim).to(self.device)
        x_t, start = x_0, 0.0
        if canvas is not None:
            condition = condition.with_context(canvas.context, canvas.known)
            x_t, start = starting_point(canvas, x_0)
        condition = condition.to(self.device)
        circular = canvas is not None and canvas.loop
        plan = clip_windows(condition.n_frames, self.model.codec.frame_rate, circular)
        windowed = WindowedVelocity(self.model.flow, condition, settings.guidance, plan)
        field: VelocityField = windowed
        if canvas is not None and canvas.known.any():
            field = HeldVelocity(windowed, x_0, condition.context, condition.context_mask)
        solved = solve(
            field,
            x_t,
            method=settings.solver,
            steps=settings.steps,
            shift=settings.time_shift,
            start=start,
            progress=lambda share: progress("generating", round(100 * share), 100),
        )
        return solved, windowed.rows

    @torch.no_grad()
    def resynthesise(self, audio: AudioSource) -> Audio:
        """What the codec leaves of a recording: the most that any clip of this model can be like it."""
        original = to_audio(audio).resampled(self.sample_rate)
        latents = encode_audio(self.model.codec, original, self.device)
        decoded = self.model.codec.decode(latents)[0, :, : original.n_samples]  # (C, S)
        return Audio(decoded.cpu().numpy(), self.sample_rate)

    def _controls(
        self,
        references: Sequence[Reference],
        controls: Controls | None,
        duration_s: float,
        loop_chords: bool,
        progress: Progress,
    ) -> Controls:
        """All that is known of the clip, on as many control frames as its latent frames fold."""
        if controls is not None and abs(controls.frame_rate - CONTROL_FRAME_RATE) > 1e-6:
            raise ValueError(
                f"controls have {controls.frame_rate:g} frames a second; expected {CONTROL_FRAME_RATE:g}"
            )
        known = self.extractors.extract(
            references, self.lengths.extraction_s(duration_s), loop_chords, progress
        )
        return known if controls is None else known.combine(controls.fit(known.n_frames))

    def _canvas(self, edit: Edit | None, duration_s: float) -> Canvas | None:
        if edit is None:
            return None
        n_frames = self.lengths.latent_frames(duration_s)
        return lay_out(edit, self.model.codec, n_frames, duration_s, self.device)
