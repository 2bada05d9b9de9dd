"""Drum separation: a mix -> its drum stem, by models of the Demucs family."""

from __future__ import annotations

import hashlib
import inspect
import json
from fractions import Fraction
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from features.audio import Audio, AudioError
from features.hub import TIMEOUT_S, split_revision
from features.tensor_files import read_tensors
from features.text_files import read_json, read_text

ASSETS = Path(__file__).parent / "assets"
BUNDLED_WEIGHTS = ASSETS / "drum_separator.safetensors"
DEMUCS_CLASSES = ("HDemucs", "HTDemucs")
RESIDUE_DB = -30.0
"""A stem whose loudest moments are this far below the mix's is what a separator leaks, not drums."""

_OVERLAP = 0.25
_SEGMENTS = 8
"""Segments in a batch on a GPU; a CPU computes one at a time."""

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
    """A small model of demucs' own class, trained by flowmusic on rendered stems; mono.

    Args:
        weights: safetensors file, with the model's class and init arguments in a .json beside it.
            By default the one that ships with this package.

    Raises:
        ValueError: demucs is not installed, or a file is missing or does not fit.
    """

    def __init__(self, weights: Path | None = None) -> None:
        path = BUNDLED_WEIGHTS if weights is None else Path(weights)
        self.model = load_small_demucs(path)
        self.version = f"small-demucs-{_fingerprint(path)}"
        self._batch_size = 1

    def to(self, device: torch.device) -> None:
        """Move the model to a device, to separate several segments at once there."""
        self.model.to(device)
        self._batch_size = 1 if device.type == "cpu" else _SEGMENTS

    def separate(self, audio: Audio) -> Audio:
        """Return the drum stem, of any length: overlapping segments of a few seconds, cross-faded."""
        return _separate(self.model, audio, self._batch_size)


class HTDemucsSeparator:
    """Hybrid Transformer Demucs by its authors: 41 M parameters, about real time on one core.

    Rouard, Massa and Défossez, "Hybrid Transformers for Music Source Separation" (ICASSP 2023).

    Args:
        name: model of demucs' collection, or "name@revision" of it on the hub.
        repo: folder that holds its .yaml and .safetensors; by default they are fetched from the hub once.

    Raises:
        ValueError: demucs is not installed, the model is not to be had, or it is only there as a pickle.
    """

    def __init__(self, name: str = "htdemucs", repo: Path | None = None) -> None:
        self.model = load_pretrained_demucs(name, repo)
        self.version = f"demucs-{name}"
        self._batch_size = 1

    def to(self, device: torch.device) -> None:
        """Move the model to a device, to separate several segments at once there."""
        self.model.to(device)
        self._batch_size = 1 if device.type == "cpu" else _SEGMENTS

    def separate(self, audio: Audio) -> Audio:
        """Return the drum stem, of any length: stereo for stereo and mono for mono."""
        return _separate(self.model, audio, self._batch_size)


def build_demucs(config: dict[str, Any]) -> nn.Module:
    """Build a model from {"class": "HDemucs" | "HTDemucs", "init": {its constructor's arguments}}."""
    if set(config) != {"class", "init"} or config["class"] not in DEMUCS_CLASSES:
        raise ValueError(f"expected a 'class' among {DEMUCS_CLASSES} and its 'init' arguments, got {config}")
    try:
        model: nn.Module = _demucs_class(config["class"])(**config["init"])
    except (TypeError, AssertionError) as error:
        raise ValueError(f"{config['class']} cannot be made from {config['init']}: {error}") from error
    return model


def _demucs_class(name: str) -> Any:
    try:
        from demucs import hdemucs, htdemucs
    except ImportError as error:
        raise ValueError(f"drum separation needs demucs: pip install demucs ({error})") from error
    return hdemucs.HDemucs if name == "HDemucs" else htdemucs.HTDemucs


