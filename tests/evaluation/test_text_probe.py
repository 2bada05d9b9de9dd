"""The text probe: its features and regression on what is known, its prompts beside the captions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from features.audio import Audio, write_audio
from features.cache import FeatureCache
from features.chord_labels import ChordSegment, segments_to_channels
from features.frames import FrameGrid
from flowmusic.composer.captions import SongFacts, write_captions
from flowmusic.evaluation.embeddings import EmbeddingStore
from flowmusic.evaluation.musicnn import SAMPLE_RATE as RATE
from flowmusic.evaluation.musicnn import log_mel
from flowmusic.evaluation.probe import (
    ATTRIBUTES,
    TEMPO_GRID_BPM,
    Labels,
    auc,
    fit_logistic,
    inputs_for,
    labels_of,
    mode_features,
    solo_labels_of,
    tempo_features,
    train_probe,
)
from flowmusic.evaluation.prompts import Prompt, all_prompts
from flowmusic.evaluation.text_probe import main
from flowmusic.evaluation.text_scores import (
    Example,
    ProbeListener,
    novelty_of,
    row_of,
    to_markdown,
    train_probes,
)

NAMES = ("C", "C#", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B")
RNG = np.random.default_rng(0)


def song(
    backing: list[int], melody: int | None = None, bpm: float = 140.0, mode: str = "major"
) -> dict[str, object]:
    programs = {"drums": None, "melody": melody, "backing": backing}
    return {"programs": programs, "bpm": bpm, "metre": "4/4", "mode": mode}


def test_labels_are_read_from_programs_tempo_and_mode() -> None:
    labels = labels_of(song([0, 33, 48], melody=73, mode="dorian"))
    assert {name for name in ATTRIBUTES if labels[name]} == {"piano", "strings", "woodwinds", "fast", "minor"}
    assert labels_of(song([29], bpm=100.0))["fast"] is None
    slow = labels_of(song([29], bpm=70.0))
    assert slow["fast"] is False and slow["guitar"] is True and slow["drums"] is False
    solo = solo_labels_of(song([0, 33, 48], melody=73))
    assert {name for name in ATTRIBUTES if solo[name]} == {"woodwinds"} and solo["fast"] is None


@pytest.mark.parametrize("bpm", [72.0, 150.0])
def test_tempo_features_peak_at_the_tempo(bpm: float) -> None:
    clicks = np.zeros(8 * RATE, np.float32)
    for time_s in np.arange(0.1, 7.9, 60 / bpm):
        clicks[round(time_s * RATE) :][:400] += RNG.standard_normal(400).astype(np.float32)
    features = tempo_features(log_mel(Audio(0.5 * clicks[None], RATE)))
    assert features.shape == (49,)
    nearest = int(np.argmin(np.abs(TEMPO_GRID_BPM - bpm)))
    assert features[nearest] > 0.5 and features[nearest] > 3 * np.median(features[:48])


@pytest.mark.parametrize("tonic", [0, 5, 9])
def test_mode_features_tell_minor_from_major(tonic: int) -> None:
    def key(chords: tuple[tuple[int, bool], ...]) -> np.ndarray:
        """Chords on degrees, (semitones above the tonic, minor), of 2 s each."""
        labels = [f"{NAMES[(tonic + degree) % 12]}:{'min' if minor else 'maj'}" for degree, minor in chords]
        segments = [ChordSegment(2.0 * k, 2.0 * k + 2, label) for k, label in enumerate(labels)]
        grid = FrameGrid(50.0, 100 * len(labels))
        return mode_features(torch.as_tensor(segments_to_channels(segments, grid)))

    major = key(((0, False), (5, False), (7, False), (9, True)))
    minor = key(((0, True), (5, True), (7, True), (8, False)))
    assert major[2] < 0 < minor[2]
    assert major[0] > major[1] and minor[1] > minor[0]


def test_the_mode_is_heard_in_sound(tmp_path: Path) -> None:
    """Triads of harmonic tones, through the recogniser."""
    cache = FeatureCache(tmp_path)
    extractors = ProbeListener(EmbeddingStore(cache), cache)

    def extracted(thirds: tuple[int, int, int]) -> np.ndarray:
        times_s = np.arange(2 * RATE) / RATE
        bars = []
        for root, third in zip((48, 53, 55), thirds, strict=True):
            hz = [440 * 2 ** ((root + step - 69) / 12) for step in (0, third, 7, 12)]
            tones = [np.sin(2 * np.pi * f * k * times_s) / k for f in hz for k in (1, 2, 3, 4)]
            bars.append(np.sum(tones, axis=0) * np.exp(-times_s) / 20)
        audio = Audio(np.concatenate(bars)[None].astype(np.float32), RATE)
        return extractors.example("", audio, {"minor": True}).features["mode"]

    assert extracted((4, 4, 4))[2] < extracted((3, 3, 3))[2]
    noise = Audio(0.1 * RNG.standard_normal((1, 4 * RATE)).astype(np.float32), RATE)
    assert "mode" not in extractors.example("", noise, {"minor": None}).features


def test_regression_finds_the_odds_that_made_the_labels() -> None:
    inputs = RNG.standard_normal((4000, 3)) * [1.0, 5.0, 1.0] + 2
    chance = 1 / (1 + np.exp(-(1.5 * (inputs[:, 0] - 2) - 0.2 * (inputs[:, 1] - 2) + 0.5)))
    model = fit_logistic(inputs, RNG.random(4000) < chance, penalty=1e-6)
    assert model.weights == pytest.approx([1.5, -1.0, 0.0], abs=0.15)
    assert np.abs(model(inputs) - chance).mean() < 0.03
    with pytest.raises(ValueError, match="examples of both kinds"):
        fit_logistic(inputs, np.ones(4000, bool), 0.1)


def test_training_chooses_a_penalty_that_holds_for_others() -> None:
    signal = RNG.standard_normal(160)
    inputs = np.column_stack([signal, RNG.standard_normal((160, 200))])  # more dimensions than examples
    model = train_probe(inputs, signal > 0)
    fresh = RNG.standard_normal(400)
    values = model(np.column_stack([fresh, RNG.standard_normal((400, 200))]))
    assert auc(values[fresh > 0], values[fresh <= 0]) > 0.7
    with pytest.raises(ValueError, match="at least 8 examples, got 4"):
        train_probe(inputs[:4], signal[:4] > 0)


def test_auc_by_hand() -> None:
    assert auc(np.array([0.9, 0.4]), np.array([0.1, 0.4])) == 3.5 / 4
    with pytest.raises(ValueError, match="both kinds"):
        auc(np.zeros(0), np.zeros(3))


def examples(n: int, follows: bool = True) -> list[Example]:
    """Examples whose features show every attribute of theirs, or none."""
    made = []
    for i in range(n):
        labels: Labels = {name: bool(RNG.random() < 0.5) for name in ATTRIBUTES}
        shown = np.array([float(bool(labels[name])) if follows else 0.5 for name in ATTRIBUTES])
        noisy = shown + 0.1 * RNG.standard_normal(len(shown))
        made.append(Example(f"e{i}", {"timbre": noisy, "tempo": noisy[-2:], "mode": noisy[-1:]}, labels))
    return made


def test_rows_tell_followed_prompts_from_ignored_ones() -> None:
    learnt = examples(80)
    probes = train_probes(learnt)
    assert set(probes) == set(ATTRIBUTES)
    assert inputs_for("fast", learnt[0].features).shape == (2 + len(ATTRIBUTES),)
    unseen = examples(40)
    rows = [row_of(name, probes[name], examples(40), unseen, unseen) for name in ATTRIBUTES]
    assert all(row.auc is not None and row.auc > 0.95 for row in rows)
    assert all(row.share_closed == pytest.approx(1.0, abs=0.1) for row in rows)
    ignored = row_of("piano", probes["piano"], examples(80, follows=False), unseen, unseen)
    assert ignored.auc is not None and 0.3 < ignored.auc < 0.7
    assert row_of("piano", probes["piano"], [], unseen, unseen).auc is None
    text = to_markdown(rows, novelty_of(all_prompts(), ["a piano"]), "heading")
    assert "0 of 56 prompts" in text and "| piano" in text
    with pytest.raises(ValueError, match=r"'piano' cannot be learnt from --probe: .* at least 8 examples"):
        train_probes(learnt[:4])


def test_prompts_are_not_captions() -> None:
    prompts = all_prompts()
    assert len(prompts) == len({prompt.text for prompt in prompts}) == 56
    assert {name for prompt in prompts for name, asked in prompt.asks.items() if asked} == set(ATTRIBUTES)
    # The first 14 ask for something of everything.
    assert {name for prompt in prompts[:14] for name in prompt.asks} == set(ATTRIBUTES)
    facts = SongFacts(
        style="pop", style_names=("pop", "pop song"), bpm=140, metre="4/4", key="C", mode="minor",
        lead="flute", chord_instruments=("piano", "strings"), bass="electric bass", kit="standard",
        groove="rock", solo="none",
    )  # fmt: skip
    captions = write_captions(facts, 200, RNG)
    novel = novelty_of(prompts, captions)
    assert novel.verbatim == 0 and novel.n_captions == 200 and novel.with_new_words > 50
    assert novelty_of([Prompt(captions[3].upper() + "!", {})], captions).verbatim == 1


def test_a_probe_needs_songs_with_labels(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_audio(tmp_path / "a.wav", np.full(32_000, 0.1, np.float32), 16_000)
    with pytest.raises(SystemExit):
        main(["--probe", str(tmp_path), "--test", str(tmp_path), "--out", str(tmp_path / "out")])
    assert "holds no corpus songs (song.json)" in capsys.readouterr().err
