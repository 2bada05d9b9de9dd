"""The `flowmusic` command: a thin front that loads only the sub-command that was asked for.

Exit codes: 0 done; 1 an internal error, or out of memory; 2 bad input or usage (one sentence on stderr); 3 a
batch that is not complete; 130 interrupted. Tracebacks only with --debug or FLOWMUSIC_DEBUG=1.
"""

from __future__ import annotations

import argparse
import importlib
import io
import logging
import os
import sys
import traceback
from collections.abc import Sequence
from typing import NoReturn

from flowmusic import __version__
from flowmusic.errors import is_bad_input, is_out_of_memory, sentence

COMMANDS = {
    "generate": "make a clip that follows a text, drums, a melody or chords",
    "studio": "serve a local page on which clips are asked for, listened to and changed",
    "batch": "make the clips of a manifest or a folder: many, scored, resumable",
    "features": "extract the controls of a recording and write them down",
    "invert": "learn a pseudo-word that stands for the sound of recordings",
    "evaluate": "measure how well a model follows its controls",
    "corpus": "render labelled training audio from scores",
    "prepare": "turn a folder of music into training data",
    "fit": "train a codec, a flow or a drum separator (Lightning CLI)",
    "validate": "loss of a checkpoint on validation data (Lightning CLI)",
    "test": "loss of a checkpoint on test data (Lightning CLI)",
    "predict": "clips of a checkpoint under validation conditions (Lightning CLI)",
    "export": "turn a checkpoint into a model's folder",
    "doctor": "say what is installed, what works offline and what is missing",
}
"""Name of each sub-command and of its module in flowmusic.commands, and what it does."""

LIGHTNING_COMMANDS = ("fit", "validate", "test", "predict")
"""Commands whose arguments the Lightning CLI reads by itself: `flowmusic fit --help`."""

_EPILOGUE = """examples:
  flowmusic generate --text "calm piano trio" --chords "Am | F | C | G7" -o clip.wav
  flowmusic generate --drums beat.wav --melody tune.mid --duration 12 --plot -o clip.wav
  flowmusic features song.mp3 --out song.safetensors --plot

Each command explains itself: flowmusic generate --help"""

EXIT_FAILURE, EXIT_BAD_INPUT, EXIT_INTERRUPTED = 1, 2, 130


class UsageError(ValueError):
    """The command line itself is wrong."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message} (see {self.prog} --help)")


def _parser(argv: Sequence[str]) -> argparse.ArgumentParser:
    parser = _Parser(
        prog="flowmusic",
        description="Recordings or symbols in, new music that follows them out.",
        epilog=_EPILOGUE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"flowmusic {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands", required=True)
    chosen = next((word for word in argv if not word.startswith("-")), None)
    for name, summary in COMMANDS.items():
        child = commands.add_parser(
            name,
            help=summary,
            allow_abbrev=False,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        child.add_argument("--debug", action="store_true", help="show the traceback of an error")
        child.add_argument("--verbose", action="store_true", help="say more about what is done")
        if name == chosen and name not in LIGHTNING_COMMANDS:
            # The other commands' arguments, and what they import, are not needed to run this one.
            importlib.import_module(f"flowmusic.commands.{name}").add_arguments(child)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in words or os.environ.get("FLOWMUSIC_DEBUG", "") not in ("", "0")
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # names of files need not be UTF-8
    try:
        if words and words[0] in LIGHTNING_COMMANDS:
            return _run_lightning([word for word in words if word != "--debug"])
        args = _parser(words).parse_args(words)
        logging.basicConfig(level=logging.INFO if args.verbose else logging.WARNING, format="%(message)s")
        logging.getLogger("flowmusic").setLevel(logging.DEBUG if debug else logging.NOTSET)
        command = importlib.import_module(f"flowmusic.commands.{args.command}")
        code: int = command.run(args)
        return code
    except SystemExit as done:  # argparse leaves this way after --help and --version
        return done.code if isinstance(done.code, int) else 0
    except KeyboardInterrupt:
        _complain("error: interrupted", debug)
        return EXIT_INTERRUPTED
    except Exception as error:
        if is_bad_input(error):
            _complain(f"error: {sentence(error)}", debug)
            return EXIT_BAD_INPUT
        kind = "error: out of memory" if is_out_of_memory(error) else "internal error"
        hint = "" if debug else " (--debug shows its traceback)"
        _complain(f"{kind}: {type(error).__name__}: {sentence(error)}{hint}", debug)
        return EXIT_FAILURE


def _run_lightning(words: list[str]) -> int:
    try:
        import jsonargparse  # noqa: F401 - all of its own packages are there if this one is

        from flowmusic.training import lightning_cli
    except ModuleNotFoundError as error:
        raise UsageError(
            f"flowmusic {words[0]} needs the training packages ({error.name} is missing): "
            "pip install 'flowmusic[train]'"
        ) from error
    lightning_cli.run(words[0], words[1:])
    return 0


def _complain(message: str, debug: bool) -> None:
    if debug:
        traceback.print_exc()
    sys.stderr.write(f"flowmusic: {message}\n")
