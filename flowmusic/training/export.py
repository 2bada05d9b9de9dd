"""A checkpoint of `flowmusic fit` -> what is shipped: safetensors of the averaged weights, config, card."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import torch

from features.files import whole_file
from features.separators import build_demucs
from flowmusic.api.pretrained import GenerationDefaults, Pretrained, save_pretrained
from flowmusic.codec.build import AnyCodec
from flowmusic.codec.files import read_codec, write_codec
from flowmusic.codec.spectral import SpectralCodec, SpectralCodecConfig
from flowmusic.flow.schedule import Guidance
from flowmusic.lm.config import LmConfig
from flowmusic.lm.sampling import TokenSampling, check_guidance
from flowmusic.lm.transformer import TokenTransformer
from flowmusic.model.config import FlowConfig
from flowmusic.model.transformer import FlowTransformer
from flowmusic.model_files import BUNDLED, Terms
from flowmusic.training.checkpoint import averaged_weights, read_checkpoint
from flowmusic.training.init_from import read_flow
from flowmusic.weights import load_exactly, save_tensors


def export(
    path: Path,
    out: Path,
    codec: str | None = None,
    flow: str | None = None,
    defaults: GenerationDefaults | None = None,
    card: str | None = None,
    license: str | None = None,
) -> Path:
    """Write what a checkpoint holds; returns the folder.

    A flow or a language model becomes a model's folder, with `codec` (a folder or 'bundled'; by default that
    of the training data). A codec becomes a codec's folder, or a model's with `flow` beside it. A separator
    becomes drum_separator.safetensors and .json, as features/assets has them.

    A model's folder carries the licence and credits of what it was made from on: weights that were trained on
    from others, or that ship the bundled codec, have theirs. `license` is an SPDX expression for all others.

    Raises:
        ValueError: not a checkpoint of ours, parts that do not fit together, or a licence other than the
        inherited.
    """
    checkpoint = read_checkpoint(path)
    about = checkpoint["flowmusic"]
    if about["kind"] == "separator":
        return _export_separator(checkpoint, path, out)
    if about["kind"] == "codec":
        found: AnyCodec = _codec_of(checkpoint, path)
        if flow is None:
            write_codec(found, out, torch.float16)
            return out
        net: FlowTransformer | TokenTransformer = _flow_from(flow)
    else:
        source = codec or about["data"].get("codec")
        if source is None or (codec is None and not Path(source).is_dir()):
            raise ValueError(
                f"the codec of the training data is no longer at {source}: name one with --codec"
            )
        found, net = read_codec(Path(source)), _network_of(checkpoint, path)
    defaults = defaults or defaults_of(about)
    model = assemble(found, net, defaults, path.stem)
    terms = terms_of_export(Terms(**about.get("terms", {})), found, flow, license)
    model = replace(model, license=terms.license, credits=terms.credits)
    return save_pretrained(model, out, card or _card(model, checkpoint))


def defaults_of(about: dict[str, Any], given: Mapping[str, Any] | None = None) -> GenerationDefaults:
    """How a model generates by default, by what its checkpoint says of the training, and by what is given.

    Raises:
        ValueError: a setting that is for a model of the other kind.
    """
    values = {"text_encoder": about.get("data", {}).get("text_encoder", "bundled")}
    is_lm, given = about["kind"] == "lm", dict(given or {})
    of_tokens = [field.name for field in fields(TokenSampling)]
    wrong = next((name for name in given if name in (["steps"] if is_lm else [*of_tokens, "refine"])), None)
    if wrong is not None:
        raise ValueError(
            f"{wrong} is for {'a flow' if is_lm else 'a language model'}, not for {about['kind']}"
        )
    if not is_lm:
        return GenerationDefaults(**values | given)
    drawn = {name: (given.pop(name),) for name in of_tokens if name in given}
    defaults = GenerationDefaults(**values | {"guidance": "3", "composed_guidance": "3"} | given | drawn)
    for text in (defaults.guidance, defaults.composed_guidance):
        check_guidance(Guidance.parse(text))
    return defaults


def terms_of_export(trained_from: Terms, codec: AnyCodec, flow: str | None, license: str | None) -> Terms:
    """The terms of a model. ValueError where `license` is not what its parts are under."""
    inherited = trained_from
    if not inherited.license and flow is not None:
        inherited = Terms.of(flow)
    if not inherited.license and _is_bundled(codec):
        inherited = Terms.of(BUNDLED)
    if license is None or license == inherited.license:
        return inherited
    if inherited.license:
        raise ValueError(
            f"these weights derive from weights under {inherited.license}: they can be shared "
            f"under that licence "
            f"only, got --license {license}"
        )
    return Terms(license)


def _is_bundled(codec: AnyCodec) -> bool:
    """Whether a codec is the one that comes with the package."""
    bundled, found = read_codec(Path(BUNDLED)).state_dict(), codec.state_dict()
    return bundled.keys() == found.keys() and all(
        bundled[key].shape == value.shape and torch.allclose(bundled[key], value.cpu(), rtol=1e-3, atol=1e-5)
        for key, value in found.items()
    )


def assemble(
    codec: AnyCodec,
    network: FlowTransformer | TokenTransformer,
    defaults: GenerationDefaults,
    name: str,
) -> Pretrained:
    """A model of two parts. ValueError where their latents differ."""
    kind = "flow" if isinstance(network, FlowTransformer) else "language model"
    if codec.latent_dim != network.config.latent_dim:
        raise ValueError(
            f"the codec has {codec.latent_dim} latent channels, the {kind} {network.config.latent_dim}"
        )
    return Pretrained(name, "", codec.eval(), network.eval(), defaults)


def _network_of(checkpoint: dict[str, Any], path: Path) -> FlowTransformer | TokenTransformer:
    if checkpoint["flowmusic"]["kind"] == "flow":
        return flow_of(checkpoint, path)
    net = TokenTransformer(LmConfig.from_dict(checkpoint["flowmusic"]["config"], str(path)))
    load_exactly(net, averaged_weights(checkpoint), path)
    return net.eval()


def flow_of(checkpoint: dict[str, Any], path: Path) -> FlowTransformer:
    """The averaged flow of a checkpoint."""
    net = FlowTransformer(FlowConfig.from_dict(checkpoint["flowmusic"]["config"], str(path)))
    load_exactly(net, averaged_weights(checkpoint), path)
    return net.eval()


def _codec_of(checkpoint: dict[str, Any], path: Path) -> SpectralCodec:
    codec = SpectralCodec(SpectralCodecConfig.from_dict(checkpoint["flowmusic"]["config"]))
    weights = {f"decoder.{key}": value for key, value in averaged_weights(checkpoint).items()}
    for name in (name for name in codec.state_dict() if not name.startswith("decoder.")):
        weights[name] = checkpoint["state_dict"][f"codec.{name}"]
    load_exactly(codec, weights, path)
    return codec.eval()


def _flow_from(source: str) -> FlowTransformer:
    config, weights, path = read_flow(Path(source))
    net = FlowTransformer(config)
    load_exactly(net, weights, path)
    return net.eval()


def _export_separator(checkpoint: dict[str, Any], path: Path, out: Path) -> Path:
    config = checkpoint["flowmusic"]["config"]
    net = build_demucs(config)
    load_exactly(net, averaged_weights(checkpoint), path)
    save_tensors(out / "drum_separator.safetensors", net.state_dict(), torch.float16)
    with whole_file(out / "drum_separator.json") as partial:
        partial.write_text(json.dumps(config, indent=2) + "\n")
    return out


def _card(model: Pretrained, checkpoint: dict[str, Any]) -> str:
    """What is known of a model without its author's words."""
    config, codec = model.network.config, model.codec
    kind = "Flow" if isinstance(model.network, FlowTransformer) else "Language model"
    n_network = sum(parameter.numel() for parameter in model.network.parameters()) / 1e6
    return (
        f"---\n{f'license: {model.license.lower()}' + chr(10) if model.license else ''}"
        "library_name: flowmusic\ntags: [music-generation, flow-matching, audio]\n---\n\n"
        f"# A flowmusic model\n\n{kind}: {n_network:.1f} M parameters, {config.depth} blocks of width "
        f"{config.width}; codec: {codec.latent_dim} latent channels at {codec.frame_rate:g} Hz, sound at "
        f"{codec.sample_rate} Hz; "
        f"text: {model.defaults.text_encoder}. Averaged weights after {checkpoint['global_step']} steps.\n\n"
        "```python\nfrom flowmusic import FlowMusic\n\n"
        'FlowMusic.from_pretrained("FOLDER OR ID").generate(text="calm piano trio").save("clip.wav")\n```\n\n'
        f"Licence: {model.license or 'to be added'}. Credits: {model.credits or 'to be added'}.\n"
        "Training data and figures: to be added by whoever publishes it.\n"
    )
