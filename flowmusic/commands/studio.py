"""`flowmusic studio`: a local page on which clips are asked for, listened to and changed."""

from __future__ import annotations

import argparse
from pathlib import Path

from flowmusic.arguments import whole_number
from flowmusic.commands.options import add_dtype, add_model

DEFAULT_FOLDER = "flowmusic-studio"

EPILOG = """A session is a folder: every edit is saved at once, every take is kept. The address that is
printed holds a token, and answers to this machine only.

examples:
  flowmusic studio
  flowmusic studio songs/first --port 9000 --no-open
  flowmusic studio --host 192.168.1.5 --token 4fT0qLw8sJc2Zb7K"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Serve a page, to this machine only, on which clips are asked for, listened to and changed."
    )
    parser.epilog = EPILOG
    parser.add_argument(
        "folder", type=Path, nargs="?", default=Path(DEFAULT_FOLDER),
        help=f"folder of the session, made if it is not there (default: {DEFAULT_FOLDER})",
    )  # fmt: skip
    parser.add_argument(
        "--port",
        type=whole_number("a port", 0, 65535),
        default=8765,
        help="port; 0 for a free one (default: 8765)",
    )
    parser.add_argument(
        "--open", action=argparse.BooleanOptionalAction, default=True, help="open the browser (default: yes)"
    )
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        help="address to serve at; any but this machine's own needs a --token (default: 127.0.0.1)",
    )
    parser.add_argument("--token", help="token that opens the studio (default: a new one at random)")
    add_model(parser)
    add_dtype(parser)


def run(args: argparse.Namespace) -> int:
    try:
        import starlette  # noqa: F401
        import uvicorn  # noqa: F401
    except ModuleNotFoundError as error:
        raise ValueError(
            f"flowmusic studio needs {error.name}, which is missing: pip install 'flowmusic[studio]'"
        ) from error
    from flowmusic.api.dtype import AUTO
    from flowmusic.api.model import FlowMusic
    from flowmusic.studio.serve import serve

    def load() -> FlowMusic:
        return FlowMusic.from_pretrained(args.checkpoint, args.device, dtype=args.dtype or AUTO)

    serve(args.folder, args.host, args.port, args.token, load, args.open)
    return 0
