"""Trained parts -> a model folder that `FlowMusic.from_pretrained` reads."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

from flowmusic.config import FlowConfig
from flowmusic.model.transformer import FlowTransformer
from flowmusic.pretrained import GenerationDefaults, Pretrained, save_pretrained
from flowmusic.training.codec import load_codec

log = logging.getLogger(__name__)


def assemble(codec_folder: Path, flow_folder: Path, defaults: GenerationDefaults) -> Pretrained:
    """A model from the output folders of `flowmusic.training.codec` and `flowmusic.training.flow`."""
    from safetensors.torch import load_file

    codec = load_codec(codec_folder / "codec.safetensors")
    shape = flow_folder / "flow.json"
    flow = FlowTransformer(FlowConfig.from_json(shape.read_text(), str(shape)))
    flow.load_state_dict(load_file(flow_folder / "flow.safetensors"))
    return Pretrained(flow_folder.name, "", codec.eval(), flow.eval(), defaults)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--codec", type=Path, required=True)
    parser.add_argument("--flow", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--card", type=Path, help="the model card to ship beside the weights")
    parser.add_argument("--steps", type=int, default=GenerationDefaults.steps)
    parser.add_argument("--guidance", default=GenerationDefaults.guidance)
    args = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    defaults = GenerationDefaults(steps=args.steps, guidance=args.guidance)
    card = args.card.read_text(encoding="utf-8") if args.card else None
    folder = save_pretrained(assemble(args.codec, args.flow, defaults), args.out, card)
    for path in sorted(folder.iterdir()):
        log.info("%s: %.1f MB", path, path.stat().st_size / 1e6)


if __name__ == "__main__":
    main()
