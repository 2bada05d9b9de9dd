"""`flowmusic export`: a checkpoint becomes a model's folder."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from flowmusic.api.request import OF_A_LANGUAGE_MODEL
from flowmusic.arguments import whole_number
from flowmusic.commands.options import add_request

EPILOG = """examples:
  flowmusic export runs/flow/checkpoints/last.ckpt model
  flowmusic generate --checkpoint model --text "calm piano trio" -o clip.wav
  flowmusic export runs/codec/checkpoints/last.ckpt codec
  flowmusic export runs/flow/checkpoints/last.ckpt model --push owner/name"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Write the averaged weights of a checkpoint as safetensors, with config and model card."
    )
    parser.epilog = EPILOG
    parser.add_argument("checkpoint", metavar="CKPT", type=Path, help="checkpoint of `flowmusic fit`")
    parser.add_argument("out", metavar="OUT", type=Path, help="folder to write")
    parser.add_argument(
        "--codec",
        help="codec to ship with a flow: a folder, or bundled (default: that of its training data)",
    )
    parser.add_argument(
        "--flow", help="flow to ship with a codec: a folder, or bundled (default: none, the codec alone)"
    )
    parser.add_argument("--card", type=Path, help="model card to ship (default: one that is written from it)")
    parser.add_argument(
        "--steps",
        type=whole_number("steps", 1, 1000),
        help="default steps of a flow's solver (default: 10)",
    )
    parser.add_argument(
        "--guidance", help="default guidance (default: 3; rescale=0.5), or 3 for a language model"
    )
    parser.add_argument(
        "--composed-guidance",
        help="default guidance of clips of a text alone (default: double:3,5; rescale=0.5), or 3 for a "
        "language model",
    )
    add_request(parser, OF_A_LANGUAGE_MODEL)
    parser.add_argument(
        "--license",
        metavar="SPDX",
        help="licence of the weights, such as CC-BY-4.0 (default: that of the weights they were "
        "trained from)",
    )
    parser.add_argument("--push", metavar="OWNER/NAME", help="also publish the folder on the hub, privately")


def run(args: argparse.Namespace) -> int:
    from features.text_files import read_text
    from flowmusic.training.checkpoint import read_checkpoint
    from flowmusic.training.export import defaults_of, export

    about = read_checkpoint(args.checkpoint)["flowmusic"]
    names = ("steps", "guidance", "composed_guidance", *OF_A_LANGUAGE_MODEL)
    given = {name: value for name in names if (value := getattr(args, name)) is not None}
    defaults = defaults_of(about, given)
    card = read_text(args.card, "a model card") if args.card else None
    folder = export(args.checkpoint, args.out, args.codec, args.flow, defaults, card, args.license)
    sys.stdout.write(f"{folder}\n")
    if args.push:
        from flowmusic.training.hub import push_to_hub

        sys.stdout.write(f"{push_to_hub(folder, args.push)}\n")
    return 0
