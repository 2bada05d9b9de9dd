"""`flowmusic corpus`: render labelled training audio."""

from __future__ import annotations

import argparse
from pathlib import Path

from flowmusic.arguments import number, whole_number

EPILOG = """example:
  flowmusic corpus --out corpus --hours 2 --soundfont FluidR3_GM.sf2 --soundfont TimGM6mb.sf2

A line of --leadsheets is one composition, with beats in quarter notes from the first bar line; pitch_classes
are those of the chord, 0 for C:
  {"id": "Alouette", "by": "[Traditional]", "time_signature": "4/4", "key_fifths": -1,
   "notes": [{"beat": 0, "beats": 1.5, "midi": 65}, ...],
   "chords": [{"beat": 0, "symbol": "F", "root": 5, "bass": 5, "pitch_classes": [0, 5, 9]}, ...]}

Run again with more hours to add songs; finished ones are kept. Needs FluidSynth's library
(Debian: apt install libfluidsynth3 fluid-soundfont-gm timgm6mb-soundfont)."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = "Render songs of our own and of lead sheets: stems, labels and captions."
    parser.epilog = EPILOG
    parser.add_argument("--out", type=Path, required=True, help="folder of the corpus")
    parser.add_argument(
        "--hours",
        type=number("hours", 0, 10_000, low_included=False),
        required=True,
        help="hours of audio in all",
    )
    parser.add_argument(
        "--soundfont", type=Path, action="append", required=True, help=".sf2 or .sf3; repeat for several"
    )
    parser.add_argument(
        "--leadsheets", type=Path, help="lead sheets (JSON lines) for half of the hours (default: none)"
    )
    parser.add_argument(
        "--seed", type=whole_number("a seed", 0, 2**63 - 1), default=1, help="random seed (default: 1)"
    )
    parser.add_argument(
        "--workers",
        type=whole_number("processes", 1, 256),
        default=2,
        help="processes that render (default: 2)",
    )
    parser.add_argument(
        "--sample-rate",
        type=whole_number("a rate in Hz", 8000, 96_000),
        default=32_000,
        help="sample rate in Hz (default: 32000)",
    )


def run(args: argparse.Namespace) -> int:
    from flowmusic.data.corpus import render_corpus
    from flowmusic.data.render import RenderError

    try:
        render_corpus(
            args.out, args.hours, args.soundfont, args.leadsheets, args.seed, args.workers, args.sample_rate
        )
    except RenderError as error:
        raise ValueError(str(error)) from error
    return 0
