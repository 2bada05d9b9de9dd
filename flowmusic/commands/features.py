"""`flowmusic features`: extract the controls of a recording and write them down."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from flowmusic.arguments import number
from flowmusic.commands.options import add_device, add_extraction, add_overwrite, extractors, progress_bar

EPILOG = """examples:
  flowmusic features song.mp3 --out song.safetensors --plot
  flowmusic features song.mp3 --only chords --duration 30 --out chords.safetensors
  flowmusic generate --controls song.safetensors -o clip.wav"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = "Extract drums, melody and chords of a recording, 50 frames a second."
    parser.epilog = EPILOG
    parser.add_argument(
        "audio", metavar="AUDIO", type=Path, help="wav, flac, ogg or mp3; with --only, symbols too"
    )
    parser.add_argument("--out", type=Path, required=True, help="file to write, .safetensors")
    parser.add_argument(
        "--only",
        action="append",
        metavar="CONTROL",
        help="extract this control only: drums, melody, chords, dynamics, or one that a package adds; "
        "repeat for two (default: drums, melody, chords)",
    )
    parser.add_argument(
        "--duration",
        type=number("seconds", 0.1, 600),
        metavar="SECONDS",
        help="length from the start in seconds (default: all of it)",
    )
    parser.add_argument(
        "--plot",
        action=argparse.BooleanOptionalAction,
        default=False,
        help="also draw the controls, as .png beside the file (default: no)",
    )
    add_overwrite(parser)
    add_extraction(parser)
    add_device(parser)


def run(args: argparse.Namespace) -> int:
    from features.audio import Audio, check_writable
    from features.controls import CONTROL_NAMES
    from features.references import open_reference
    from flowmusic.api.output import check_folder, check_new

    check_folder(check_writable(args.out, (".safetensors",)))
    picture = args.out.with_suffix(".png")
    if args.plot:
        check_writable(picture, (".png",))
    if not args.overwrite:
        check_new([args.out, picture] if args.plot else [args.out])
    references = [open_reference(role, args.audio) for role in dict.fromkeys(args.only or CONTROL_NAMES)]
    duration_s = args.duration or max(reference.duration_s for reference in references)
    with progress_bar() as progress:
        controls = extractors(args).extract(references, duration_s, progress=progress)
    controls.save(args.out)
    sys.stdout.write(f"{args.out}\n")
    if args.plot:
        from flowmusic.plots.figures import plot_features

        # Symbols have no sound to show.
        sounds = [reference.content for reference in references if isinstance(reference.content, Audio)]
        audio = sounds[0].fitted(controls.grid.duration_s) if sounds else None
        plot_features(controls, picture, title=args.audio.name, audio=audio)
        sys.stdout.write(f"{picture}\n")
    return 0
