"""The style of a recording: which seconds of it, and the style tokens that they become."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from features.audio import Audio, AudioSource
from features.recordings import in_phase, open_recording
from flowmusic.api.clip import StyleInfo
from flowmusic.api.pretrained import Pretrained
from flowmusic.conditioning.style import MAX_EXCERPT_S, MIN_EXCERPT_S, StyleTokens
from flowmusic.conditioning.style_encoder import StyleFeatures
from flowmusic.conditioning.style_features import style_extractor

LEVEL = 10 ** (-22 / 20)
"""Root mean square that excerpts are brought to: about that of the songs in training."""

_SILENCE = 1e-4  # -80 dB


@dataclass(frozen=True)
class StyleReference:
    """The excerpt of a recording that style is taken from; `name` is its path, or what it was."""

    name: str
    audio: Audio
    start_s: float
    end_s: float

    def info(self, codebooks: int | None) -> StyleInfo:
        """What a sidecar says of it; `codebooks` None means all."""
        return StyleInfo(name=self.name, start=self.start_s, end=self.end_s, codebooks=codebooks)


def open_style(source: AudioSource, excerpt_s: tuple[float, float] | None = None) -> StyleReference:
    """The excerpt from excerpt_s[0] to excerpt_s[1], or the loudest 4.5 s of a recording.

    Raises:
        ValueError: a recording that cannot be read, or is too short or silent there; an excerpt shorter
            than 1.5 s or longer than 4.5 s, or beyond the end of the recording.
    """
    name, audio = open_recording(source, "the style reference")
    audio = in_phase(name, audio)
    if audio.duration_s < MIN_EXCERPT_S:
        raise ValueError(
            f"{name} lasts {audio.duration_s:.2f} s; expected at least {MIN_EXCERPT_S} s of style"
        )
    start_s, end_s = _loudest(audio) if excerpt_s is None else _checked(excerpt_s, audio.duration_s, name)
    first, last = round(start_s * audio.sample_rate), round(end_s * audio.sample_rate)
    samples = audio.samples[:, first:last]
    if float(np.abs(samples).max(initial=0.0)) < _SILENCE:
        raise ValueError(f"{name} is silent from {start_s:g} to {end_s:g} s; expected sound")
    return StyleReference(name, Audio(samples, audio.sample_rate), start_s, end_s)


def encode_style(model: Pretrained, reference: StyleReference, codebooks: int | None = None) -> StyleTokens:
    """Style tokens (1, M, style_dim) by the first `codebooks` of the quantiser (all); fewer are looser.

    ValueError where the model was trained without style, or has fewer codebooks.
    """
    conditioner = model.network.style
    if conditioner is None:
        raise ValueError(f"the model {model.name!r} was trained without style: it takes no style reference")
    if codebooks is not None and (isinstance(codebooks, bool) or not isinstance(codebooks, int)):
        raise ValueError(f"style_codebooks must be a whole number, got {codebooks!r}")
    device = next(conditioner.parameters()).device
    # Of the sum: the style is that of the sound, wherever it comes from.
    level = max(float(np.sqrt(np.mean(np.square(reference.audio.mono())))), _SILENCE)
    levelled = Audio(reference.audio.samples * (LEVEL / level), reference.audio.sample_rate)
    values = style_extractor(conditioner.config, model.codec, device).extract(levelled)  # (T, F)
    features = StyleFeatures(
        values[None].to(device), torch.ones(1, values.shape[0], dtype=torch.bool, device=device)
    )
    with torch.no_grad():
        tokens = conditioner(features, codebooks).tokens
    return StyleTokens(tokens.tokens.cpu(), tokens.mask.cpu())


def _checked(excerpt_s: tuple[float, float], duration_s: float, name: str) -> tuple[float, float]:
    start_s, end_s = excerpt_s
    if not 0 <= start_s < end_s <= duration_s + 1e-6:
        raise ValueError(
            f"style_excerpt must lie within the {duration_s:.2f} s of {name}, got {start_s:g} to {end_s:g} s"
        )
    if not MIN_EXCERPT_S - 1e-6 <= end_s - start_s <= MAX_EXCERPT_S + 1e-6:
        raise ValueError(
            f"style_excerpt must last {MIN_EXCERPT_S} to {MAX_EXCERPT_S} s, got {end_s - start_s:g} s"
        )
    return float(start_s), float(end_s)


def _loudest(audio: Audio) -> tuple[float, float]:
    """Start and end of the loudest window, to half a second: where a song has all its instruments."""
    length_s = min(MAX_EXCERPT_S, audio.duration_s)
    power = np.concatenate([[0.0], np.cumsum(np.square(audio.mono(), dtype=np.float64))])
    size = min(round(length_s * audio.sample_rate), audio.n_samples)
    starts = np.arange(0, audio.n_samples - size + 1, max(audio.sample_rate // 2, 1))
    start = int(starts[np.argmax(power[starts + size] - power[starts])])
    return start / audio.sample_rate, (start + size) / audio.sample_rate