def load_small_demucs(weights: Path) -> nn.Module:
    """Load the model that the .json beside `weights` describes, ready for inference."""
    description = weights.with_suffix(".json")
    for path in (weights, description):
        if not path.is_file():
            raise ValueError(f"the drum separator's {path} is missing; choose another separator or reinstall")
    try:
        model = build_demucs(read_json(description, "the shape of a drum separator"))
        model.load_state_dict({name: value.float() for name, value in read_tensors(weights)[0].items()})
    except RuntimeError as error:
        raise ValueError(f"{weights} does not fit {description.name} beside it: {error}") from error
    return model.eval().requires_grad_(False)


def load_pretrained_demucs(name: str, repo: Path | None = None) -> Any:
    """Load a model of demucs' collection, in safetensors, from the folder `repo` or the hub and its cache.

    Not by `demucs.get_model`: its files (.th) are pickles, which run code, and its loader of safetensors
    calls whatever class the file names.
    """
    if repo is not None and not Path(repo).is_dir():
        raise ValueError(f"{repo} is not a folder; expected one that holds the demucs model {name!r}")
    try:
        import yaml
        from demucs.apply import BagOfModels
    except ImportError as error:
        raise ValueError(f"the separator {name!r} needs demucs: pip install demucs ({error})") from error
    file = _demucs_file(name, f"{split_revision(name)[0]}.yaml", repo)
    try:
        bag = yaml.safe_load(read_text(file, "the parts of a demucs model (YAML)"))
        models = [read_demucs(_demucs_file(name, f"{part}.safetensors", repo)) for part in bag["models"]]
        model = BagOfModels(models, bag.get("weights"), bag.get("segment"))
    except (yaml.YAMLError, KeyError, TypeError, AssertionError) as error:
        raise ValueError(f"{file} does not describe a demucs model: {error!r}") from error
    if "drums" not in model.sources:
        raise ValueError(f"the demucs model {name!r} has no drums; it separates {', '.join(model.sources)}")
    return model.eval()


def _demucs_file(name: str, file: str, repo: Path | None) -> Path:
    """Find a file of the demucs model `name` ("htdemucs@revision"); it is fetched once if `repo` is None."""
    from demucs.hf import DEFAULT_NAMESPACE, hf_repo_name
    from huggingface_hub import hf_hub_download

    place, revision = split_revision(name)
    hub_id = f"{DEFAULT_NAMESPACE}/{hf_repo_name(place)}"
    if repo is not None:
        path = Path(repo) / file
        if path.is_file():
            return path
        pickled = " (its .th files are pickles, which are never read)" if any(Path(repo).glob("*.th")) else ""
        raise ValueError(
            f"the separator {name!r} is not in {repo}: expected {file} there{pickled}; "
            f"fetch the files of {hub_id} from the hub, or use the bundled separator"
        )
    try:
        return Path(hf_hub_download(hub_id, file, revision=revision, etag_timeout=TIMEOUT_S))
    except (OSError, ValueError) as error:
        first_line = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ValueError(
            f"the separator {name!r} could not be fetched from {hub_id} (offline?): {first_line}; "
            "use the bundled separator"
        ) from error


def read_demucs(path: Path) -> nn.Module:
    """Read a file as demucs publishes them: safetensors whose metadata name class and arguments.

    Raises:
        ValueError: it is another file, or names a class that is none of `DEMUCS_CLASSES`.
    """

    def decode(item: dict[str, Any]) -> Any:
        is_fraction = item.get("_type") == "fraction"
        return Fraction(item["numerator"], item["denominator"]) if is_fraction else item

    state, about = read_tensors(path, "a demucs model")
    try:
        package, _, name = about["klass"].rpartition(".")
        if package != f"demucs.{name.lower()}" or name not in DEMUCS_CLASSES or "structure" in about:
            raise ValueError(
                f"its class {about['klass']} is none of {', '.join(DEMUCS_CLASSES)}, in full precision"
            )
        args, kwargs = (json.loads(about[key], object_hook=decode) for key in ("args", "kwargs"))
        parameters = inspect.signature(_demucs_class(name)).parameters
        # arguments of older versions, which do not matter to trained weights: demucs too leaves them out
        known = {key: value for key, value in kwargs.items() if key in parameters}
        model = build_demucs({"class": name, "init": dict(zip(parameters, args, strict=False)) | known})
        model.load_state_dict({key: value.float() for key, value in state.items()})
    except (
        KeyError,
        TypeError,
        ArithmeticError,
        RuntimeError,
        ValueError,
    ) as error:
        raise ValueError(f"{path} cannot be read as a demucs model: {error}") from error
    return model


