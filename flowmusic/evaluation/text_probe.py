"""Do a user's own words change the result as asked? A probe learnt from renders listens to the clips.

python -m flowmusic.evaluation.text_probe --probe corpus/train --test corpus/test --out text
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from flowmusic.commands.options import whole_number
from flowmusic.evaluation.command import (
    SECONDS,
    FlowMaker,
    add_sampling,
    load_model,
    run_and_show,
    settings_for,
)

if TYPE_CHECKING:
    from features.audio import Audio
    from flowmusic.evaluation.composed_scores import Followed
    from flowmusic.evaluation.probe import Labels
    from flowmusic.evaluation.prompts import Prompt
    from flowmusic.evaluation.references import Clip, FoundReference
    from flowmusic.evaluation.text_scores import Example, ProbeListener, Row

SOLO_PEAK, SOLO_SHARE = 0.01, 0.25
MELODY_SUFFIX = "-melody"
TABLE_FILE, NUMBERS_FILE = "text.md", "text.json"


@dataclass(frozen=True)
class TextClips:
    """Makes clips of text alone and hears them; kept under `out`, so that a second run goes on."""

    maker: FlowMaker
    extractors: ProbeListener
    duration_s: float
    out: Path
    compose: bool

    def example(self, name: str, text: str, seed: int, labels: Labels) -> Example:
        from features.audio import read_audio, write_audio

        path = self.out / f"{name}.wav"
        if not path.is_file():
            audio = self.maker.clip(text=text, duration_s=self.duration_s, seed=seed, compose=self.compose)
            write_audio(path, audio.samples, audio.sample_rate)
        return self.extractors.example(path.stem, read_audio(path), labels)

    def of_prompts(self, prompts: Sequence[Prompt], seeds: Sequence[int]) -> list[Example]:
        """Each seed's noise is the same for all prompts."""
        from tqdm import tqdm

        return [
            self.example(f"clips/{number:02d}-{seed}", prompt.text, seed, dict(prompt.asks))
            for seed in seeds
            for number, prompt in enumerate(tqdm(prompts, desc=f"clips of seed {seed}", unit="clip"))
        ]

    def scores(self, prompts: Sequence[Prompt], seed: int) -> Followed:
        """How the clips of one seed follow what was composed for them."""
        from tqdm import tqdm

        from features.audio import read_audio
        from flowmusic.evaluation.composed_scores import followed

        numbered = enumerate(tqdm(prompts, desc="scores", unit="clip"))
        clips = (
            (read_audio(self.out / f"clips/{number:02d}-{seed}.wav"), prompt.text, seed)
            for number, prompt in numbered
        )
        return followed(clips, self.duration_s)

    def of_songs(self, songs: Sequence[FoundReference], seed: int) -> list[Example]:
        """A clip for the first caption of each song, each with noise of its own."""
        from tqdm import tqdm

        captions = [read_captions([song.path])[0] for song in songs]
        return [
            self.example(f"captions/{number:02d}", text, seed + number, {})
            for number, text in enumerate(tqdm(captions, desc="clips of captions", unit="clip"))
        ]


def read_songs(
    paths: Sequence[Path],
    n: int | None,
    duration_s: float,
    extractors: ProbeListener,
    resynthesise: FlowMaker | None = None,
) -> list[Example]:
    """Corpus songs' excerpts and melody stems with labels; with a maker, as its codec leaves them.

    Raises:
        ValueError: no corpus songs.
    """
    from tqdm import tqdm

    from flowmusic.evaluation.probe import labels_of, solo_labels_of
    from flowmusic.evaluation.references import LABELS_FILE, find_references, load_clip, read_labels

    songs = [item for item in find_references(paths, n) if item.is_song]
    if not songs:
        raise ValueError(f"{paths[0]} holds no corpus songs (song.json); the probe learns from their labels")
    examples = []
    for song in tqdm(songs, desc="resynthesis" if resynthesise else "renders", unit="song"):
        clip = load_clip(song, duration_s, allow_shorter=True)
        labels = read_labels(song.path / LABELS_FILE)
        sounds = [(song.name, clip.audio, labels_of(labels))]
        solo = melody_stem(song, clip)
        if solo is not None:
            sounds.append((f"{song.name}{MELODY_SUFFIX}", solo, solo_labels_of(labels)))
        for name, audio, known in sounds:
            extracted = resynthesise.resynthesise(audio) if resynthesise else audio
            examples.append(extractors.example(name, extracted, known))
    return examples


def melody_stem(song: FoundReference, clip: Clip) -> Audio | None:
    """The melody alone over a clip's span; None where it is hardly there."""
    from features.audio import Audio
    from flowmusic.evaluation.references import read_stem

    stem = read_stem(song.path, "melody")
    first = round(clip.start_s * stem.sample_rate)
    samples = stem.mono()[first : first + clip.audio.n_samples]
    audible = (abs(samples) > SOLO_PEAK).mean() > SOLO_SHARE
    return Audio(samples[None], stem.sample_rate) if audible else None


