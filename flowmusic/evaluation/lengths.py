"""Three minutes beside ten seconds: is a long clip followed as well, and are its windows to be heard?

python -m flowmusic.evaluation.lengths --references corpus/test --n 18 --out lengths
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from features import choices
from features.audio import Audio
from features.controls import CONTROL_NAMES
from features.frames import CONTROL_FRAME_RATE
from flowmusic.evaluation.command import (
    SECONDS,
    FlowMaker,
    add_sampling,
    load_model,
    run_and_show,
    settings_for,
)
from flowmusic.evaluation.listening import ExtractedStore
from flowmusic.evaluation.long_clips import (
    LongClip,
    Report,
    join_controls,
    plan_long,
    report,
    seams_of,
    to_markdown,
)
from flowmusic.evaluation.protocol import (
    ExtractedReference,
    Maker,
    Progress,
    Settings,
    check_settings,
    clip_path,
    extract_references,
    judge,
    progress_bar,
    quiet,
)
from flowmusic.evaluation.references import Clip, find_references, load_clip
from flowmusic.evaluation.report import Result, write_text
from flowmusic.evaluation.seams import cut, kept_audio
from flowmusic.evaluation.trials import Trial

TABLE_FILE, NUMBERS_FILE = "lengths.md", "lengths.json"
DESCRIPTION = """Adherence of long clips, and how their windows join. The controls heard in the references
are joined into one long clip (18 of 10 s: 3 minutes), generated without text; it is cut where they meet,
and each piece is heard and scored like a clip of those controls alone, which is made as well. Then the
spectral change where windows or decoded blocks meet, beside other instants (AUC .5: not to be told apart).
The folder keeps every clip; a second run goes on where the first stopped."""


def make_short(
    maker: Maker, index: int, references: Sequence[ExtractedReference], out: Path, seed: int
) -> Audio:
    """The clip of one reference's controls alone, from `out` if it was made before; no text."""
    item = references[index]
    return kept_audio(
        clip_path(out, "short", item.clip.name),
        lambda: maker.make(item.extracted.controls, "", item.extracted.duration_s, seed + index),
    )


def make_long(maker: Maker, clip: LongClip, references: Sequence[ExtractedReference], out: Path) -> Audio:
    """A clip of the controls of several references in turn, from `out` if it was made before; no text."""
    controls = join_controls([references[i].extracted.controls for i in clip.order])
    return kept_audio(
        clip_path(out, "long", clip.name),
        lambda: maker.make(controls, "", controls.grid.duration_s, clip.seed),
    )


def scored(
    audio: Audio, index: int, references: Sequence[ExtractedReference], store: ExtractedStore
) -> Result:
    """Scores of sound that should follow reference `index`, with floor and ceiling."""
    sources = dict.fromkeys(CONTROL_NAMES, index)
    trial = Trial(references[index].clip.name, "all", index, sources, text="", seed=0)
    return judge(trial, store.extract(audio), references)


def evaluate_lengths(
    maker: Maker,
    clips: Sequence[Clip],
    out: Path,
    settings: Settings,
    store: ExtractedStore,
    frame_rate: float,
    per_clip: int = 18,
    seeds: int = 1,
    progress: Progress = quiet,
) -> Report:
    """Make, listen, compare; the tables are written anew after each long clip.

    `frame_rate` is that of the latents, in Hz.

    Raises:
        ValueError: `out` holds results of other settings; a number of references or a duration that
            does not fit.
    """
    wanted = plan_long(len(clips), per_clip, seeds, settings.seed)
    piece_s = settings.duration_s
    for rate in (frame_rate, CONTROL_FRAME_RATE):
        if abs(piece_s * rate - round(piece_s * rate)) > 1e-6:
            raise ValueError(f"the duration must be whole frames of {1000 / rate:g} ms, got {piece_s:g} s")
    check_settings(out, settings)
    references = extract_references(maker, clips, out, store, progress)
    alone: list[Audio] = []
    short: list[Result] = []
    for i in progress(range(len(clips)), "short clips"):
        alone.append(make_short(maker, i, references, out, settings.seed))
        short.append(scored(alone[i], i, references, store))
    whole: list[Audio] = []
    laid: list[Audio] = []
    pieces: dict[int, list[Result]] = {}
    for index in progress(range(len(wanted)), "long clips"):
        clip = wanted[index]
        whole.append(make_long(maker, clip, references, out))
        for place, i in enumerate(clip.order):
            piece = cut(whole[-1], place * piece_s, (place + 1) * piece_s)
            pieces.setdefault(i, []).append(scored(piece, i, references, store))
        # The same music without windows: what there is to be heard at those instants anyway.
        samples = np.concatenate([alone[i].samples for i in clip.order], axis=1)
        laid.append(Audio(samples, alone[0].sample_rate))
        seams = seams_of(whole, piece_s, frame_rate, "long clips")
        seams += seams_of(laid, piece_s, frame_rate, "short clips end to end")
        result = report(short, pieces, seams)
        write_report(result, out, settings, per_clip)
    return result


def write_report(result: Report, out: Path, settings: Settings, per_clip: int) -> None:
    """`lengths.md` and `lengths.json`."""
    short, long = f"{settings.duration_s:g} s", f"{per_clip * settings.duration_s:g} s"
    heading = (
        f"Lengths: {len(settings.references)} references, model {settings.model}, "
        f"{settings.solver} {settings.steps}, guidance {settings.guidance}"
    )
    write_text(out / TABLE_FILE, to_markdown(result, heading, short, long))
    numbers = {"settings": asdict(settings), "per_clip": per_clip, **asdict(result)}
    write_text(out / NUMBERS_FILE, json.dumps(numbers, indent=2) + "\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="lengths", description=DESCRIPTION)
    parser.add_argument(
        "--references", nargs="+", required=True, type=Path, help="sound files, songs, folders"
    )
    parser.add_argument("--out", type=Path, required=True, help="folder of clips and tables; resumes in it")
    parser.add_argument(
        "--n", type=int, default=18, help="references, spread evenly (18; a multiple of --per-clip)"
    )
    parser.add_argument("--per-clip", type=int, default=18, help="references in each long clip (18)")
    parser.add_argument(
        "--seeds", type=int, default=1, help="long clips of the same references, each begun one later (1)"
    )
    parser.add_argument("--duration", type=SECONDS, default=10.0, help="seconds of each reference (10)")
    add_sampling(parser)
    parser.add_argument("--separator", choices=choices.SEPARATORS, default="embedded")
    return parser


def run(options: argparse.Namespace) -> Report:
    """Load, check that the folder fits, evaluate."""
    from features.extract import Extractors
    from flowmusic.evaluation.listening import Ears

    found = find_references(options.references, options.n)
    plan_long(len(found), options.per_clip, options.seeds)
    model = load_model(options)
    clips = [load_clip(item, options.duration) for item in found]
    ears = Ears.of(Extractors(options.separator))
    heard_by = f"{ears.version}; long clips of {options.per_clip}"
    settings = settings_for(model, options, heard_by, (clip.name for clip in clips))
    return evaluate_lengths(
        FlowMaker(model, options.steps, options.solver, options.guidance),
        clips,
        options.out,
        settings,
        ExtractedStore(options.out / "extracted", ears),
        model.model.codec.frame_rate,
        options.per_clip,
        options.seeds,
        progress_bar,
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """`python -m flowmusic.evaluation.lengths`."""
    return run_and_show(_parser(), run, TABLE_FILE, arguments)


if __name__ == "__main__":
    raise SystemExit(main())
