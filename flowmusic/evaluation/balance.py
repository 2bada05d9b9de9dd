"""Text against style: a grid over the scales alpha and beta of double guidance.

python -m flowmusic.evaluation.balance --references corpus/test --probe corpus/train --n 12 --out balance
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from features.audio import Audio, read_audio, write_audio
from flowmusic.commands.options import number, whole_number
from flowmusic.conditioning.style import MAX_EXCERPT_S, MIN_EXCERPT_S
from flowmusic.evaluation.balance_scores import (
    BalanceRow,
    Cell,
    choose_prompts,
    draw,
    grid,
    row_of,
    to_markdown,
    tradeoff_of,
)
from flowmusic.evaluation.command import run_and_show, settings_for
from flowmusic.evaluation.embeddings import EMBEDDING, EmbeddingStore
from flowmusic.evaluation.probe import Labels, Logistic, labels_of
from flowmusic.evaluation.prompts import Prompt, all_prompts
from flowmusic.evaluation.references import (
    LABELS_FILE,
    MIN_CLIP_S,
    FoundReference,
    find_references,
    read_labels,
)
from flowmusic.evaluation.report import write_text
from flowmusic.evaluation.style import Resynthesiser, StyleSong, embed_songs, load_song
from flowmusic.evaluation.style_models import FlowBalanceMaker, load_styled
from flowmusic.evaluation.style_scores import MIN_SONGS, SongStyles
from flowmusic.evaluation.text_scores import ProbeListener, judge

ALPHAS, BETAS = "1.5,3", "0,0.5,1,1.5,2"
TABLE_FILE, NUMBERS_FILE, PLOT_FILE = "balance.md", "balance.json", "balance.png"
EPILOG = """alpha scales all that is asked for, beta the text beyond the style:
v_0 + alpha (v_s + beta (v_ts - v_s) - v_0). Each clip has the style of one song and a prompt for
something that this song is not (by its labels; without labels, by the probe).

The folder holds balance.md, balance.json, balance.png and the clips; a second run makes only those
that are missing, so that alphas and betas can be added."""


class BalanceMaker(Resynthesiser, Protocol):
    """What is evaluated: something that makes sound of a style and a text."""

    def make(self, style: Audio, text: str, guidance: str, duration_s: float, seed: int) -> Audio:
        """A clip of `duration_s` seconds; `guidance` is as `Guidance.parse` reads it."""
        ...


@dataclass(frozen=True)
class Bench:
    """What every cell of the grid has in common: songs, a prompt for each, and what judges the clips."""

    songs: Sequence[StyleSong]
    prompts: Sequence[Prompt]
    styles: SongStyles
    probes: Mapping[str, Logistic]
    extractors: ProbeListener
    out: Path
    rescale: float = 0.0
    seed: int = 0


def run_cell(cell: Cell, maker: BalanceMaker, bench: Bench) -> BalanceRow:
    """Make (or read) and judge the clips of one cell; a song's noise is the same in all cells."""
    from tqdm import tqdm

    texts = [prompt.text for prompt in all_prompts()]
    results, examples = [], []
    pairs = list(zip(bench.songs, bench.prompts, strict=True))
    for i, (song, prompt) in enumerate(tqdm(pairs, desc=cell.name, unit="clip")):
        # The prompt's number in the name: another prompt is another clip.
        path = bench.out / "clips" / cell.name / f"{song.name}-{texts.index(prompt.text):02d}.wav"
        if not path.is_file():
            guidance = cell.guidance(bench.rescale)
            audio = maker.make(song.given, prompt.text, guidance, song.other.duration_s, bench.seed + i)
            write_audio(path, audio.samples, audio.sample_rate)
        made = read_audio(path)
        results.append(bench.extractors.store.clip(song.name, made).mean)
        examples.append(bench.extractors.example(song.name, made, dict(prompt.asks)))
    return row_of(cell, np.stack(results), examples, bench.styles, bench.probes)


def evaluate_balance(
    cells: Sequence[Cell], maker: BalanceMaker, bench: Bench, heading: str, about: Mapping[str, object]
) -> list[BalanceRow]:
    """Every cell of the grid; tables and picture are written anew after each.

    `about` goes into the numbers as it is. ValueError as of `flowmusic.evaluation.balance_scores.row_of`.
    """
    asked = {song.name: prompt.text for song, prompt in zip(bench.songs, bench.prompts, strict=True)}
    rows: list[BalanceRow] = []
    for cell in cells:
        rows.append(run_cell(cell, maker, bench))
        values = {**about, "prompts": asked, "tradeoff": asdict(tradeoff_of(rows))}
        values["rows"] = [asdict(row) for row in rows]
        write_text(bench.out / TABLE_FILE, to_markdown(rows, heading) + "\n")
        write_text(bench.out / NUMBERS_FILE, json.dumps(values, indent=2) + "\n")
        draw(rows, bench.out / PLOT_FILE)
    return rows