def read_captions(paths: Sequence[Path]) -> list[str]:
    """Every caption of every song under `paths`."""
    from flowmusic.evaluation.references import LABELS_FILE, find_references, read_labels

    songs = [item for item in find_references(paths) if item.is_song]
    return [text for song in songs for text in read_labels(song.path / LABELS_FILE).get("captions", [])]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="text_probe", description="Do prompts change the result as asked?")
    parser.add_argument(
        "--probe", nargs="+", required=True, type=Path, help="songs that the probe learns from"
    )
    parser.add_argument("--test", nargs="+", required=True, type=Path, help="unseen songs, for the ceiling")
    parser.add_argument(
        "--captions", nargs="+", type=Path, help="songs whose captions were trained on (--probe)"
    )
    parser.add_argument("--out", type=Path, required=True, help="folder of clips and tables; resumes in it")
    some = whole_number("a number", 1, 1_000_000)
    parser.add_argument("--n", type=some, help="the first n prompts only (all)")
    parser.add_argument("--seeds", type=some, default=2, help="clips of each prompt (2)")
    parser.add_argument("--n-probe", type=some, default=1000, help="songs that the probe learns from (1000)")
    parser.add_argument("--n-test", type=some, default=64, help="songs of the ceiling (64)")
    parser.add_argument("--duration", type=SECONDS, default=10.0, help="seconds of each clip (10)")
    parser.add_argument(
        "--compose",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="as in `flowmusic generate` (yes)",
    )
    add_sampling(parser)
    return parser


def run(options: argparse.Namespace) -> list[Row]:
    """Train the probe, make the clips, write the tables."""
    from features.cache import FeatureCache
    from flowmusic.evaluation.composed_scores import sentence
    from flowmusic.evaluation.embeddings import EmbeddingStore
    from flowmusic.evaluation.probe import ATTRIBUTES
    from flowmusic.evaluation.prompts import all_prompts
    from flowmusic.evaluation.protocol import check_settings
    from flowmusic.evaluation.references import find_references
    from flowmusic.evaluation.report import write_text
    from flowmusic.evaluation.text_scores import (
        ProbeListener,
        frechet,
        novelty_of,
        row_of,
        to_markdown,
        train_probes,
    )

    prompts = all_prompts()[: options.n]
    model = load_model(options)
    cache = FeatureCache()
    if options.compose and options.guidance is None:
        options.guidance = model.model.defaults.composed_guidance
    settings = settings_for(model, options, "", (prompt.text for prompt in all_prompts()))
    check_settings(options.out, settings)
    maker = FlowMaker(model, options.steps, options.solver, options.guidance)
    extractors = ProbeListener(EmbeddingStore(cache), cache)
    probes = train_probes(read_songs(options.probe, options.n_probe, options.duration, extractors))
    renders = read_songs(options.test, options.n_test, options.duration, extractors)
    resynthesised = read_songs(options.test, options.n_test, options.duration, extractors, maker)
    clips = TextClips(maker, extractors, options.duration, options.out, options.compose)
    made = clips.of_prompts(prompts, range(options.seed, options.seed + options.seeds))
    songs = [song for song in find_references(options.test, options.n_test) if song.is_song]
    conditions = clips.of_songs(songs, options.seed)
    rows = [row_of(name, probes[name], made, resynthesised, renders) for name in ATTRIBUTES]
    novel = novelty_of(prompts, read_captions(options.captions or options.probe))
    mixes = [item for item in renders if not item.name.endswith(MELODY_SUFFIX)]
    heading = (
        f"Text alone: {len(prompts)} prompts, {options.seeds} seeds, model {settings.model}, "
        f"{settings.solver} {settings.steps}, guidance {settings.guidance}, "
        f"{'composed' if options.compose else 'not composed'}. Fréchet distance over musicnn of clips for "
        f"captions of {len(songs)} songs of --test to these songs: {frechet(conditions, mixes):.1f}."
    )
    scores: Followed = {}
    if options.compose:
        scores = clips.scores(prompts, options.seed)
        heading += f" {sentence(scores)}"
    write_text(options.out / TABLE_FILE, to_markdown(rows, novel, heading) + "\n")
    numbers = {
        "settings": asdict(settings),
        "novelty": asdict(novel),
        "followed": scores,
        "rows": [asdict(row) for row in rows],
    }
    write_text(options.out / NUMBERS_FILE, json.dumps(numbers, indent=2) + "\n")
    return rows


def main(arguments: Sequence[str] | None = None) -> int:
    """`python -m flowmusic.evaluation.text_probe`."""
    return run_and_show(_parser(), run, TABLE_FILE, arguments)


if __name__ == "__main__":
    raise SystemExit(main())
