"""Holes in recordings, filled to their controls: what is kept, the borders, the sound inside.

python -m flowmusic.evaluation.holes --references corpus/test --n 16 --out holes
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Protocol

from features import choices
from features.audio import Audio
from features.controls import Controls
from flowmusic.api.editing import Edit, Spans
from flowmusic.evaluation.command import (
    SECONDS,
    FlowSampler,
    add_sampling,
    load_model,
    run_and_show,
    settings_for,
)
from flowmusic.evaluation.hole_scores import Filled, Report, hole_of, report, to_markdown
from flowmusic.evaluation.listening import ExtractedStore
from flowmusic.evaluation.protocol import Progress, Settings, check_settings, clip_path, progress_bar, quiet
from flowmusic.evaluation.references import Clip, find_references, load_clip
from flowmusic.evaluation.report import write_text
from flowmusic.evaluation.seams import kept_audio

TABLE_FILE, NUMBERS_FILE = "holes.md", "holes.json"
DESCRIPTION = """Inpainting. Of 12 s of each reference the middle third is made anew, as `flowmusic generate
--context F --keep 0-4,8-12 --controls C` does with the controls heard in F. What is kept is compared
sample by sample, the spectral change at both borders with that at other instants (AUC .5: not to be told
apart), the hole's sound with the reference's in controls and level. The folder keeps every clip; a second
run goes on where the first stopped."""


class HoleMaker(Protocol):
    """What is evaluated: something that makes part of a recording anew."""

    def fill(self, context: Audio, keep: Spans, controls: Controls, seed: int) -> Audio:
        """A clip as long as `context`, whose spans `keep` (in seconds) it has unchanged."""
        ...

    def resynthesise(self, audio: Audio) -> Audio:
        """What the codec leaves of a recording."""
        ...


class FlowHoleMaker(FlowSampler):
    """`HoleMaker`; text is never given."""

    def fill(self, context: Audio, keep: Spans, controls: Controls, seed: int) -> Audio:
        return self.clip(controls=controls, seed=seed, edit=Edit(context, keep))


def fill_hole(
    maker: HoleMaker, clip: Clip, out: Path, store: ExtractedStore, sample_rate: int, seed: int
) -> Filled:
    """A clip with its middle third made anew, from `out` if it was made before.

    The original is written there too, at the model's `sample_rate`, and taken from there as a user's
    would be: rates and bits are no difference.
    """
    original = kept_audio(clip_path(out, "original", clip.name), lambda: clip.audio.resampled(sample_rate))
    start_s, end_s = hole_of(original.duration_s)
    keep = ((0.0, start_s), (end_s, original.duration_s))
    made = kept_audio(
        clip_path(out, "filled", clip.name),
        lambda: maker.fill(original, keep, store.extract(original).controls, seed),
    )
    resynthesis = kept_audio(clip_path(out, "resynthesis", clip.name), lambda: maker.resynthesise(original))
    return Filled(clip.name, original, made, resynthesis)


def evaluate_holes(
    maker: HoleMaker,
    clips: Sequence[Clip],
    out: Path,
    settings: Settings,
    store: ExtractedStore,
    sample_rate: int,
    frame_rate: float,
    progress: Progress = quiet,
) -> Report:
    """Fill, listen, compare, and write `holes.md` and `holes.json`.

    `sample_rate` is that of the model's sound, `frame_rate` that of its latents, both in Hz.

    Raises:
        ValueError: `out` holds results of other settings; fewer than 2 references (the floor needs
            another one), or too short ones.
    """
    if len(clips) < 2:
        raise ValueError(f"expected at least 2 references, got {len(clips)}")
    check_settings(out, settings)
    filled = [
        fill_hole(maker, clips[i], out, store, sample_rate, settings.seed + i)
        for i in progress(range(len(clips)), "holes")
    ]
    result = report(filled, store, frame_rate)
    heading = (
        f"Holes: {len(clips)} references of {settings.duration_s:g} s, model {settings.model}, "
        f"{settings.solver} {settings.steps}, guidance {settings.guidance}"
    )
    write_text(out / TABLE_FILE, to_markdown(result, heading))
    numbers = {"settings": asdict(settings), **asdict(result)}
    write_text(out / NUMBERS_FILE, json.dumps(numbers, indent=2) + "\n")
    return result


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="holes", description=DESCRIPTION)
    parser.add_argument(
        "--references", nargs="+", required=True, type=Path, help="sound files, songs, folders"
    )
    parser.add_argument("--out", type=Path, required=True, help="folder of clips and tables; resumes in it")
    parser.add_argument("--n", type=int, default=16, help="references, spread evenly (16; at least 2)")
    parser.add_argument(
        "--duration", type=SECONDS, default=12.0, help="seconds of each; a third is hole (12)"
    )
    add_sampling(parser)
    parser.add_argument("--separator", choices=choices.SEPARATORS, default="embedded")
    return parser


def run(options: argparse.Namespace) -> Report:
    """Load, check that the folder fits, evaluate."""
    from features.extract import Extractors
    from flowmusic.evaluation.listening import Ears

    hole_of(options.duration)
    found = find_references(options.references, options.n)
    model = load_model(options)
    clips = [load_clip(item, options.duration) for item in found]
    ears = Ears.of(Extractors(options.separator))
    settings = settings_for(model, options, f"{ears.version}; holes", (clip.name for clip in clips))
    return evaluate_holes(
        FlowHoleMaker(model, options.steps, options.solver, options.guidance),
        clips,
        options.out,
        settings,
        ExtractedStore(options.out / "extracted", ears),
        model.sample_rate,
        model.model.codec.frame_rate,
        progress_bar,
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """`python -m flowmusic.evaluation.holes`."""
    return run_and_show(_parser(), run, TABLE_FILE, arguments)


if __name__ == "__main__":
    raise SystemExit(main())
