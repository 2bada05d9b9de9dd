"""Which guidance should clips of a text alone have? Captions of unseen songs, several guidances, on `valid`.

    python -m benchmarks.composed_guidance --probe corpus/train --references corpus/valid --out composed

For the first caption of each song a song is composed and played. Text: mean AUC over the attributes of
`benchmarks.text_probe` of what the captioned song is. Followed: headline adherence to what was composed.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmarks.common import Bench, bar, options_of
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
from flowmusic.evaluation.estimates import area_under_curve, mean
from flowmusic.evaluation.references import LABELS_FILE, read_labels
from flowmusic.evaluation.report import markdown_table
from flowmusic.evaluation.scoring import Judge, score_events


def main(arguments: Sequence[str] | None = None) -> None:
    """Write `composed.md` and `composed.json`, anew after each guidance."""
    parser = options_of(__doc__, n=32)
    some = whole_number("a number", 1, 1_000_000)
    parser.add_argument(
        "--probe", nargs="+", required=True, type=Path, help="songs that the probe learns from"
    )
    parser.add_argument("--n-probe", type=some, default=240, help="at most so many of them (default: 240)")
    parser.add_argument(
        "--guidances",
        default="3; rescale=0.5|double:2,3; rescale=0.5|double:3,5; rescale=0.5|double:2,8; rescale=0.5",
        help="expressions, separated by | (default: %(default)s)",
    )
    options = parser.parse_args(arguments)
    bench = Bench.of(options, f"Guidance of composed clips: captions of {options.n} songs")
    extractor = ProbeExtractor(FeatureCache())
    mixes, solos = read_songs(options.probe, options.n_probe, options.duration, extractor)
    probes = train_probes([*mixes, *solos])
    songs = [read_labels(item.path / LABELS_FILE) for item in corpus_songs(options.references, options.n)]
    judge = Judge(Extractors(cache=FeatureCache()))
    rows: list[list[str | float | None]] = []
    for guidance in options.guidances.split("|"):
        made, scores = [], {name: list[float | None]() for name in ("chords", "drums", "melody")}
        for number, song in enumerate(bar(songs, guidance)):
            caption = song.get("captions", [""])[0] or "music"
            request = bench.request(bench.seed + number, text=caption, guidance=guidance)
            audio = bench.store.clip("captions/clip", request)
            made.append(extractor.example(audio, labels_of(song)))
            asked = judge.asked(bench.model.prepare(request))
            found = score_events(asked, judge.extract(audio, asked.given), [(0.0, bench.duration_s)])
            for name, value in found.items():
                scores[name].append(value)
        aucs = [area_under_curve(*probabilities(probes[name], name, made)).value for name in ATTRIBUTES]
        followed = [str(mean(scores[name])) for name in scores]
        rows.append([guidance, str(mean(aucs)), *followed])
        header = ["guidance", "text, mean AUC [95 %]", *(f"{name} [95 %]" for name in scores)]
        bench.write("composed", markdown_table(header, rows), rows)
    bench.show("composed")


if __name__ == "__main__":
    main()
