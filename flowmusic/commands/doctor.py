"""`flowmusic doctor`: what is installed and what is missing."""

from __future__ import annotations

import argparse
import sys


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = "Say what is installed, what works offline, and how to get what is missing."
    parser.epilog = "Exit code 0 if generation works, 1 if a part of it is missing."
    parser.add_argument("--hub", action="store_true", help="also ask whether the model hub can be reached")


def run(args: argparse.Namespace) -> int:
    from flowmusic.doctor import MISSING, examine, table

    parts = examine(ask_hub=args.hub)
    sys.stdout.write(table(parts) + "\n")
    return 1 if any(part.state == MISSING for part in parts) else 0
