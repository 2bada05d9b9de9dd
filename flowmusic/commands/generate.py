"""`flowmusic generate`: one clip from a text, references and controls."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from flowmusic.commands.options import (
    add_candidates,
    add_dtype,
    add_extraction,
    add_model,
    add_overwrite,
    add_request,
    asked_options,
    extractors,
    progress_bar,
)

if TYPE_CHECKING:
    from flowmusic.api.clip import ClipInfo
    from flowmusic.api.request import Request

EPILOG = """Each of --drums, --melody and --chords takes a recording (wav, flac, ogg, mp3: a full mix or a
stem) or symbols: MIDI for drums and melody, a table of time,f0 (.csv) for the melody, a .lab file or
a chord chart for the chords. Beside the clip stands a .json with all settings.

examples:
  flowmusic generate --text "calm piano trio" --chords "Am | F | C | G7" --bpm 90 -o clip.wav
  flowmusic generate --drums beat.wav --melody tune.mid --chords song.lab --duration 12 -o clip.wav
  flowmusic generate --drums song.mp3 --melody song.mp3 --chords song.mp3 --plot -o cover.wav
  flowmusic generate --controls song.safetensors --guidance drums=2,chords=3 --steps 20 -o clip.wav
  flowmusic generate --context song.wav --keep 0-4,9-15 --chords "Am | F" -o repaired.wav
  flowmusic generate --context song.wav --extend --duration 40 -o longer.wav
  flowmusic generate --chords "C | G" --duration 8 --loop -o loop.wav
  flowmusic generate --vary clip.wav --strength 0.3 -o variation.wav
  flowmusic generate --from clip.json -o again.wav"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = "Make a clip that follows what it is given: a text, drums, a melody, chords."
    parser.epilog = EPILOG
    add_request(parser)
    model = parser.add_argument_group("model and choice")
    model.add_argument(
        "--from",
        dest="sidecar",
        type=Path,
        metavar="JSON",
        help="make the clip of this sidecar again; other options replace what it asked for",
    )
    add_candidates(model)
    add_model(model)
    add_dtype(model)
    out = parser.add_argument_group("output")
    out.add_argument("-o", "--out", type=Path, required=True, help="clip to write: .wav, .flac or .ogg")
    out.add_argument(
        "--plot",
        action=argparse.BooleanOptionalAction,
        default=False,
        help="also score the clip, and draw each control that was asked for against what is extracted from "
        "the clip, as .png (default: no)",
    )
    add_overwrite(out)
    add_extraction(parser)


def asked_request(args: argparse.Namespace) -> tuple[Request, ClipInfo | None]:
    """The request of the command line, on top of that of a sidecar where one is given; and that sidecar."""
    from flowmusic.api.request import Request
    from flowmusic.api.sidecar import read_sidecar

    info = None if args.sidecar is None else read_sidecar(args.sidecar)
    base = Request() if info is None else info.request
    return base.replace(**asked_options(args)).beside(Path.cwd()), info


def run(args: argparse.Namespace) -> int:
    from features.controls import CONTROL_NAMES
    from flowmusic.api.dtype import AUTO
    from flowmusic.api.model import FlowMusic
    from flowmusic.api.output import check_new, output_paths
    from flowmusic.api.sidecar import check_model
    from flowmusic.evaluation.scoring import Choice, Judge, best_clip, parse_weights
    from flowmusic.runtime import using_threads

    paths = [path for path in output_paths(args.out, args.plot) if path is not None]
    if not args.overwrite:
        check_new(paths)
    request, info = asked_request(args)
    choice = Choice(args.candidates, None if args.weights is None else parse_weights(args.weights))
    if choice.weights is not None and choice.candidates == 1:
        raise ValueError("--weights says which of several clips is kept; expected --candidates 2 or more")
    if info is not None:
        args.separator = info.extractors["separator"]
        args.melody_extractor = info.extractors["melody"]
        args.chord_recogniser = info.extractors["chords"]
        if args.checkpoint is None:
            args.checkpoint = info.model.name
    parts = extractors(args)
    if args.plot or choice.candidates > 1:  # needed when the clip is made: what is missing is reported now
        parts.prepare(CONTROL_NAMES if args.plot else tuple(request.sources) or CONTROL_NAMES)
    dtype = args.dtype or (AUTO if info is None else info.dtype)
    model = FlowMusic.from_pretrained(args.checkpoint, args.device, parts, dtype)
    if info is not None:
        check_model(model.model.name, model.model.fingerprint, info, args.sidecar)
    with progress_bar() as progress, using_threads(None if info is None else info.threads):
        # A plot says how well each control is followed.
        judge = Judge(parts) if choice.candidates > 1 or args.plot else None
        clip = best_clip(model, request, judge, choice, progress)
        if args.plot:
            progress("drawing the plot", 0, 1)
        written = clip.save(args.out, plot=args.plot, extractors=parts, overwrite=args.overwrite)
    for path in written:
        sys.stdout.write(f"{path}\n")
    return 0
