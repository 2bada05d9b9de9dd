"""The text probe: its features and regression on what is known, its prompts beside the captions."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.prompts import FUNCTION_WORDS, all_prompts, caption_stems, known_words, stem, words_of
from benchmarks.text_probe import (
    ATTRIBUTES,
    TEMPO_GRID_BPM,
    Example,
    Labels,
    ProbeExtractor,
    corpus_songs,
    inputs_for,
    labels_of,
    mode_features,
    row_of,
    solo_labels_of,
    tempo_features,
    train_probe,
    train_probes,
)
from features.audio import Audio, write_audio
from features.cache import FeatureCache
from features.chord_labels import ChordSegment, segments_to_channels
from features.frames import FrameGrid
from flowmusic.composer.captions import SongFacts, write_captions
from flowmusic.evaluation.estimates import area_under_curve
from flowmusic.evaluation.musicnn import SAMPLE_RATE as RATE
from flowmusic.evaluation.musicnn import log_mel

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


def test_the_mode_is_found_in_sound(tmp_path: Path) -> None:
    """Triads of harmonic tones, through the recogniser."""
    extractor = ProbeExtractor(FeatureCache(tmp_path))

    def extracted(thirds: tuple[int, int, int]) -> np.ndarray:
        times_s = np.arange(2 * RATE) / RATE
        bars = []
        for root, third in zip((48, 53, 55), thirds, strict=True):
            hz = [440 * 2 ** ((root + step - 69) / 12) for step in (0, third, 7, 12)]
            tones = [np.sin(2 * np.pi * f * k * times_s) / k for f in hz for k in (1, 2, 3, 4)]
            bars.append(np.sum(tones, axis=0) * np.exp(-times_s) / 20)
        audio = Audio(np.concatenate(bars)[None].astype(np.float32), RATE)
        return extractor.example(audio, {"minor": True}).features["mode"]

    assert extracted((4, 4, 4))[2] < extracted((3, 3, 3))[2]
    noise = Audio(0.1 * RNG.standard_normal((1, 4 * RATE)).astype(np.float32), RATE)
    assert "mode" not in extractor.example(noise, {"minor": None}).features


def test_training_chooses_a_penalty_that_holds_for_others() -> None:
    signal = RNG.standard_normal(160)
    inputs = np.column_stack([signal, RNG.standard_normal((160, 200))])  # more dimensions than examples
    model = train_probe(inputs, signal > 0)
    fresh = RNG.standard_normal(400)
    values = model.predict_proba(np.column_stack([fresh, RNG.standard_normal((400, 200))]))[:, 1]
    area = area_under_curve(values[fresh > 0], values[fresh <= 0]).value
    assert area is not None and area > 0.7
    with pytest.raises(ValueError, match="at least 10 examples, of both kinds, got 4"):
        train_probe(inputs[:4], signal[:4] > 0)
    with pytest.raises(ValueError, match="of both kinds"):
        train_probe(inputs, np.ones(160, bool))


def examples(n: int, follows: bool = True) -> list[Example]:
    """Examples whose features show every attribute of theirs, or none."""
    made = []
    for _ in range(n):
        labels: Labels = {name: bool(RNG.random() < 0.5) for name in ATTRIBUTES}
        shown = np.array([float(bool(labels[name])) if follows else 0.5 for name in ATTRIBUTES])
        noisy = shown + 0.1 * RNG.standard_normal(len(shown))
        made.append(Example({"timbre": noisy, "tempo": noisy[-2:], "mode": noisy[-1:]}, labels))
    return made


def test_rows_tell_followed_prompts_from_ignored_ones() -> None:
    learnt = examples(80)
    probes = train_probes(learnt)
    assert set(probes) == set(ATTRIBUTES)
    assert inputs_for("fast", learnt[0].features).shape == (2 + len(ATTRIBUTES),)
    unseen = examples(40)
    rows = [row_of(name, probes[name], examples(40), unseen, unseen) for name in ATTRIBUTES]
    assert all(row.auc.low is not None and row.auc.low > 0.9 for row in rows)
    assert all(row.gap_closed == pytest.approx(1.0, abs=0.1) for row in rows)
    ignored = row_of("piano", probes["piano"], examples(80, follows=False), unseen, unseen).auc
    assert ignored.low is not None and ignored.high is not None and ignored.low < 0.5 < ignored.high + 0.1
    assert row_of("piano", probes["piano"], [], unseen, unseen).auc.value is None
    with pytest.raises(ValueError, match=r"'piano' cannot be learnt from --probe: .* at least 10 examples"):
        train_probes(learnt[:4])


def test_no_word_of_a_prompt_but_function_words_is_one_that_captions_know() -> None:
    prompts = all_prompts()
    assert len(prompts) == len({prompt.text for prompt in prompts}) == 56
    for prompt in prompts:
        assert known_words(prompt.text) == [], prompt.text
        words = {word for phrase in prompt.attribute_words for word in words_of(phrase)}
        assert words and words <= set(words_of(prompt.text)) and not words & FUNCTION_WORDS


def test_captions_hold_no_word_that_is_not_counted_as_theirs() -> None:
    facts = SongFacts(
        style="pop", style_names=("pop", "pop song"), bpm=140, metre="4/4", key="C", mode="minor",
        lead="flute", chord_instruments=("piano", "strings"), bass="electric bass", kit="standard",
        groove="rock", solo="none",
    )  # fmt: skip
    written = {w for text in write_captions(facts, 300, RNG) for w in words_of(text) if len(w) > 1}
    assert len(written) > 100 and {stem(word) for word in written} <= caption_stems()
    assert known_words("Violins, a violinist, a theremin") == ["violins", "violinist"]


def test_attributes_are_asked_for_equally_often() -> None:
    prompts = all_prompts()
    asked = Counter(name for prompt in prompts for name, wanted in prompt.asks.items() if wanted)
    assert set(asked) == set(ATTRIBUTES) and set(asked.values()) == {4}
    against = Counter(name for prompt in prompts for name, wanted in prompt.asks.items() if not wanted)
    assert {against[name] for name in ("drums", "fast", "minor")} == {4}
    # The first 14 ask for something of everything.
    assert {name for prompt in prompts[:14] for name in prompt.asks} == set(ATTRIBUTES)


def test_a_probe_needs_songs_with_labels(tmp_path: Path) -> None:
    write_audio(tmp_path / "a.wav", np.full(32_000, 0.1, np.float32), 16_000)
    with pytest.raises(ValueError, match=r"holds no corpus songs \(song\.json\)"):
        corpus_songs([tmp_path], None)
