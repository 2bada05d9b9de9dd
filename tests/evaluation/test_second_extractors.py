"""The second extractors find what was played, and say what is missing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from features import choices
from features.audio import Audio
from flowmusic.evaluation import second_extractors
from flowmusic.evaluation.adherence import score
from flowmusic.evaluation.second_extractors import SecondExtractors
from tests.installed import needs

RATE = 32_000


def music(shift: int = 0) -> Audio:
    """Four seconds: a line on A4, an A minor triad below, strokes every half second; `shift` in semitones."""
    times_s = np.arange(4 * RATE) / RATE

    def tone(midi: int) -> np.ndarray:
        hz = 440 * 2 ** ((midi + shift - 69) / 12)
        return np.asarray(sum(np.sin(2 * np.pi * hz * k * times_s) / k for k in (1, 2, 3)))

    strokes = np.random.default_rng(0).standard_normal(len(times_s)) * np.exp(-(times_s % 0.5) * 60)
    mix = 0.3 * tone(69) + 0.1 * sum(tone(midi) for midi in (45, 48, 52)) + 0.3 * strokes
    return Audio((0.5 * mix / np.abs(mix).max()).astype(np.float32)[None], RATE)


@needs("basic_pitch", "madmom")
def test_they_tell_the_same_music_from_another(tmp_path: Path) -> None:
    extractors = SecondExtractors(tmp_path)
    assert extractors.missing == []
    own, other = extractors.extract(music()), extractors.extract(music(shift=3))
    assert {round(time_s % 0.5, 1) for time_s in own.onsets_s} <= {0.0, 0.1, 0.5} and len(own.onsets_s) >= 7
    same, wrong = score(own, own), score(own, other)
    assert same["chord_overlap"] == same["melody_raw_chroma"] == same["drum_onset_f1"] == 1.0
    assert wrong["chord_overlap"] == 0.0 and wrong["melody_raw_chroma"] == 0.0
    assert same["melody_chroma_cosine"] is None  # there is no second way to it
    assert len(list(tmp_path.iterdir())) == 2 and extractors.extract(music()).chords == own.chords


def test_what_is_missing_is_named_and_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ValueError(f"{name} is not installed")

    for part in ("melody_extractor", "chord_recogniser"):
        assert hasattr(choices, part)
        monkeypatch.setattr(second_extractors, part, missing)
    extractors = SecondExtractors(tmp_path)
    assert "Missing: basic-pitch is not installed; madmom is not installed." in extractors.note
    scores = score(extractors.extract(music()), extractors.extract(music()))
    assert (
        scores["drum_onset_f1"] == 1.0
        and scores["chord_overlap"] is None
        and scores["melody_raw_pitch"] is None
    )