def _separate(model: Any, audio: Audio, batch_size: int) -> Audio:
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
    mix = functional.pad(mix, (0, missing)).expand(model_channels, -1)  # (C, S)
    mix = mix.to(next(model.parameters()).device)
    stem = _drums(model, mix, batch_size).cpu().numpy()[:, : mix.shape[1] - missing]  # (C, S)
    if audio.samples.shape[0] != model_channels:
        stem = stem.mean(axis=0, keepdims=True)
    if _loudest_db(stem, model_rate) < _loudest_db(extracted, audio.sample_rate) + RESIDUE_DB:
        stem = np.zeros_like(stem)
    back = Audio(np.ascontiguousarray(stem), model_rate).resampled(audio.sample_rate)
    return back.fitted(audio.duration_s)


def _drums(model: Any, mix: Tensor, batch_size: int) -> Tensor:
    """The drum stem (C, S) of a mix (C, S), on its device; of a collection of models their weighted mean."""
    place = model.sources.index("drums")
    parts = model.models if hasattr(model, "models") else [model]
    weights = [row[place] for row in model.weights] if hasattr(model, "weights") else [1.0]
    stems = [
        weight * _overlapped(part, place, mix, batch_size)
        for part, weight in zip(parts, weights, strict=True)
    ]
    return torch.stack(stems).sum(dim=0) / sum(weights)


@torch.inference_mode()
def _overlapped(model: Any, place: int, mix: Tensor, batch_size: int) -> Tensor:
    """One source (C, S) of a mix, by overlapping segments with triangular weights, as `demucs.apply` does it.

    That gives a model one segment at a time; here it gets `batch_size` of them, which a GPU needs.
    """
    length = int(model.samplerate * model.segment)
    n_samples, half = mix.shape[1], length // 2
    rising = torch.arange(1, half + 1, device=mix.device)
    falling = torch.arange(length - half, 0, -1, device=mix.device)
    weight = torch.cat([rising, falling]) / (length - half)
    offsets = range(0, n_samples, int((1 - _OVERLAP) * length))
    stem, total = torch.zeros_like(mix), torch.zeros(n_samples, device=mix.device)
    for first in range(0, len(offsets), batch_size):
        batch = {offset: min(length, n_samples - offset) for offset in offsets[first : first + batch_size]}
        segments = [_segment(model, mix, offset, size) for offset, size in batch.items()]
        if len({segment.shape for segment in segments}) == 1:
            sources = list(model(torch.stack(segments))[:, place])
        else:  # the last segment is shorter
            sources = [*model(torch.stack(segments[:-1]))[:, place], model(segments[-1][None])[0, place]]
        for (offset, size), source in zip(batch.items(), sources, strict=True):
            begin = (source.shape[1] - size) // 2
            stem[:, offset : offset + size] += weight[:size] * source[:, begin : begin + size]
            total[offset : offset + size] += weight[:size]
    return stem / total


def _segment(model: Any, mix: Tensor, offset: int, length: int) -> Tensor:
    """(C, S') of the mix around `length` samples from `offset` on, as many as the model wants to see."""
    wanted = int(model.valid_length(length)) if hasattr(model, "valid_length") else length
    start = offset - (wanted - length) // 2
    before, after = max(0, -start), max(0, start + wanted - mix.shape[1])
    return functional.pad(mix[:, max(0, start) : start + wanted], (before, after))


def _loudest_db(samples: np.ndarray, sample_rate: int) -> float:
    """Return the level in dB of the loudest hundredth of 20 ms frames of (C, S)."""
    n_frames = max(1, round(samples.shape[1] / (_FRAME_S * sample_rate)))
    powers = np.sort([np.mean(piece**2) for piece in np.array_split(samples, n_frames, axis=1)])
    return 10.0 * float(np.log10(np.mean(powers[-max(1, n_frames // 100) :]) + 1e-20))


def _fingerprint(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:12]
