"""`flowmusic generate`: one clip from a text, references and controls."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from flowmusic.commands.options import add_listening, listener, number, progress_bar, span, whole_number

# Repeated here because flowmusic.flow imports torch, and --help should not; a test compares them.
SOLVERS = ("euler", "midpoint", "heun", "rk4", "dopri5")

EPILOG = """Each of --drums, --melody and --chords takes a recording (wav, flac, ogg, mp3: a full mix or a
stem) or symbols: MIDI for drums and melody, a table of time,f0 (.csv) for the melody, a .lab file or
a chord chart for the chords. Beside the clip stands a .json with all settings.

examples:
  flowmusic generate --text "calm piano trio" --chords "Am | F | C | G7" --bpm 90 -o clip.wav
  flowmusic generate --drums beat.wav --melody tune.mid --chords song.lab --duration 12 -o clip.wav
  flowmusic generate --drums song.mp3 --melody song.mp3 --chords song.mp3 --plot -o cover.wav
  flowmusic generate --controls song.safetensors --guidance drums=2,chords=3 --steps 20 -o clip.wav"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = "Make a clip that follows what it is given: a text, drums, a melody, chords."
    parser.epilog = EPILOG
    what = parser.add_argument_group("what to follow")
    what.add_argument("--text", help="instruments, tempo, mood, style ...")
    what.add_argument("--drums", metavar="FILE", help="recording or MIDI")
    what.add_argument("--melody", metavar="FILE", help="recording, MIDI or .csv of time,f0")
    what.add_argument("--chords", metavar="FILE|CHART", help="recording, .lab, or a chart: 'Am | F C | G7'")
    add_style(what)
    what.add_argument("--controls", type=Path, metavar="FILE", help="what `flowmusic features` wrote")
    what.add_argument("--bpm", type=number("a tempo", 10, 400), help="tempo of the chord chart (120)")
    what.add_argument("--beats-per-bar", type=number("beats", 1, 32), default=4, help="of the chart (4)")
    what.add_argument("--no-loop", action="store_true", help="play a short chord chart once only")
    how = parser.add_argument_group("how")
    how.add_argument(
        "--duration",
        type=number("seconds", 0.5, 300),
        metavar="SECONDS",
        help="length of the clip (the longest reference's, up to 30; 10 without one)",
    )
    how.add_argument(
        "--seed", type=whole_number("a seed", 0, 2**63 - 1), default=0, help="another seed, another clip"
    )
    how.add_argument("--steps", type=whole_number("steps", 1, 1000), help="steps of the solver (the model's)")
    how.add_argument("--solver", choices=SOLVERS, help="of the differential equation (the model's)")
    how.add_argument(
        "--guidance",
        help="1: as it comes, 2: follow more closely; or 'drums=2,chords=3,text=1.5' (the model's)",
    )
    how.add_argument("--checkpoint", metavar="MODEL", help="a model's folder or hub id (the embedded model)")
    how.add_argument("--device", default="cpu", help="cpu, or cuda")
    out = parser.add_argument_group("output")
    out.add_argument("-o", "--out", type=Path, required=True, help="clip to write: .wav, .flac or .ogg")
    out.add_argument(
        "--plot",
        action=argparse.BooleanOptionalAction,
        default=False,
        help="also listen to the clip and draw every control against what is heard (.png)",
    )
    add_listening(parser)


def add_style(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--style", metavar="FILE", help="recording that the clip shall sound like")
    group.add_argument(
        "--style-books",
        type=whole_number("books", 1, 64),
        help="how closely: 1 is loosest (all)",
    )
    group.add_argument(
        "--style-excerpt", type=span, metavar="FROM-TO", help="its seconds, 1.5 to 4.5 of them (the loudest)"
    )
    group.add_argument(
        "--inversion",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="a pseudo-word of `flowmusic invert` that the text names; repeat for more",
    )


def run(args: argparse.Namespace) -> int:
    from features.controls import Controls
    from flowmusic.output import output_paths
    from flowmusic.pipeline import FlowMusic

    output_paths(args.out, args.plot)
    controls = None if args.controls is None else Controls.load(args.controls)
    ears = listener(args)
    model = FlowMusic.from_pretrained(args.checkpoint, args.device, ears)
    with progress_bar() as progress:
        clip = model.generate(
            text=args.text,
            drums=args.drums,
            melody=args.melody,
            chords=args.chords,
            controls=controls,
            duration_s=args.duration,
            seed=args.seed,
            steps=args.steps,
            solver=args.solver,
            guidance=args.guidance,
            bpm=args.bpm,
            beats_per_bar=args.beats_per_bar,
            loop_chords=not args.no_loop,
            style=args.style,
            style_books=args.style_books,
            style_excerpt=args.style_excerpt,
            inversions=args.inversion,
            progress=progress,
        )
        if args.plot:
            progress("listening to the clip", 0, 1)
        written = clip.save(args.out, plot=args.plot, listener=ears)
    for path in written:
        sys.stdout.write(f"{path}\n")
    return 0
