"""Pseudo-words: does a word that was learnt from a recording make clips like it? Beside a style excerpt.

python -m flowmusic.evaluation.inversions --references recordings/test --n 4 --out inversions
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from features.audio import Audio, read_audio, write_audio
from flowmusic.commands.options import number, whole_number
from flowmusic.conditioning.inversion import Inversion
from flowmusic.conditioning.style import MAX_EXCERPT_S, MIN_EXCERPT_S
from flowmusic.evaluation.command import add_sampling, run_and_show, settings_for
from flowmusic.evaluation.embeddings import EMBEDDING, EmbeddingStore, read_whole
from flowmusic.evaluation.inversion_scores import (
    WORD,
    Learnt,
    WayRow,
    WordRow,
    to_markdown,
    way_row,
    word_rows,
)
from flowmusic.evaluation.references import MIN_CLIP_S, FoundReference, find_references
from flowmusic.evaluation.report import write_text
from flowmusic.evaluation.style import Resynthesiser, load_song
from flowmusic.evaluation.style_models import FlowInversionMaker, load_styled

FRAME, INITIAL_WORDS = "{}", "music"
PLAIN, WITH_WORD, WITH_STYLE = "plain words", "pseudo-word", "plain words and style excerpt"
WAYS = (PLAIN, WITH_WORD, WITH_STYLE)
MIN_REFERENCES = 2
TABLE_FILE, NUMBERS_FILE = "inversions.md", "inversions.json"
EPILOG = """From each reference a word is learnt: from all of it up to the last excerpt (of --duration). Clips
are then asked for by plain words, by the word in the same sentence, and by the plain words with an
excerpt as style. All are compared with that last excerpt, which neither word nor style saw.

