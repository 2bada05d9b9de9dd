"""Style from a recording: similarity, copying and adherence for each number of books of the bottleneck.

python -m flowmusic.evaluation.style --references corpus/test --n 32 --out style
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from features.audio import Audio, AudioError, read_audio, write_audio
from features.controls import Controls
from flowmusic.commands.options import number
from flowmusic.conditioning.style import MAX_EXCERPT_S, MIN_EXCERPT_S
from flowmusic.evaluation.adherence import Extracted, score
from flowmusic.evaluation.command import (
    SECONDS,
    FlowSampler,
    add_sampling,
    load_model,
    run_and_show,
    settings_for,
)
from flowmusic.evaluation.embeddings import EMBEDDING, EmbeddingStore, read_whole
from flowmusic.evaluation.listening import ExtractedStore
from flowmusic.evaluation.references import FoundReference, find_references
from flowmusic.evaluation.report import Values, write_text
from flowmusic.evaluation.style_scores import Outcome, SongStyles, StyleRow, summarise, to_markdown

BOOKS = "1,2,3,6"
STYLE, BOTH, CONTROLS = "style", "style and controls", "controls"
TABLE_FILE, NUMBERS_FILE = "style.md", "style.json"
N_FLOOR = 4


class Resynthesiser(Protocol):
    """Something with a codec."""

    def resynthesise(self, audio: Audio) -> Audio:
        """What the codec leaves of a recording."""
        ...


class StyleMaker(Resynthesiser, Protocol):
    """What is evaluated: something that makes sound of a style, controls, or both."""

    def make(
        self,
        style: Audio | None,
        codebooks: int | None,
        controls: Controls | None,
        duration_s: float,
        seed: int,
    ) -> Audio:
        """A clip of `duration_s` seconds."""
        ...


class FlowStyleMaker(FlowSampler):
    """`StyleMaker`; text is never given."""

    def make(
        self,
        style: Audio | None,
        codebooks: int | None,
        controls: Controls | None,
        duration_s: float,
        seed: int,
    ) -> Audio:
        return self.clip(
            style=style, style_codebooks=codebooks, controls=controls, duration_s=duration_s, seed=seed
        )


@dataclass(frozen=True)
class StyleSong:
    """Excerpts of one song that do not overlap: `given` as style, and `other` to compare it with."""

    name: str
    given: Audio
    other: Audio


def load_song(reference: FoundReference, excerpt_s: float, duration_s: float) -> StyleSong:
    """The excerpt in the middle of the first half, and one that ends a twentieth before the end.

    Raises:
        AudioError: a song too short for both.
    """
    audio = read_whole(reference)
    margin_s = audio.duration_s / 20
    start_s = max(0.0, audio.duration_s / 4 - excerpt_s / 2)
    other_s = audio.duration_s - margin_s - duration_s
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


def embed_songs(songs: Sequence[StyleSong], maker: Resynthesiser, store: EmbeddingStore) -> SongStyles:
    """The embeddings of both excerpts and of the second after the codec."""
    items = list(_bar(songs, "references"))
    return SongStyles(
        given=np.stack([store.clip(song.name, song.given).mean for song in items]),
        other=np.stack([store.clip(song.name, song.other).mean for song in items]),
        resynthesis=np.stack([store.clip(s.name, maker.resynthesise(s.other)).mean for s in items]),
    )


def run_way(
    way: str,
    codebooks: int | None,
    songs: Sequence[StyleSong],
    maker: StyleMaker,
    store: EmbeddingStore,
    ears: ExtractedStore | None,
    out: Path,
    seed: int = 0,
) -> Outcome:
    """Make (or read) and listen to a clip of each song in one way; its controls come from another song."""
    folder = out / "clips" / (way.replace(" ", "-") + ("" if codebooks is None else f"-{codebooks}"))
    n = len(songs)
    results, adherence, copied, copied_floor = [], [], [], []
    for i, song in enumerate(_bar(songs, folder.name)):
        source = songs[(i + n // 2) % n].other
        path = folder / f"{song.name}.wav"
        asked = ears.extract(source) if ears is not None and way != STYLE else None
        if not path.is_file():
            style = None if way == CONTROLS else song.given
            controls = asked.controls if asked is not None else None
            audio = maker.make(style, codebooks, controls, song.other.duration_s, seed + i)
            write_audio(path, audio.samples, audio.sample_rate)
        made = read_audio(path)
        results.append(store.clip(song.name, made).mean)
        if ears is None:
            continue
        extracted = ears.extract(made)
        if asked is not None:
            adherence.append(score(asked, extracted).as_dict())
        if way != CONTROLS:
            copied.append(score(ears.extract(song.given), extracted).as_dict())
            copied_floor += [
                _likeness(songs[(i + k) % n], ears, extracted) for k in range(1, min(N_FLOOR, n - 1) + 1)
            ]
    return Outcome(way, codebooks, np.stack(results), tuple(adherence), tuple(copied), tuple(copied_floor))


def _likeness(song: StyleSong, ears: ExtractedStore, extracted: Extracted) -> Values:
    return score(ears.extract(song.given), extracted).as_dict()


def _bar(songs: Sequence[StyleSong], title: str) -> Iterable[StyleSong]:
    from tqdm import tqdm

    shown: Iterable[StyleSong] = tqdm(songs, desc=title, unit="clip")
    return shown


def evaluate_style(
    maker: StyleMaker,
    songs: Sequence[StyleSong],
    codebooks: Sequence[int],
    store: EmbeddingStore,
    ears: ExtractedStore | None,
    out: Path,
    heading: str,
    seed: int = 0,
) -> list[StyleRow]:
    """Every way to ask; the tables are written anew after each. Without `ears` style alone is measured.

    Raises:
        ValueError: fewer than 4 songs.
    """
    styles = embed_songs(songs, maker, store)
    ways: list[tuple[str, int | None]] = [(STYLE, count) for count in codebooks]
    if ears is not None:
        ways += [(CONTROLS, None), *((BOTH, count) for count in codebooks)]
    rows: list[StyleRow] = []
    for way, count in ways:
        rows.append(summarise(run_way(way, count, songs, maker, store, ears, out, seed), styles))
        write_text(out / TABLE_FILE, to_markdown(rows, heading) + "\n")
        write_text(out / NUMBERS_FILE, json.dumps([asdict(row) for row in rows], indent=2) + "\n")
    return rows


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="style", description="Style similarity, copying and adherence.")
    parser.add_argument(
        "--references", nargs="+", required=True, type=Path, help="sound files, songs, folders"
    )
    parser.add_argument("--out", type=Path, required=True, help="folder of clips and tables; resumes in it")
    parser.add_argument("--n", type=int, default=32, help="songs, spread evenly (32; at least 4)")
    parser.add_argument("--codebooks", default=BOOKS, help=f"of the bottleneck ({BOOKS})")
    parser.add_argument(
        "--excerpt",
        type=number("seconds", MIN_EXCERPT_S, MAX_EXCERPT_S),
        default=4.5,
        help="seconds given as style (4.5)",
    )
    parser.add_argument("--duration", type=SECONDS, default=10.0, help="seconds of each clip (10)")
    parser.add_argument("--style-alone", action="store_true", help="no controls, no listening: quick")
    add_sampling(parser)
    return parser


def run(options: argparse.Namespace) -> list[StyleRow]:
    """Load, check that the folder fits, evaluate."""
    from features.cache import FeatureCache
    from features.extract import Extractors
    from flowmusic.evaluation.listening import Ears
    from flowmusic.evaluation.protocol import check_settings

    words = [word.strip() for word in options.codebooks.split(",")]
    if not all(word.isdigit() and int(word) > 0 for word in words):
        raise ValueError(f"--codebooks must be whole numbers separated by commas, got {options.codebooks!r}")
    codebooks = [int(word) for word in words]
    found = find_references(options.references, options.n)
    model = load_model(options)
    songs = [load_song(item, options.excerpt, options.duration) for item in found]
    ears = Ears.of(Extractors())
    heard_by = f"{ears.version}; excerpts of {options.excerpt:g} s"
    settings = settings_for(model, options, heard_by, (song.name for song in songs))
    check_settings(options.out, settings)
    heading = (
        f"Style: {len(songs)} songs, excerpts of {options.excerpt:g} s, model {settings.model}, "
        f"{settings.solver} {settings.steps}, guidance {settings.guidance}. Embedding: {EMBEDDING}."
    )
    maker = FlowStyleMaker(model, options.steps, options.solver, options.guidance)
    store = EmbeddingStore(FeatureCache(options.out / "embedded"))
    extracted = None if options.style_alone else ExtractedStore(options.out / "extracted", ears)
    return evaluate_style(maker, songs, codebooks, store, extracted, options.out, heading, options.seed)


def main(arguments: Sequence[str] | None = None) -> int:
    """`python -m flowmusic.evaluation.style`."""
    return run_and_show(_parser(), run, TABLE_FILE, arguments)


if __name__ == "__main__":
    raise SystemExit(main())
