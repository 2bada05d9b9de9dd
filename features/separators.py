"""Drum separation: a mix -> its drum stem, by models of the Demucs family."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import nn

from features.audio import Audio, AudioError

ASSETS = Path(__file__).parent / "assets"
EMBEDDED_WEIGHTS = ASSETS / "drum_separator.safetensors"
DEMUCS_CLASSES = ("HDemucs", "HTDemucs")
RESIDUE_DB = -30.0
"""A stem whose loudest moments are this far below the mix's is what a separator leaks, not drums."""

_OVERLAP = 0.25
_FRAME_S = 0.02
_SILENCE_DBFS = -70.0


class DrumSeparator(Protocol):
    """Anything that takes the drums out of a mix."""

    @property
    def version(self) -> str:
        """Name, version and settings, for the cache key."""

    def separate(self, audio: Audio) -> Audio:
        """The drum stem, mono or with as many channels; rate and length are those of `audio`."""


class NoSeparator:
    """For recordings that are drum stems already."""

    version = "none"

    def separate(self, audio: Audio) -> Audio:
        return audio


class SmallDemucsSeparator:
    """A small model of demucs' own class, trained by flowmusic on rendered stems; hears mono.

    Args:
        weights: safetensors file, with the model's class and init arguments in a .json beside it.
            By default the one that ships with this package.

    Raises:
        ValueError: demucs is not installed, or a file is missing or does not fit.
    """

    def __init__(self, weights: Path | None = None) -> None:
        path = EMBEDDED_WEIGHTS if weights is None else Path(weights)
        self.model = load_small_demucs(path)
        self.version = f"small-demucs-{_fingerprint(path)}"

    def separate(self, audio: Audio) -> Audio:
        """Drum stem of any length: overlapping segments of a few seconds, cross-faded."""
        return _separate(self.model, audio)


class HTDemucsSeparator:
    """Hybrid Transformer Demucs by its authors: 41 M parameters, about real time on one core.

    Rouard, Massa and Défossez, "Hybrid Transformers for Music Source Separation" (ICASSP 2023).

    Args:
        name: model of demucs' collection.
        repo: folder that holds it; by default it is downloaded once.

    Raises:
        ValueError: demucs is not installed, or the model is neither there nor to be had.
    """

    def __init__(self, name: str = "htdemucs", repo: Path | None = None) -> None:
        self.model = load_pretrained_demucs(name, repo)
        self.version = f"demucs-{name}"

    def separate(self, audio: Audio) -> Audio:
        """Drum stem of any length, stereo for stereo and mono for mono."""
        return _separate(self.model, audio)


def build_demucs(config: dict[str, Any]) -> nn.Module:
    """A model from {"class": "HDemucs" | "HTDemucs", "init": {its constructor's arguments}}."""
    if set(config) != {"class", "init"} or config["class"] not in DEMUCS_CLASSES:
        raise ValueError(f"expected a 'class' among {DEMUCS_CLASSES} and its 'init' arguments, got {config}")
    try:
        from demucs import hdemucs, htdemucs
    except ImportError as error:
        raise ValueError(f"drum separation needs demucs: pip install demucs ({error})") from error
    cls = hdemucs.HDemucs if config["class"] == "HDemucs" else htdemucs.HTDemucs
    try:
        model: nn.Module = cls(**config["init"])
    except (TypeError, AssertionError) as error:
        raise ValueError(f"{config['class']} cannot be made from {config['init']}: {error}") from error
    return model


def load_small_demucs(weights: Path) -> nn.Module:
    """The model described by the .json beside `weights`, with those weights, ready for inference."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    description = weights.with_suffix(".json")
    for path in (weights, description):
        if not path.is_file():
            raise ValueError(f"the drum separator's {path} is missing; choose another separator or reinstall")
    try:
        model = build_demucs(json.loads(description.read_text()))
        state = {name: value.float() for name, value in load_file(weights).items()}
        model.load_state_dict(state)
    except (SafetensorError, json.JSONDecodeError, RuntimeError) as error:
        raise ValueError(f"{weights} does not fit {description.name} beside it: {error}") from error
    return model.eval().requires_grad_(False)


def load_pretrained_demucs(name: str, repo: Path | None = None) -> Any:
    """A model of demucs' collection, from the folder `repo` or downloaded."""
    if repo is not None and not Path(repo).is_dir():
        raise ValueError(f"{repo} is not a folder; expected one that holds the demucs model {name!r}")
    try:
        from demucs.pretrained import get_model
        from demucs.repo import ModelLoadingError
    except ImportError as error:
        raise ValueError(f"the separator {name!r} needs demucs: pip install demucs ({error})") from error
    try:
        model = get_model(name, repo=None if repo is None else Path(repo))
    except (OSError, ModelLoadingError) as error:  # URLError is an OSError
        place = "could not be downloaded (offline?)" if repo is None else f"is not in {repo}"
        raise ValueError(f"the separator {name!r} {place}: {error}; use the embedded separator") from error
    if "drums" not in model.sources:
        raise ValueError(f"the demucs model {name!r} has no drums; it separates {', '.join(model.sources)}")
    return model.eval()


def _separate(model: Any, audio: Audio) -> Audio:
    from demucs.apply import apply_model

    if audio.n_samples == 0:
        raise AudioError("the recording holds no samples; expected sound")
    if 20.0 * np.log10(np.abs(audio.samples).max() + 1e-10) < _SILENCE_DBFS:
        return Audio(np.zeros_like(audio.samples), audio.sample_rate)
    model_rate, model_channels = int(model.samplerate), int(model.audio_channels)
    extracted = audio.samples if audio.samples.shape[0] == model_channels else audio.mono()[None]
    mix = torch.from_numpy(
        np.ascontiguousarray(Audio(extracted, audio.sample_rate).resampled(model_rate).samples)
    )
    missing = max(0, model_rate - mix.shape[1])  # shorter than the model's own padding needs
    mix = torch.nn.functional.pad(mix, (0, missing)).expand(model_channels, -1)[None]  # (1, C, S)
    with torch.inference_mode():
        stems = apply_model(model, mix, shifts=0, split=True, overlap=_OVERLAP, progress=False)
    stem = stems[0, model.sources.index("drums")].numpy()[:, : mix.shape[2] - missing]  # (C, S)
    if audio.samples.shape[0] != model_channels:
        stem = stem.mean(axis=0, keepdims=True)
    if _loudest_db(stem, model_rate) < _loudest_db(extracted, audio.sample_rate) + RESIDUE_DB:
        stem = np.zeros_like(stem)
    back = Audio(np.ascontiguousarray(stem), model_rate).resampled(audio.sample_rate)
    return back.fitted(audio.duration_s)


def _loudest_db(samples: np.ndarray, sample_rate: int) -> float:
    """Level of the loudest hundredth of 20 ms frames of (C, S)."""
    n_frames = max(1, round(samples.shape[1] / (_FRAME_S * sample_rate)))
    powers = np.sort([np.mean(piece**2) for piece in np.array_split(samples, n_frames, axis=1)])
    return 10.0 * float(np.log10(np.mean(powers[-max(1, n_frames // 100) :]) + 1e-20))


def _fingerprint(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:12]