The folder holds inversions.md, inversions.json, the words (for `flowmusic generate --inversion`) and
the clips; a second run learns and makes only what is missing."""


class InversionMaker(Resynthesiser, Protocol):
    """What is evaluated: something that learns words and makes sound of a text, with a word or a style."""

    def learn(self, audio: Audio, initial_words: str) -> tuple[Inversion, Learnt]:
        """The pseudo-word `WORD` of a recording."""
        ...

    def make(
        self, text: str, word: Inversion | None, style: Audio | None, duration_s: float, seed: int
    ) -> Audio:
        """A clip of `duration_s` seconds."""
        ...


@dataclass(frozen=True)
class InvertedSong:
    """Parts of one recording: `learnt` from, `given` as style (within it), and `held_out` from both."""

    name: str
    learnt: Audio
    given: Audio
    held_out: Audio

    @property
    def middle(self) -> Audio:
        """An excerpt of what is learnt from, at most as long as the one that is held out."""
        n_samples = min(self.held_out.n_samples, self.learnt.n_samples)
        first = (self.learnt.n_samples - n_samples) // 2
        return Audio(self.learnt.samples[:, first : first + n_samples], self.learnt.sample_rate)


def load_inverted(reference: FoundReference, excerpt_s: float, duration_s: float) -> InvertedSong:
    """The excerpts of `flowmusic.evaluation.style.load_song`, and all that comes before the second.

    Raises:
        AudioError: a recording too short for both.
    """
    song, audio = load_song(reference, excerpt_s, duration_s), read_whole(reference)
    held_out_s = audio.duration_s * 19 / 20 - duration_s
    learnt = audio.samples[:, : int(held_out_s * audio.sample_rate)]
    return InvertedSong(reference.name, Audio(learnt, audio.sample_rate), song.given, song.other)


def learn_words(
    songs: Sequence[InvertedSong], maker: InversionMaker, initial_words: str, out: Path
) -> list[tuple[Inversion, Learnt]]:
    """The word of each song, learnt or read from `out`, where it is kept with its losses."""
    words = []
    for song in songs:
        path = out / "words" / f"{song.name}.safetensors"
        record = path.with_suffix(".json")  # written last: it says that the word is whole
        if not record.is_file():
            word, learnt = maker.learn(song.learnt, initial_words)
            word.save(path)
            write_text(record, json.dumps(asdict(learnt), indent=2) + "\n")
        learnt = Learnt(**json.loads(record.read_text(encoding="utf-8")))
        words.append((Inversion.load(path), learnt))
    return words


def run_way(
    way: str,
    songs: Sequence[InvertedSong],
    words: Sequence[Inversion],
    texts: tuple[str, str],
    seeds: int,
    maker: InversionMaker,
    store: EmbeddingStore,
    out: Path,
    seed: int = 0,
) -> np.ndarray:
    """Embeddings (K seeds, N, D) of the clips of one way, made or read from `out`.

    `texts` are the plain prompt and the one with the word. Clip k of song i has one noise in all ways.
    """
    from tqdm import tqdm

    results: list[list[np.ndarray]] = [[] for _ in range(seeds)]
    for i, song in enumerate(tqdm(songs, desc=way, unit="song")):
        for k in range(seeds):
            path = out / "clips" / way.replace(" ", "-") / f"{song.name}-{k}.wav"
            if not path.is_file():
                text, word = (texts[1], words[i]) if way == WITH_WORD else (texts[0], None)
                style = song.given if way == WITH_STYLE else None
                noise = seed + i + k * len(songs)
                audio = maker.make(text, word, style, song.held_out.duration_s, noise)
                write_audio(path, audio.samples, audio.sample_rate)
            results[k].append(store.clip(path.stem, read_audio(path)).mean)
    return np.array(results)


def evaluate_inversions(
    maker: InversionMaker,
    songs: Sequence[InvertedSong],
    store: EmbeddingStore,
    out: Path,
    heading: str,
    about: Mapping[str, object],
    initial_words: str = INITIAL_WORDS,
    frame: str = FRAME,
    seeds: int = 2,
    seed: int = 0,
) -> tuple[list[WayRow], list[WordRow]]:
    """Learn, make, compare; the tables are written anew after each way, `about` as it is into the numbers.

    Raises:
        ValueError: fewer than 2 songs; a recording that no word can be learnt from.
    """
    words, learnt = zip(*learn_words(songs, maker, initial_words, out), strict=True)
    texts = (frame.replace("{}", initial_words), frame.replace("{}", WORD))
    compared = np.stack([store.clip(song.name, song.held_out).mean for song in songs])  # (N, D)
    left = np.stack([store.clip(song.name, maker.resynthesise(song.middle)).mean for song in songs])
    results: dict[str, np.ndarray] = {}
    ways: list[WayRow] = []
    rows: list[WordRow] = []
    for way in WAYS:
        results[way] = run_way(way, songs, words, texts, seeds, maker, store, out, seed)
        ways.append(way_row(way, results[way], compared, left))
        rows = word_rows([song.name for song in songs], learnt, results, compared, left)
        write_text(out / TABLE_FILE, to_markdown(ways, rows, heading) + "\n")
        values = {**about, "ways": [asdict(row) for row in ways], "words": [asdict(row) for row in rows]}
        write_text(out / NUMBERS_FILE, json.dumps(values, indent=2) + "\n")
    return ways, rows


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="inversions",
        description="Similarity of clips to the recordings that pseudo-words were learnt from.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add, whole = parser.add_argument, whole_number
    add("--references", nargs="+", required=True, type=Path, help="sound files, songs, folders")
    add("--out", type=Path, required=True, help="folder of words, clips and tables; resumes in it")
    n = whole("references", MIN_REFERENCES, 100_000)
    add("--n", type=n, default=4, help="references, spread evenly (4; at least 2)")
    add("--seeds", type=whole("seeds", 1, 1000), default=2, help="clips of each reference and way (2)")
    steps = whole("steps", 1, 100_000)
    add("--steps", type=steps, default=300, dest="word_steps", help="of learning a word, at most (300)")
    add(
        "--initial-words",
        default=INITIAL_WORDS,
        help=f"plain words, which the word begins as ({INITIAL_WORDS})",
    )
    add("--frame", default=FRAME, help="sentence in which '{}' is the words, as 'a song like {}' ({})")
    excerpt = number("seconds", MIN_EXCERPT_S, MAX_EXCERPT_S)
    add("--excerpt", type=excerpt, default=4.5, help="seconds given as style (4.5)")
    add("--duration", type=number("seconds", MIN_CLIP_S, 600), default=10.0, help="of each clip (10)")
    add_sampling(parser, solver=False)
    add("--solver-steps", type=whole("steps", 1, 1000), dest="steps", help="of the solver (the model's)")
    return parser


def run(options: argparse.Namespace) -> tuple[list[WayRow], list[WordRow]]:
    """Load, check that the folder fits, evaluate."""
    from features.cache import FeatureCache
    from flowmusic.api.output import check_folder
    from flowmusic.evaluation.protocol import check_settings
    from flowmusic.training.invert import InversionPlan

    if options.frame.count("{}") != 1:
        raise ValueError(f"--frame must hold '{{}}' once, where the words stand, got {options.frame!r}")
    check_folder(options.out / TABLE_FILE)
    references = find_references(options.references, options.n)
    if len(references) < MIN_REFERENCES:
        raise ValueError(f"expected at least {MIN_REFERENCES} references, got {len(references)}")
    songs = [load_inverted(item, options.excerpt, options.duration) for item in references]
    model = load_styled(options, songs[0].given)
    plan = InversionPlan(steps=options.word_steps, seed=options.seed)
    given = (
        f"words learnt from {options.initial_words!r} in {plan.steps} steps at most, "
        f"prompt {options.frame!r}, excerpts of {options.excerpt:g} s"
    )
    settings = settings_for(model, options, given, (song.name for song in songs))
    check_settings(options.out, settings)
    heading = (
        f"Pseudo-words: {len(songs)} recordings, {options.seeds} seeds, {given}, model {settings.model}, "
        f"{settings.solver} {settings.steps}, guidance {settings.guidance}. Embedding: {EMBEDDING}."
    )
    maker = FlowInversionMaker(model, options.steps, options.solver, options.guidance, plan=plan)
    store = EmbeddingStore(FeatureCache(options.out / "embedded"))
    return evaluate_inversions(
        maker,
        songs,
        store,
        options.out,
        heading,
        {"settings": asdict(settings)},
        options.initial_words,
        options.frame,
        options.seeds,
        options.seed,
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """`python -m flowmusic.evaluation.inversions`."""
    return run_and_show(_parser(), run, TABLE_FILE, arguments)


if __name__ == "__main__":
    raise SystemExit(main())
