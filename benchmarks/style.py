"""Does a clip sound like the recording that is given as its style, without copying it?

    python -m benchmarks.style --references corpus/valid --n 32 --out style
    python -m benchmarks.style --references recordings/valid --n 16 --style-alone --out style-recordings

Of each song an excerpt is given as style, with several numbers of codebooks: alone, and with the controls
of another song; beside them those controls without style. Similarity is the cosine of the clip's mean
musicnn embedding with that of the excerpt. Floor: the same clips with the excerpts of all other songs.
Ceiling: the codec's resynthesis of another excerpt of the same song. Both KNN figures are our reading of
arXiv 2407.12563.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from benchmarks.common import Bench, bar, options_of
from features.audio import Audio, AudioError
from flowmusic.arguments import number
from flowmusic.conditioning.style import MAX_EXCERPT_S, MIN_EXCERPT_S
from flowmusic.evaluation.adherence import HEADLINE, score
from flowmusic.evaluation.embeddings import EMBEDDING, EmbeddingStore, read_whole
from flowmusic.evaluation.estimates import Estimate, gap_closed, mean
from flowmusic.evaluation.references import FoundReference, find_references
from flowmusic.evaluation.report import markdown_table

MIN_SONGS, N_COMMON = 4, 5


@dataclass(frozen=True)
class StyleSong:
    """Excerpts of one song that do not overlap: `given` as style, and `other` to compare it with."""

    name: str
    given: Audio
    other: Audio


@dataclass(frozen=True)
class SongStyles:
    """Clip means of embeddings, one row a song, all (N, 200): the given excerpt, another, and that after
    the codec.
    """

    given: np.ndarray
    other: np.ndarray
    resynthesis: np.ndarray


@dataclass(frozen=True)
class Likeness:
    """How like their styles clips are.

    common     share of the nearest five songs (by their other excerpts) that clip and given excerpt have in
    common overfit    how often a clip's nearest neighbour among both excerpts of all songs is the given
    excerpt itself same_song  how often it is that song's other excerpt: as often as the former where
    nothing is copied
    """

    similarity: Estimate
    floor: float
    ceiling: float
    gap_closed: Estimate
    common: float
    overfit: Estimate
    same_song: Estimate


def load_song(reference: FoundReference, excerpt_s: float, duration_s: float) -> StyleSong:
    """The excerpt in the middle of the first half, and one that ends a twentieth before the end.

    Raises:
        AudioError: a song too short for both.
    """
    audio = read_whole(reference)
    start_s = max(0.0, audio.duration_s / 4 - excerpt_s / 2)
    other_s = audio.duration_s * 19 / 20 - duration_s
    if start_s + excerpt_s > other_s:
        needed_s = 2 * (excerpt_s + duration_s)
        raise AudioError(
            f"{reference.path} lasts {audio.duration_s:.1f} s; expected at least about {needed_s:.0f} s"
        )

    def cut(first_s: float, length_s: float) -> Audio:
        first = round(first_s * audio.sample_rate)
        span = slice(first, first + round(length_s * audio.sample_rate))
        return Audio(audio.samples[:, span], audio.sample_rate)

    return StyleSong(reference.name, cut(start_s, excerpt_s), cut(other_s, duration_s))


def embed_songs(songs: Sequence[StyleSong], bench: Bench, embeddings: EmbeddingStore) -> SongStyles:
    """Embeddings of the excerpts, and of what the codec of the bench leaves of the second ones."""
    codec = [bench.store.resynthesis(song.name, song.other) for song in bar(songs, "references")]
    return SongStyles(
        given=np.stack([embeddings.clip(song.name, song.given).mean for song in songs]),
        other=np.stack([embeddings.clip(song.name, song.other).mean for song in songs]),
        resynthesis=np.stack([embeddings.clip("", audio).mean for audio in codec]),
    )


def likeness(results: np.ndarray, songs: SongStyles) -> Likeness:
    """The figures of clips (N, 200), clip i with the style of song i.

    Raises:
        ValueError: fewer than 4 songs, or another number of results.
    """
    from sklearn.metrics.pairwise import cosine_similarity

    n = len(songs.given)
    if n < MIN_SONGS or len(results) != n:
        raise ValueError(
            f"expected at least {MIN_SONGS} songs and a result of each, got {n} and {len(results)}"
        )
    table = cosine_similarity(results, songs.given)  # (results, songs)
    own = np.diag(table)
    floor = (table.sum(axis=1) - own) / (n - 1)
    ceiling = np.diag(cosine_similarity(songs.resynthesis, songs.given))
    nearest = cosine_similarity(results, np.concatenate([songs.given, songs.other])).argmax(axis=1)
    return Likeness(
        similarity=mean(own),
        floor=float(floor.mean()),
        ceiling=float(ceiling.mean()),
        gap_closed=gap_closed(own, floor, ceiling),
        common=_knn_common(results, songs, min(N_COMMON, n - 2)),
        overfit=mean((nearest == np.arange(n)).astype(float)),
        same_song=mean((nearest == n + np.arange(n)).astype(float)),
    )


def _knn_common(results: np.ndarray, songs: SongStyles, k: int) -> float:
    """Mean overlap of the `k` nearest other songs of results and given excerpts, by their other excerpts."""
    from sklearn.metrics.pairwise import cosine_similarity

    tables = [cosine_similarity(points, songs.other) for points in (results, songs.given)]
    for table in tables:
        np.fill_diagonal(table, -np.inf)  # a song's own other excerpt
    ours, theirs = (np.argsort(-table, axis=1)[:, :k] for table in tables)
    return float(np.mean([len({*a} & {*b}) / k for a, b in zip(ours, theirs, strict=True)]))


def main(arguments: Sequence[str] | None = None) -> None:
    """Write `style.md` and `style.json` anew after each way to ask."""
    parser = options_of(__doc__, n=32)
    seconds = number("seconds", MIN_EXCERPT_S, MAX_EXCERPT_S)
    parser.add_argument("--codebooks", default="1,2,3,6", help="of the bottleneck (1,2,3,6)")
    parser.add_argument("--excerpt", type=seconds, default=4.5, help="seconds given as style (4.5)")
    parser.add_argument("--style-alone", action="store_true", help="no controls, nothing extracted: quick")
    options = parser.parse_args(arguments)
    bench = Bench.of(options, f"Style: excerpts of {options.excerpt:g} s")
    found = find_references(options.references, options.n)
    songs = [load_song(item, options.excerpt, options.duration) for item in found]
    embeddings = EmbeddingStore()
    styles = embed_songs(songs, bench, embeddings)
    counts = [int(word) for word in options.codebooks.split(",")]
    ways: list[tuple[str, int | None]] = [("style", count) for count in counts]
    if not options.style_alone:
        ways += [("controls", None), *(("style and controls", count) for count in counts)]
    rows: list[list[str | float | None]] = []
    numbers: list[dict[str, object]] = []
    for way, count in ways:
        results, scores = [], []
        for i, song in enumerate(bar(songs, f"{way} {count or ''}")):
            asked = (
                None
                if way == "style"
                else bench.extracted.extract(songs[(i + len(songs) // 2) % len(songs)].other)
            )
            request = bench.request(
                bench.seed + i,
                controls=asked and asked.controls,
                style=None if way == "controls" else song.given,
                style_codebooks=count,
            )
            audio = bench.store.clip(f"{way.replace(' ', '-')}/{song.name}", request)
            results.append(embeddings.clip(song.name, audio).mean)
            if asked is not None:
                scores.append(score(asked, bench.extracted.extract(audio)))
        figures = likeness(np.stack(results), styles)
        adherence = {name: mean(item.get(metric) for item in scores) for name, metric in HEADLINE.items()}
        row = [way, "–" if count is None else f"{count}", f"{len(songs)}", str(figures.similarity)]
        row += [f"{figures.floor:.3f}", f"{figures.ceiling:.3f}", str(figures.gap_closed)]
        row += [f"{figures.common:.3f}", str(figures.overfit), str(figures.same_song)]
        rows.append([*row, *(str(item) for item in adherence.values())])
        followed = {name: asdict(item) for name, item in adherence.items()}
        numbers.append({"way": way, "codebooks": count, **asdict(figures), "adherence": followed})
        header = [
            "asked with",
            "codebooks",
            "n",
            "similarity [95 %]",
            "floor",
            "ceiling",
            "gap closed [95 %]",
        ]
        header += [
            "KNN common",
            "KNN overfit [95 %]",
            "same song nearest [95 %]",
            *(f"{name} [95 %]" for name in HEADLINE),
        ]
        bench.write("style", f"Embedding: {EMBEDDING}.\n\n{markdown_table(header, rows)}", numbers)
    bench.show("style")


if __name__ == "__main__":
    main()
