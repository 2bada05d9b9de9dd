"""A checkpoint of `flowmusic fit` -> what is shipped: safetensors of the averaged weights, config, card."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from features.files import whole_file
from features.separators import build_demucs
from flowmusic.api.pretrained import GenerationDefaults, Pretrained, save_pretrained
from flowmusic.codec.build import AnyCodec
from flowmusic.codec.files import read_codec, write_codec
from flowmusic.codec.spectral import SpectralCodec, SpectralCodecConfig
from flowmusic.model.config import FlowConfig
from flowmusic.model.transformer import FlowTransformer
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
) -> Path:
    """Write what a checkpoint holds; returns the folder.

    A flow becomes a model's folder, with `codec` (a folder or 'bundled'; by default that of the training
    data). A codec becomes a codec's folder, or a model's with `flow` beside it. A separator becomes
    drum_separator.safetensors and .json, as features/assets has them.

    Raises:
        ValueError: not a checkpoint of ours, or parts that do not fit together.
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
        net = _flow_from(flow)
    else:
        source = codec or about["data"].get("codec")
        if source is None or (codec is None and not Path(source).is_dir()):
            raise ValueError(
                f"the codec of the training data is no longer at {source}: name one with --codec"
            )
        found, net = read_codec(Path(source)), flow_of(checkpoint, path)
    defaults = defaults or GenerationDefaults(
        text_encoder=about.get("data", {}).get("text_encoder", "bundled")
    )
    model = assemble(found, net, defaults, path.stem)
    return save_pretrained(model, out, card or _card(model, checkpoint))


def assemble(codec: AnyCodec, flow: FlowTransformer, defaults: GenerationDefaults, name: str) -> Pretrained:
    """A model of two parts. ValueError where their latents differ."""
    if codec.latent_dim != flow.config.latent_dim:
        raise ValueError(
            f"the codec has {codec.latent_dim} latent channels, the flow {flow.config.latent_dim}"
        )
    return Pretrained(name, "", codec.eval(), flow.eval(), defaults)


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
    config, codec = model.flow.config, model.codec
    n_flow = sum(parameter.numel() for parameter in model.flow.parameters()) / 1e6
    return (
        "---\nlibrary_name: flowmusic\ntags: [music-generation, flow-matching, audio]\n---\n\n"
        f"# A flowmusic model\n\nFlow: {n_flow:.1f} M parameters, {config.depth} blocks of width "
        f"{config.width}; codec: {codec.latent_dim} latent channels at {codec.frame_rate:g} Hz, sound at "
        f"{codec.sample_rate} Hz; "
        f"text: {model.defaults.text_encoder}. Averaged weights after {checkpoint['global_step']} steps.\n\n"
        "```python\nfrom flowmusic import FlowMusic\n\n"
        'FlowMusic.from_pretrained("FOLDER OR ID").generate(text="calm piano trio").save("clip.wav")\n```\n\n'
        "Training data, licence and figures: to be added by whoever publishes it.\n"
    )