def kind_of(
    reference: FoundReference, song: StyleSong, probes: Mapping[str, Logistic], extractors: ProbeListener
) -> Labels:
    """What a song is, by attribute: as it is labelled, or as the probe hears the excerpt that is given."""
    if reference.is_song:
        return labels_of(read_labels(reference.path / LABELS_FILE))
    every: Labels = dict.fromkeys(probes, True)
    extracted = extractors.example(song.name, song.given, every)
    return {name: bool(judge(probe, name, [extracted])[0][0] > 0.5) for name, probe in probes.items()}


def numbers(text: str, option: str) -> list[float]:
    """Finite numbers separated by commas; ValueError, naming the option, for anything else."""
    try:
        values = [float(word) for word in text.split(",")]
    except ValueError:
        values = [math.nan]
    if not all(math.isfinite(value) for value in values):
        raise ValueError(f"{option} must be finite numbers separated by commas, got {text!r}")
    return values


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="balance",
        description="Text probe and style similarity over the scales of double guidance.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add, whole = parser.add_argument, whole_number
    add("--references", nargs="+", required=True, type=Path, help="sound files, songs, folders: the styles")
    add("--probe", nargs="+", required=True, type=Path, help="labelled songs that the probe learns from")
    add("--out", type=Path, required=True, help="folder of clips and tables; resumes in it")
    songs = whole("songs", MIN_SONGS, 100_000)
    add("--n", type=songs, default=12, help="styles, spread evenly, a prompt each (12; at least 4)")
    add("--alphas", default=ALPHAS, help=f"scales of style and text together ({ALPHAS})")
    add("--betas", default=BETAS, help=f"scales of the text beyond the style ({BETAS})")
    share = number("a share", 0, 1)
    add("--rescale", type=share, help="of the guided velocity (as in the model's default guidance)")
    add("--codebooks", type=whole("codebooks", 1, 1000), help="of the bottleneck (all of the model's)")
    excerpt = number("seconds", MIN_EXCERPT_S, MAX_EXCERPT_S)
    add("--excerpt", type=excerpt, default=4.5, help="seconds given as style (4.5)")
    add("--duration", type=number("seconds", MIN_CLIP_S, 600), default=10.0, help="of each clip (10)")
    n_probe = whole("songs", 8, 1_000_000)
    add("--n-probe", type=n_probe, default=1000, help="songs that the probe learns from (1000)")
    add("--steps", type=whole("steps", 1, 1000), help="of the solver (the model's)")
    add("--solver", help="of the differential equation (the model's)")
    add("--seed", type=whole("a seed", 0, 2**31), default=0, help="of the first song; the others count on")
    add("--checkpoint", metavar="MODEL", help="a model's folder or hub id (the embedded model)")
    parser.set_defaults(guidance=None)  # that of each cell
    return parser


def run(options: argparse.Namespace) -> list[BalanceRow]:
    """Load, check that the folder fits, train the probe, evaluate."""
    from features.cache import FeatureCache
    from flowmusic.api.output import check_folder
    from flowmusic.evaluation.protocol import check_settings
    from flowmusic.evaluation.text_probe import read_songs
    from flowmusic.evaluation.text_scores import train_probes
    from flowmusic.flow.schedule import Guidance

    cells = grid(numbers(options.alphas, "--alphas"), numbers(options.betas, "--betas"))
    check_folder(options.out / TABLE_FILE)
    references = find_references(options.references, options.n)
    if len(references) < MIN_SONGS:
        raise ValueError(f"expected at least {MIN_SONGS} references, got {len(references)}")
    songs = [load_song(item, options.excerpt, options.duration) for item in references]
    model = load_styled(options, songs[0].given, options.codebooks)
    defaults = Guidance.parse(model.model.defaults.guidance)
    rescale = defaults.rescale if options.rescale is None else options.rescale
    options.guidance = "double:α,β" + (f"; rescale={rescale:g}" if rescale else "")
    given = f"excerpts of {options.excerpt:g} s, codebooks: {options.codebooks or 'all'}"
    texts = [prompt.text for prompt in all_prompts()]
    settings = settings_for(model, options, given, (*(song.name for song in songs), *texts))
    check_settings(options.out, settings)
    # The user's cache, as in the text probe: its renders are heard once for both.
    cache = FeatureCache()
    extractors = ProbeListener(EmbeddingStore(cache), cache)
    renders = read_songs(options.probe, options.n_probe, options.duration, extractors)
    probes = train_probes(renders)
    prompts = choose_prompts(
        [kind_of(*pair, probes, extractors) for pair in zip(references, songs, strict=True)]
    )
    maker = FlowBalanceMaker(model, options.steps, options.solver, codebooks=options.codebooks)
    styles = embed_songs(songs, maker, extractors.store)
    bench = Bench(songs, prompts, styles, probes, extractors, options.out, rescale, options.seed)
    heading = (
        f"Text against style: {len(songs)} songs, {given}, model {settings.model}, {settings.solver} "
        f"{settings.steps}, guidance {settings.guidance}. Probe learnt from {len(renders)} renders. "
        f"Embedding: {EMBEDDING}."
    )
    return evaluate_balance(cells, maker, bench, heading, {"settings": asdict(settings)})


def main(arguments: Sequence[str] | None = None) -> int:
    """`python -m flowmusic.evaluation.balance`."""
    return run_and_show(_parser(), run, TABLE_FILE, arguments)


if __name__ == "__main__":
    raise SystemExit(main())
