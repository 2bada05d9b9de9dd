"""Recordings: opened, and checked for what can be used, without anything that needs torch."""

from __future__ import annotations

import logging
import math
from pathlib import Path

import numpy as np

from features.audio import Audio, AudioError, AudioSource, read_audio, to_audio

logger = logging.getLogger(__name__)

MAX_REFERENCE_S = 600.0
MIN_REFERENCE_S = 0.1
_SILENCE = 1e-4  # -80 dB
_LOUDEST = 1e3  # 60 dB above full scale: no recording; far beyond it extractors give NaN


def open_recording(source: AudioSource, what: str) -> tuple[str, Audio]:
    """A recording that can be used, and what messages and sidecars call it: its path, or `what`.

    Raises:
        AudioError: one that cannot be read, or not used (`check_recording`).
    """
    if isinstance(source, (str, Path)):
        path = expanded(source)
        name, audio = str(path), read_audio(path, max_duration_s=MAX_REFERENCE_S)
    else:
        try:
            name, audio = what, to_audio(source)
        except AudioError as error:
            raise AudioError(f"{what}: {error}") from error
    check_recording(name, audio)
    return name, audio


def in_phase(name: str, audio: Audio) -> Audio:
    """`Audio.in_phase`, with a warning that names the recording where something was turned over."""
    turned = audio.in_phase()
    if turned is not audio:
        logger.warning("%s: its channels cancel out when they are mixed; the quieter is turned over", name)
    return turned


def check_recording(name: str, audio: Audio) -> None:
    """AudioError unless it is mono or stereo, of a sensible length and level, and not silent."""
    channels, duration_s = audio.samples.shape[0], audio.duration_s
    if channels > 2:
        raise AudioError(f"{name} has {channels} channels; expected mono or stereo: mix it down first")
    if duration_s > MAX_REFERENCE_S:
        raise AudioError(f"{name} lasts {duration_s:.0f} s; expected at most {MAX_REFERENCE_S:.0f} s: cut it")
    if duration_s < MIN_REFERENCE_S:
        raise AudioError(
            f"{name} lasts {duration_s:.4f} s ({audio.n_samples} samples); "
            f"expected at least {MIN_REFERENCE_S} s"
        )
    peak = float(np.abs(audio.samples).max())
    if peak < _SILENCE:
        level = f"its peak is {20 * math.log10(peak):.0f} dB" if peak > 0 else "all samples are 0"
        raise AudioError(f"{name} is silent ({level}); expected sound")
    if peak > _LOUDEST:
        raise AudioError(f"{name} has samples of up to {peak:.3g}; expected about -1 to 1: scale it down")


def expanded(source: str | Path) -> Path:
    """The path that a file's name means; ~ is the home folder, or a name where nobody is called so."""
    if str(source).startswith(("http://", "https://", "file://")):
        raise AudioError(f"{source} is a web address; expected a file here: download it first")
    try:
        return Path(source).expanduser()
    except RuntimeError:
        return Path(source)
