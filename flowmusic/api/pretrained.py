"""Model folders: reading and writing config.json, codec.safetensors and flow.safetensors.

    config.json         format, shapes of codec and flow (or language model), defaults of generation
    codec.safetensors   weights of the codec; none where config.json names the bundled model's
    flow.safetensors    weights of the flow transformer (16-bit floats; computed with in 32), or
    lm.safetensors      those of a language model
    README.md           the model card

Everything is checked against the shapes in config.json; whatever does not fit is one ValueError
that names the file and the key.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

import torch
from torch import nn

from features.device import find_device
from flowmusic.api.dtype import generation_dtype
from flowmusic.api.length import LengthRule
from flowmusic.api.request import MAX_STEPS, OF_A_LANGUAGE_MODEL
from flowmusic.codec.build import AnyCodec, build_codec
from flowmusic.conditioning.encoders import text_encoder
from flowmusic.conditioning.text import BUNDLED_ENCODER, TextEncoder
from flowmusic.flow.schedule import Guidance
from flowmusic.flow.solvers import SOLVERS
from flowmusic.lm.config import LmConfig
from flowmusic.lm.sampling import TokenSampling
from flowmusic.lm.transformer import TokenTransformer
from flowmusic.model.config import FlowConfig
from flowmusic.model.transformer import FlowTransformer
from flowmusic.model_files import (
    BUNDLED,
    BUNDLED_FOLDER,
    CARD_FILE,
    CODEC_FILE,
    FORMAT,
    LICENSE_FILE,
    MODEL_FILES,
    NETWORK_FILES,
    PICKLE_SUFFIXES,
    Terms,
    codec_place,
    network_of,
    read_config,
    resolve,
)
from flowmusic.weights import CONFIG_FILE, load_exactly, read_weights, save_tensors


@dataclass(frozen=True)
class GenerationDefaults:
    """What `generate` does where nothing else is asked for; stored with the model.

    composed_guidance   of a clip whose drums, melody and chords were composed for its text
    temperature, top_k, top_p   of a language model, as `TokenSampling` has them
    refine              of a language model: t from which the bundled flow refines its latents; 0: not at all
    """

    solver: str = "euler"
    steps: int = 10
    time_shift: float = 1.0
    guidance: str = "3; rescale=0.5"
    composed_guidance: str = "double:3,5; rescale=0.5"
    peak: float = 0.95
    duration_s: float = 10.0
    text_encoder: str = BUNDLED_ENCODER
    temperature: tuple[float, ...] = (1.0,)
    top_k: tuple[int, ...] = (0,)
    top_p: tuple[float, ...] = (1.0,)
    refine: float = 0.0

    def __post_init__(self) -> None:
        check_solver(self.solver, self.steps)
        _ = self.sampling
        Guidance.parse(self.guidance)
        Guidance.parse(self.composed_guidance)
        for name, low, high in (("time_shift", 0.0, 100.0), ("peak", 0.0, 1.0), ("duration_s", 0.0, 600.0)):
            value = getattr(self, name)
            if not low < value <= high:
                raise ValueError(f"{name} must be above {low:g} and at most {high:g}, got {value!r}")

    @property
    def sampling(self) -> TokenSampling:
        """How a language model draws its tokens."""
        return TokenSampling(tuple(self.temperature), tuple(self.top_k), tuple(self.top_p))


def check_solver(solver: str, steps: int) -> None:
    """ValueError unless these can solve the ODE."""
    SOLVERS.check(solver)
    if isinstance(steps, bool) or not isinstance(steps, int) or not 1 <= steps <= MAX_STEPS:
        raise ValueError(f"steps must be a whole number from 1 to {MAX_STEPS}, got {steps!r}")


@dataclass(frozen=True)
class Pretrained:
    """A model, ready to generate with: both parts in evaluation mode on one device.

    `network` makes latents, which `codec` turns into sound: a flow transformer, or a language model.
    `dtype` is that of their largest layers, with a language model of the codec's alone; the weights of one
    that is not float32 are for generating alone.
    `fingerprint` identifies the files that it was read from. `license` (an SPDX expression) and `credits` are
    those of the weights; clips and exports carry them on.
    """

    name: str
    fingerprint: str
    codec: AnyCodec
    network: FlowTransformer | TokenTransformer
    defaults: GenerationDefaults
    license: str = ""
    credits: str = ""
    dtype: torch.dtype = torch.float32

    @property
    def dtype_name(self) -> str:
        return str(self.dtype).removeprefix("torch.")

    @property
    def device(self) -> torch.device:
        return next(self.network.parameters()).device

    @property
    def flow(self) -> FlowTransformer:
        """The flow transformer. ValueError where the model is a language model."""
        if not isinstance(self.network, FlowTransformer):
            raise ValueError(f"{self.name} is a language model; expected the model of a flow")
        return self.network

    @cached_property
    def refiner(self) -> FlowTransformer:
        """The bundled flow, which makes the fine structure that tokens lack, loaded when it is first needed.

        ValueError where codec or conditions are others than the bundled model's.
        """
        bundled = load_pretrained(None, self.device, self.dtype_name)
        ours, theirs = self.codec.state_dict(), bundled.codec.state_dict()
        same = ours.keys() == theirs.keys() and all(torch.equal(ours[key], theirs[key]) for key in ours)
        if not same or self.network.config.condition_shape != bundled.flow.config.condition_shape:
            raise ValueError(
                f"{self.name} has another codec or other conditions than the bundled model, whose flow "
                "refines: give refine 0"
            )
        return bundled.flow

    @property
    def lengths(self) -> LengthRule:
        return LengthRule(self.defaults.duration_s, self.codec.frame_rate, self.network.config.control_fold)

    @cached_property
    def text_encoder(self) -> TextEncoder:
        """The text encoder that the model was trained with, loaded when it is first needed."""
        return text_encoder(self.defaults.text_encoder)


def load_pretrained(
    source: str | Path | None = None, device: str | torch.device = "cpu", dtype: str = "float32"
) -> Pretrained:
    """Read a model: the bundled one (None), a folder, or a model id of the Hugging Face hub.

    Args:
        dtype: in which it is to generate, as `generation_dtype` reads it.

    Raises:
        ValueError: no such model, an unknown format, weights that do not fit config.json, or a dtype that the
            device does not compute in.
    """
    place = find_device(device)
    folder = resolve(source)
    config = read_config(folder / CONFIG_FILE)
    path = folder / CONFIG_FILE
    try:
        codec_folder, codec_config = codec_place(folder, config)
        codec = build_codec(codec_config)
        kind = network_of(config)
        network = _build_network(kind, config[kind])
        defaults = GenerationDefaults(**config["defaults"])
    except (TypeError, ValueError, AssertionError) as error:
        raise ValueError(f"{path} does not describe a model: {error}") from error
    if network.config.latent_dim != codec.latent_dim:
        raise ValueError(
            f"{path} does not describe a model: the {kind} has {network.config.latent_dim} latent channels, "
            f"the codec {codec.latent_dim}"
        )
    _fill(codec, codec_folder / CODEC_FILE)
    _fill(network, folder / NETWORK_FILES[kind])
    name = BUNDLED if source is None or str(source) == BUNDLED else str(source)
    codec.eval().to(place)
    network.eval().to(place)
    # a language model's steps of a few rows wait for memory and gain nothing by less precise products
    layers = (network, codec.layers) if isinstance(network, FlowTransformer) else (codec.layers,)
    chosen = generation_dtype(dtype, place, layers)
    if isinstance(network, FlowTransformer):
        network.compute_in(chosen)
    codec.compute_in(chosen)
    return Pretrained(
        name,
        _fingerprint([folder / CONFIG_FILE, codec_folder / CODEC_FILE, folder / NETWORK_FILES[kind]]),
        codec,
        network,
        defaults,
        str(config.get("license", "")),
        str(config.get("credits", "")),
        chosen,
    )


def _build_network(kind: str, values: object) -> FlowTransformer | TokenTransformer:
    if kind == "flow":
        return FlowTransformer(FlowConfig.from_dict(values, "its flow section"))
    return TokenTransformer(LmConfig.from_dict(values, "its lm section"))


def _fingerprint(files: Sequence[Path]) -> str:
    digest = hashlib.sha256()
    for path in files:
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _fill(module: nn.Module, path: Path) -> None:
    """Fill `module` from a safetensors file that has exactly its tensors, in float32."""
    if not path.is_file():
        pickled = sorted(f.name for f in path.parent.iterdir() if f.suffix.lower() in PICKLE_SUFFIXES)
        note = f" ({pickled[0]} is a pickle, and no pickle is loaded)" if pickled else ""
        raise ValueError(f"{path.parent} is not a whole model: it has no {path.name}{note}")
    load_exactly(module, read_weights(path), path)


def save_pretrained(model: Pretrained, folder: str | Path, card: str | None = None) -> Path:
    """Write a model folder, whole or not at all; `card` is the text of its README.md.

    The folder of an earlier model is replaced; ValueError if anything else stands there. Of a model that was
    loaded in 16 bits the weights are read again from where they came from.
    """
    folder = Path(folder)
    if model.dtype != torch.float32:  # these weights have lost digits
        model = load_pretrained(model.name, model.device)
    if folder.exists():
        _check_replaceable(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}-"))
    try:
        _write_files(model, partial, card)
        partial.chmod(0o755)
        if folder.exists():  # renamed before it goes: at every moment one of both is whole
            retired = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}-earlier-"))
            os.replace(folder, retired)
            os.replace(partial, folder)
            shutil.rmtree(retired)
        else:
            os.replace(partial, folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return folder


def _check_replaceable(folder: Path) -> None:
    """ValueError unless the folder is empty or holds a model and nothing else: the rest would be lost."""
    refusal = f"cannot write a model to {folder}: it exists and"
    if not folder.is_dir():
        raise ValueError(f"{refusal} is not a folder")
    names = {path.name for path in folder.iterdir()}
    if names and CONFIG_FILE not in names:
        raise ValueError(f"{refusal} is not a model's folder")
    others = sorted(names - set(MODEL_FILES))
    if others:
        raise ValueError(f"{refusal} holds {others[0]}, which is no part of a model; choose another folder")
    if names:
        try:
            read_config(folder / CONFIG_FILE)
        except ValueError as error:
            raise ValueError(f"{refusal} is not a model's folder ({error})") from error


def _write_files(model: Pretrained, folder: Path, card: str | None) -> None:
    kind = "flow" if isinstance(model.network, FlowTransformer) else "lm"
    defaults = asdict(model.defaults)
    for name in OF_A_LANGUAGE_MODEL if kind == "flow" else ("solver", "steps", "time_shift"):
        del defaults[name]  # settings of the other kind of model
    config = {
        "format": FORMAT,
        "license": model.license,
        "credits": model.credits,
        "codec": model.codec.config.to_dict(),
        kind: asdict(model.network.config),
        "defaults": defaults,
    }
    (folder / CONFIG_FILE).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    save_tensors(folder / CODEC_FILE, model.codec.state_dict(), torch.float16)
    save_tensors(folder / NETWORK_FILES[kind], model.network.state_dict(), torch.float16)
    if card is not None:
        (folder / CARD_FILE).write_text(card, encoding="utf-8")
    if model.license == Terms.of(BUNDLED).license:
        shutil.copy(BUNDLED_FOLDER / LICENSE_FILE, folder / LICENSE_FILE)
    for path in folder.iterdir():  # safetensors writes files that only their owner may read
        path.chmod(0o644)
