"""`flowmusic gallery`: a fixed set of clips with plots and a page to look at them."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from flowmusic.commands.options import add_listening, extractors, whole_number

EPILOG = """The same 24 clips for every model: texts alone, one control alone, the same controls under other
words, other seeds. Clips of this model that the folder holds are kept. The references come from the
folder examples/ of flowmusic's source.

example:
  flowmusic gallery --out gallery --checkpoint runs/model"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = "Render a fixed set of clips with their plots and a page (index.html)."
    parser.epilog = EPILOG
    parser.add_argument(
        "--out", type=Path, required=True, help="folder of clips, plots, settings and the page"
    )
    parser.add_argument("--n", type=whole_number("clips", 1, 24), default=24, help="the first n only (24)")
    parser.add_argument(
        "--checkpoint", metavar="MODEL", help="a model's folder or hub id (the embedded model)"
    )
    parser.add_argument("--device", default="cpu", help="cpu, or cuda")
    parser.add_argument("--examples", type=Path, help="folder of the example references (that of the source)")
    add_extraction(parser)


def run(args: argparse.Namespace) -> int:
    from flowmusic.api.model import FlowMusic
    from flowmusic.api.output import check_folder
    from flowmusic.gallery import EXAMPLES, ITEMS, PAGE, make_gallery

    check_folder(args.out / PAGE)
    model = FlowMusic.from_pretrained(args.checkpoint, args.device, extractors(args))
    page = make_gallery(model, args.out, args.examples or EXAMPLES, ITEMS[: args.n])
    sys.stdout.write(f"{page}\n")
    return 0
