"""`flowmusic batch`: a manifest or a folder of references in, many clips out."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from flowmusic.api.request import HIGHEST_LUFS, LOWEST_LUFS
from flowmusic.arguments import number, whole_number
from flowmusic.commands.options import add_candidates, add_dtype, add_extraction, add_model, extractors

if TYPE_CHECKING:
    from flowmusic.batch.manifest import Manifest
    from flowmusic.batch.run import Progress

EXIT_INCOMPLETE = 3
SHOWN_PROBLEMS = 50

EPILOG = """A manifest has one JSON object a line, with keys as the options of `flowmusic generate`:
  {"text": "slow jazz trio", "chords": "Am | F | C | G", "duration": 12, "seed": 7}
  {"drums": "beats/one.wav", "melody": "tunes/two.mid", "guidance": "drums=2,melody=3"}
A second run continues where the first stopped. Exit code 3: some rows have no clip; the table says why.

examples:
  flowmusic batch manifest.jsonl --out clips --devices 2
  flowmusic batch references/ --out clips --format flac
  flowmusic batch references/ --grid --prompt "brass band" --prompt "solo piano" --seeds 0-9 --out clips
  torchrun --nnodes 2 --nproc-per-node 8 -m flowmusic batch manifest.jsonl --out clips --devices 8 --nodes
  2"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = "Make the clips of a manifest: finished ones are never lost or made twice."
    parser.epilog = EPILOG
    parser.add_argument(
        "source", type=Path, nargs="?", metavar="MANIFEST", help="manifest (.jsonl), or folder of references"
    )
    parser.add_argument(
        "--out", type=Path, required=True, metavar="FOLDER", help="folder of clips, sidecars and tables"
    )
    rows = parser.add_argument_group("rows from a folder or a grid")
    rows.add_argument(
        "--roles",
        default="drums,melody,chords",
        help="controls to take from each recording (default: drums,melody,chords)",
    )
    rows.add_argument("--grid", action="store_true", help="combine every prompt, reference and seed")
    rows.add_argument(
        "--prompt", action="append", default=[], metavar="TEXT", help="prompt of the grid; repeat for more"
    )
    rows.add_argument("--prompts", type=Path, metavar="FILE", help="prompts of the grid, one a line")
    rows.add_argument("--seeds", default="0", metavar="0-9", help="random seeds of the grid (default: 0)")
    clips = parser.add_argument_group("clips")
    clips.add_argument(
        "--format", choices=("wav", "flac", "ogg"), default="wav", help="format of the clips (default: wav)"
    )
    clips.add_argument(
        "--loudness",
        type=number("LUFS", LOWEST_LUFS, HIGHEST_LUFS),
        default=-16.0,
        metavar="LUFS",
        help="integrated loudness of clips that keep no recording (default: -16)",
    )
    clips.add_argument("--no-loudness", action="store_true", help="leave clips as loud as they come")
    clips.add_argument("--no-scores", action="store_true", help="do not score how clips follow (faster)")
    clips.add_argument("--plot", action="store_true", help="draw every control against what is extracted")
    add_candidates(clips)
    how = parser.add_argument_group("how")
    add_model(how)
    add_dtype(how)
    how.add_argument(
        "--devices",
        type=whole_number("devices", 1, 1024),
        default=1,
        help="processes, or GPUs, of each node (default: 1)",
    )
    how.add_argument(
        "--nodes", type=whole_number("nodes", 1, 4096), default=1, help="nodes of a cluster (default: 1)"
    )
    how.add_argument(
        "--workers",
        type=whole_number("workers", 0, 256),
        default=1,
        help="processes that extract controls ahead, for each device (default: 1)",
    )
    how.add_argument(
        "--threads",
        type=whole_number("threads", 1, 256),
        default=1,
        help="threads of each process; another number gives clips that sound alike, but not the same bytes "
        "(default: 1)",
    )
    add_extraction(parser)


def run(args: argparse.Namespace) -> int:
    from flowmusic.batch.manifest import Manifest, ManifestError

    if args.no_cache:
        raise ValueError("a batch needs the cache: expected no --no-cache")
    try:
        manifest = Manifest(_manifest_path(args))
    except ManifestError as error:
        for problem in error.problems[:SHOWN_PROBLEMS]:
            sys.stderr.write(f"{problem}\n")
        raise
    return _make(args, manifest)


def _manifest_path(args: argparse.Namespace) -> Path:
    """The manifest given, or one written from a folder or a grid."""
    from flowmusic.batch.sources import grid_rows, parse_seeds, reference_rows, write_manifest

    source: Path | None = args.source
    if not args.grid and (args.prompt or args.prompts or args.seeds != "0"):
        raise ValueError("--prompt, --prompts and --seeds are for a grid: expected --grid with them")
    if source is not None and not source.is_dir():
        if args.grid:
            raise ValueError(f"{source} is not a folder: a grid takes a folder of references, or none")
        return source
    if source is None and not args.grid:
        raise ValueError("expected a manifest, a folder of references, or --grid")
    roles = [role.strip() for role in args.roles.split(",") if role.strip()]
    references = [] if source is None else reference_rows(source, roles, args.out)
    prompts = list(args.prompt)
    if args.prompts is not None:
        prompts += _read_prompts(args.prompts)
    prompts = [prompt for prompt in prompts if prompt]
    return write_manifest(
        args.out / "manifest.jsonl", grid_rows(prompts, references, parse_seeds(args.seeds))
    )


def _read_prompts(path: Path) -> list[str]:
    """The prompts of a file. ValueError, naming the line, where one is no text."""
    from features.text_files import read_lines, unprintable

    prompts = [line.strip() for line in read_lines(path, "prompts, one a line")]
    for line, prompt in enumerate(prompts, start=1):
        if character := unprintable(prompt):
            raise ValueError(f"{path}, line {line}: expected a prompt, without the character {character}")
    return prompts


def _make(args: argparse.Namespace, manifest: Manifest) -> int:
    from flowmusic.api.dtype import AUTO
    from flowmusic.api.model import FlowMusic
    from flowmusic.batch.ranks import device_of_rank
    from flowmusic.batch.run import run_batch
    from flowmusic.batch.store import BatchSettings
    from flowmusic.evaluation.scoring import parse_weights

    if args.weights is not None and args.no_scores and args.candidates == 1:
        raise ValueError("--weights says how scores count together; --no-scores asks for none")
    args.device = device_of_rank(args.device, args.devices)
    model = FlowMusic.from_pretrained(args.checkpoint, args.device, extractors(args), args.dtype or AUTO)
    settings = BatchSettings(
        model=model.model.fingerprint,
        extractors=model.extractors.names,
        suffix=f".{args.format}",
        loudness=None if args.no_loudness else args.loudness,
        scores=not args.no_scores,
        plots=args.plot,
        candidates=args.candidates,
        weights=None if args.weights is None else parse_weights(args.weights),
        dtype=model.model.dtype_name,
        threads=args.threads,
    )
    with _bar() as progress:
        summary = run_batch(
            model, manifest, args.out, settings, args.devices, args.nodes, args.workers, progress
        )
    if summary is None:
        return 0
    sys.stdout.write(f"{summary}: {summary.table}\n")
    return 0 if summary.complete else EXIT_INCOMPLETE


@contextmanager
def _bar() -> Iterator[Progress]:
    """A bar of clips on stderr, where that is a terminal."""
    from tqdm import tqdm

    with tqdm(total=None, unit="clip", disable=None) as bar:

        def show(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield show
