"""`flowmusic generate`: one clip from a text, references and controls."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from flowmusic.commands.options import (
    SOLVERS,
    add_listening,
    extractors,
    number,
    progress_bar,
    span,
    whole_number,
)

if TYPE_CHECKING:
    from flowmusic.api.request import Job
    from flowmusic.api.sidecar import Recipe

EPILOG = """Each of --drums, --melody and --chords takes a recording (wav, flac, ogg, mp3: a full mix or a
stem) or symbols: MIDI for drums and melody, a table of time,f0 (.csv) for the melody, a .lab file or
a chord chart for the chords. Beside the clip stands a .json with all settings.

examples:
  flowmusic generate --text "calm piano trio" --chords "Am | F | C | G7" --bpm 90 -o clip.wav
  flowmusic generate --drums beat.wav --melody tune.mid --chords song.lab --duration 12 -o clip.wav
  flowmusic generate --drums song.mp3 --melody song.mp3 --chords song.mp3 --plot -o cover.wav
  flowmusic generate --controls song.safetensors --guidance drums=2,chords=3 --steps 20 -o clip.wav
  flowmusic generate --context song.wav --keep 0-4,9-15 --chords "Am | F" -o repaired.wav
  flowmusic generate --context song.wav --continue --duration 40 -o longer.wav
  flowmusic generate --chords "C | G" --duration 8 --loop -o loop.wav
  flowmusic generate --from clip.json -o again.wav"""


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
    what.add_argument(
        "--bpm",
        type=number("a tempo", 10, 400),
        help="tempo of the chord chart (120), or of what is composed",
    )
    what.add_argument("--beats-per-bar", type=number("beats", 1, 32), help="of the chart (4)")
    what.add_argument("--chart-once", action="store_true", help="do not play a short chord chart again")
    what.add_argument(
        "--compose",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="for a text alone, compose chords, drums and melody that fit it (yes)",
    )
    what.add_argument(
        "--song", type=whole_number("a seed", 0, 2**63 - 1), help="seed of what is composed (the clip's)"
    )
    add_editing(parser)
    how = parser.add_argument_group("how")
    how.add_argument(
        "--duration",
        type=number("seconds", 0.5, 3600),
        metavar="SECONDS",
        help="length of the clip (the longest reference's, up to 30; 10 without one)",
    )
    how.add_argument(
        "--seed", type=whole_number("a seed", 0, 2**63 - 1), help="another seed, another clip (0)"
    )
    how.add_argument(
        "--candidates",
        type=whole_number("candidates", 1, 64),
        default=1,
        help="seeds to choose from (1)",
    )
    how.add_argument("--weights", metavar="chords=2,drums=1", help="what counts in choosing it (all alike)")
    how.add_argument("--loudness", type=number("LUFS", -40, -5), help="bring the clip to it, unclipped")
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
        "--style-codebooks",
        type=whole_number("codebooks", 1, 64),
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


def add_editing(parser: argparse.ArgumentParser) -> None:
    """Arguments that make a clip out of sound that exists."""
    group = parser.add_argument_group("sound that exists")
    group.add_argument("--context", metavar="FILE", help="recording of which parts are kept")
    group.add_argument("--keep", metavar="0-4,9-15", help="seconds of the clip that are kept (all of it)")
    group.add_argument(
        "--context-at", type=number("seconds", 0, 3600), help="where in the clip the recording begins (0)"
    )
    group.add_argument("--continue", dest="goes_on", action="store_true", help="go on after its end")
    group.add_argument("--loop", action="store_true", help="the end of the clip goes on at its start")
    group.add_argument("--from-clip", metavar="FILE", help="sound to vary; a clip's controls stay")
    group.add_argument("--vary", type=number("a strength", 0.01, 1), help="how much of it is made anew (0.5)")
    group.add_argument("--from", dest="sidecar", type=Path, metavar="JSON", help="make this clip again")


def asked_job(args: argparse.Namespace) -> tuple[Job, Recipe | None]:
    """The job of the command line; on top of that of a sidecar, where one is given."""
    from dataclasses import replace

    from flowmusic.api.request import Job
    from flowmusic.api.sidecar import read_recipe, varied_from

    recipe = None if args.sidecar is None else read_recipe(args.sidecar)
    base = Job()
    if recipe is not None:
        base = recipe.job
    elif args.from_clip is not None:
        base = varied_from(args.from_clip)
    given = {
        "text": args.text,
        "drums": args.drums,
        "melody": args.melody,
        "chords": args.chords,
        "controls": None if args.controls is None else str(args.controls),
        "duration_s": args.duration,
        "seed": args.seed,
        "steps": args.steps,
        "solver": args.solver,
        "guidance": args.guidance,
        "bpm": args.bpm,
        "beats_per_bar": args.beats_per_bar,
        "loop_chords": False if args.chart_once else None,
        "context": args.context,
        "keep": args.keep,
        "context_at_s": args.context_at,
        "goes_on": args.goes_on or None,
        "loop": args.loop or None,
        "vary_from": args.from_clip,
        "strength": args.vary,
        "loudness_lufs": args.loudness,
        "style": args.style,
        "style_codebooks": args.style_codebooks,
        "style_excerpt": args.style_excerpt and "{:g}-{:g}".format(*args.style_excerpt),
        "inversions": tuple(map(str, args.inversion)) or None,
        "compose": args.compose,
        "song": args.song,
    }
    job = replace(base, **{name: value for name, value in given.items() if value is not None})
    return job.beside(Path.cwd()), recipe


def run(args: argparse.Namespace) -> int:
    from features.controls import CONTROL_NAMES
    from flowmusic.api.model import FlowMusic
    from flowmusic.api.output import output_paths
    from flowmusic.api.sidecar import check_model, make_clip
    from flowmusic.evaluation.scoring import Choice, Judge, best_clip, parse_weights
    from flowmusic.runtime import using_threads

    output_paths(args.out, args.plot)
    job, recipe = asked_job(args)
    choice = Choice(args.candidates, None if args.weights is None else parse_weights(args.weights))
    if choice.weights is not None and choice.candidates == 1:
        raise ValueError("--weights says which of several clips is kept; expected --candidates 2 or more")
    if recipe is not None:
        args.separator = recipe.extractors["separator"]
        args.melody_extractor = recipe.extractors["melody"]
        args.chord_recogniser = recipe.extractors["chords"]
        if args.checkpoint is None and recipe.model_name != "embedded":
            args.checkpoint = recipe.model_name
    ears = extractors(args)
    if args.plot or choice.candidates > 1:  # the clip is heard in the end: what is missing is told now
        ears.prepare(CONTROL_NAMES if args.plot else tuple(job.sources()) or CONTROL_NAMES)
    model = FlowMusic.from_pretrained(args.checkpoint, args.device, ears)
    if recipe is not None:
        check_model(model, recipe, args.sidecar)
    with progress_bar() as progress, using_threads(None if recipe is None else recipe.threads):
        judge = Judge(ears) if choice.candidates > 1 else None
        clip = best_clip(lambda asked: make_clip(model, asked, progress), job, judge, choice)
        if args.plot:
            progress("listening to the clip", 0, 1)
        written = clip.save(args.out, plot=args.plot, extractors=ears)
    for path in written:
        sys.stdout.write(f"{path}\n")
    return 0
