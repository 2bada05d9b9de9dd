"""Which guidance should clips have? Captions of unseen songs, several guidances, on `valid`.

    python -m benchmarks.composed_guidance --probe corpus/train --references corpus/valid --out composed
    python -m benchmarks.composed_guidance --style --probe corpus/train --references corpus/valid --out grid

Of a text alone: for the first caption of each song a song is composed and played. With --style: each caption
stands beside an excerpt of another song, without controls; the default guidances are a grid of the two scales
of double guidance. Text: mean AUC over the attributes of `benchmarks.text_probe` of what the captioned song
is. Followed: headline adherence to what was composed. Similarity to the excerpt as in `benchmarks.style`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common import Bench, bar, options_of
from benchmarks.style import SongStyles, StyleSong, embed_songs, likeness, load_song
from benchmarks.text_probe import (
    ATTRIBUTES,
    ProbeExtractor,
    corpus_songs,
    labels_of,
    probabilities,
    read_songs,
    train_probes,
)
from features.cache import FeatureCache
from features.extract import Extractors
from flowmusic.arguments import whole_number
from flowmusic.conditioning.style import MAX_EXCERPT_S
from flowmusic.evaluation.adherence import HEADLINE
from flowmusic.evaluation.estimates import area_under_curve, mean
from flowmusic.evaluation.references import LABELS_FILE, read_labels
from flowmusic.evaluation.report import markdown_table
from flowmusic.evaluation.scoring import Judge, score_events

COMPOSED = ("3", "double:2,3", "double:3,5", "double:2,8")
GRID = tuple(f"double:{alpha},{beta}" for alpha in (2, 3) for beta in (0, 1, 2, 4))


def guidances_of(text: str | None, with_style: bool, draws_tokens: bool) -> list[str]:
    """The expressions of the command line; or the default ones, half rescaled where there is an ODE."""
    if text is not None:
        return text.split("|")
    rules = GRID if with_style else COMPOSED
    return [rule if draws_tokens else f"{rule}; rescale=0.5" for rule in rules]


def main(arguments: Sequence[str] | None = None) -> None:
    """Write `composed.md` and `composed.json`, anew after each guidance."""
    parser = options_of(__doc__, n=32)
    some = whole_number("a number", 1, 1_000_000)
    parser.add_argument(
        "--probe", nargs="+", required=True, type=Path, help="songs that the probe learns from"
    )
    parser.add_argument("--n-probe", type=some, default=240, help="at most so many of them (default: 240)")
    parser.add_argument("--style", action="store_true", help="beside each caption the style of another song")
    parser.add_argument("--guidances", help="expressions, separated by | (default: as described above)")
    options = parser.parse_args(arguments)
    what = "captions beside another style" if options.style else "composed clips, captions"
    bench = Bench.of(options, f"Guidance: {what} of {options.n} songs")
    extractor = ProbeExtractor(FeatureCache())
    mixes, solos = read_songs(options.probe, options.n_probe, options.duration, extractor)
    probes = train_probes([*mixes, *solos])
    found = corpus_songs(options.references, options.n)
    songs = [read_labels(item.path / LABELS_FILE) for item in found]
    excerpts: list[StyleSong] = []
    styles: SongStyles | None = None
    if options.style:
        excerpts = [load_song(item, MAX_EXCERPT_S, options.duration) for item in found]
        styles = embed_songs(excerpts, bench, extractor.embeddings)
    judge = Judge(Extractors(cache=FeatureCache()))
    header = ["guidance", "text, mean AUC [95 %]"]
    header += (
        ["similarity [95 %]", "gap closed [95 %]"] if styles else [f"{name} [95 %]" for name in HEADLINE]
    )
    rows: list[list[str | float | None]] = []
    for guidance in guidances_of(options.guidances, options.style, bench.model.limits.draws_tokens):
        made, points, scores = [], [], {name: list[float | None]() for name in HEADLINE}
        for number, song in enumerate(bar(songs, guidance)):
            asked: dict[str, Any] = {"text": song.get("captions", [""])[0] or "music", "guidance": guidance}
            if styles:
                asked |= {"style": excerpts[other(number, len(songs))].given, "compose": False}
            request = bench.request(bench.seed + number, **asked)
            audio = bench.store.clip("captions/clip", request)
            made.append(extractor.example(audio, labels_of(song)))
            if styles:
                points.append(extractor.embeddings.clip("", audio).mean)
                continue
            wanted = judge.asked(bench.model.prepare(request))
            extracted = judge.extract(audio, wanted.given)
            for name, value in score_events(wanted, extracted, [(0.0, bench.duration_s)]).items():
                scores[name].append(value)
        aucs = [area_under_curve(*probabilities(probes[name], name, made)).value for name in ATTRIBUTES]
        row: list[str | float | None] = [guidance, str(mean(aucs))]
        if styles:
            order = np.argsort([other(number, len(songs)) for number in range(len(songs))])
            like = likeness(np.stack(points)[order], styles)  # by the song that the style is of
            row += [str(like.similarity), str(like.gap_closed)]
        else:
            row += [str(mean(scores[name])) for name in HEADLINE]
        rows.append(row)
        bench.write("composed", markdown_table(header, rows), rows)
    bench.show("composed")


def other(number: int, n: int) -> int:
    """The song whose style stands beside the caption of song `number` of n."""
    return (number + n // 2) % n


if __name__ == "__main__":
    main()
