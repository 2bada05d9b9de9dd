"""The metrics against cases worked out by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from features.chord_labels import ChordSegment
from features.chroma import CHROMA_SAMPLE_RATE, SILENT, one_hot_chroma
from features.controls import Controls
from features.extracted import Extracted
from features.frames import FrameGrid
from flowmusic.evaluation.adherence import (
    HEADLINE,
    METRICS,
    chord_iou,
    chord_overlap,
    chroma_cosine,
    drum_onset_f1,
    score,
)

DURATION_S = 4.0


def chords(*labels: str, length_s: float = 2.0) -> tuple[ChordSegment, ...]:
    return tuple(ChordSegment(i * length_s, (i + 1) * length_s, label) for i, label in enumerate(labels))


def extracted(f0_hz: float = 440.0, confidence: float = 0.9) -> Extracted:
    grid = FrameGrid.from_duration(DURATION_S)
    return Extracted(
        duration_s=DURATION_S,
        chords=chords("C:maj", "A:min"),
        onsets_s=np.arange(8) * 0.5 + 0.1,
        f0_times_s=grid.times_s(),
        f0_hz=np.full(grid.n_frames, f0_hz),
        confidence=np.full(grid.n_frames, confidence),
        chroma=np.full(32, 9),
        controls=Controls(grid.n_frames),
    )


def test_identity_scores_one() -> None:
    scores = score(extracted(), extracted())
    assert {name: scores.get(name) for name in METRICS} == pytest.approx(dict.fromkeys(METRICS, 1.0))


def test_the_headline_of_a_control_is_a_metric_of_it() -> None:
    assert all(METRICS.get(metric).control == control for control, metric in HEADLINE.items())


def test_chords_of_another_quality_or_root_do_not_overlap() -> None:
    assert chord_overlap(chords("C:maj"), chords("A:min")) == 0.0
    assert chord_overlap(chords("C:maj"), chords("C:min")) == 0.0
    assert chord_overlap(chords("C:maj"), chords("N")) == 0.0
    assert chord_overlap(chords("C:maj"), ()) == 0.0


@pytest.mark.parametrize("name", ["C", "C:maj", "Cmaj7", "C7", "C/E", "B#"])
def test_spellings_and_extensions_count_as_their_triad(name: str) -> None:
    assert chord_overlap(chords("C:maj"), chords(name)) == 1.0
    assert chord_iou(chords("C:maj"), chords(name)) == 1.0


def test_overlap_is_weighted_by_duration() -> None:
    asked = chords("C:maj", "A:min", length_s=2.0)  # C for 2 s, then Am for 2 s
    found = (ChordSegment(0.0, 1.0, "C:maj"), ChordSegment(1.0, 4.0, "A:min"))
    assert chord_overlap(asked, found) == pytest.approx(0.75)  # wrong between 1 and 2 s
    assert chord_iou(asked, found) == pytest.approx(3.0 / 5.0)  # o / (a + b - o) = 3 / (4 + 4 - 3)


def test_iou_counts_chords_found_where_none_was_asked() -> None:
    asked = (ChordSegment(0.0, 2.0, "C:maj"), ChordSegment(2.0, 4.0, "N"))
    found = (ChordSegment(0.0, 4.0, "C:maj"),)
    assert chord_iou(asked, found) == pytest.approx(0.5)
    assert chord_iou(found, asked) == pytest.approx(0.5)


def test_reference_chords_that_are_neither_major_nor_minor_are_left_out() -> None:
    assert chord_overlap(chords("C:maj", "G:sus4"), chords("C:maj", "F:maj")) == 1.0
    assert chord_overlap(chords("C:maj", "G:dim"), chords("F:maj", "G:dim")) == 0.0


@pytest.mark.parametrize("labels", [(), ("N",), ("N", "X"), ("G:sus4",)])
def test_chords_are_not_applicable_without_a_major_or_minor_chord(labels: tuple[str, ...]) -> None:
    assert chord_overlap(chords(*labels), chords("C:maj")) is None
    assert chord_iou(chords(*labels), chords("C:maj")) is None


@pytest.mark.parametrize(("shift_s", "f1"), [(0.0, 1.0), (0.04, 1.0), (-0.049, 1.0), (0.06, 0.0), (0.2, 0.0)])
def test_onsets_match_within_50_ms(shift_s: float, f1: float) -> None:
    onsets_s = np.arange(8) * 0.5 + 0.3
    assert drum_onset_f1(onsets_s, onsets_s + shift_s) == f1


def test_onset_f1_by_hand() -> None:
    # 3 of 4 found, 2 too many: precision 3/5, recall 3/4, F1 2/3.
    asked, found = np.array([1.0, 2.0, 3.0, 4.0]), np.array([1.0, 2.01, 2.99, 5.0, 6.0])
    assert drum_onset_f1(asked, found) == pytest.approx(2 / 3)
    # One to one: two hits close together do not both match the same one.
    assert drum_onset_f1(np.array([1.0, 2.0]), np.array([1.0, 1.02, 2.0])) == pytest.approx(0.8)


def test_drums_are_not_applicable_without_a_drum_part_and_zero_if_missed() -> None:
    assert drum_onset_f1(np.array([]), np.array([1.0])) is None
    assert drum_onset_f1(np.array([1.0]), np.array([1.0])) is None
    assert drum_onset_f1(np.array([1.0, 2.0]), np.array([])) == 0.0


@pytest.mark.parametrize(
    ("ratio", "pitch", "chroma"),
    [
        (1.0, 1.0, 1.0),
        (2.0, 0.0, 1.0),
        (0.5, 0.0, 1.0),
        (2 ** (1 / 12), 0.0, 0.0),
        (2 ** (0.4 / 12), 1.0, 1.0),
    ],
)
def test_octaves_count_for_chroma_and_not_for_pitch(ratio: float, pitch: float, chroma: float) -> None:
    scores = score(extracted(220.0), extracted(220.0 * ratio))
    assert (scores["melody_raw_pitch"], scores["melody_raw_chroma"]) == pytest.approx((pitch, chroma))


def test_melody_counts_only_frames_that_the_reference_voices() -> None:
    asked, found = extracted(), extracted()
    half = len(asked.f0_hz) // 2
    confidence, f0_hz = asked.confidence.copy(), found.f0_hz.copy()
    confidence[half:] = 0.1
    f0_hz[half:] = 123.0
    scores = score(replace(asked, confidence=confidence), replace(found, f0_hz=f0_hz))
    assert scores["melody_raw_pitch"] == pytest.approx(1.0)
    f0_hz[: half // 2] = 300.0
    scores = score(replace(asked, confidence=confidence), replace(found, f0_hz=f0_hz))
    assert scores["melody_raw_pitch"] == pytest.approx(0.5, abs=0.02)


def test_the_estimates_voicing_plays_no_part_but_its_pitch_does() -> None:
    assert score(extracted(), extracted(confidence=0.1))["melody_raw_pitch"] == pytest.approx(1.0)
    assert score(extracted(), replace(extracted(), f0_hz=np.zeros(200)))["melody_raw_pitch"] == 0.0


def test_melody_is_not_applicable_without_voiced_frames() -> None:
    scores = score(extracted(confidence=0.2), extracted())
    assert scores["melody_raw_pitch"] is None and scores["melody_raw_chroma"] is None


def test_chroma_cosine_by_hand() -> None:
    asked = np.array([0, 4, 7, SILENT])
    assert chroma_cosine(asked, np.array([0, 4, 2, 3])) == pytest.approx(2 / 3)
    assert chroma_cosine(asked, np.array([0])) == pytest.approx(1 / 3)  # a shorter estimate is silent there
    assert chroma_cosine(np.full(4, SILENT), asked) is None


@pytest.mark.parametrize(("f0_hz", "pitch_class"), [(440.0, 9), (261.63, 0), (1174.7, 2)])
@pytest.mark.parametrize("sample_rate", [32_000, 44_100])
def test_one_hot_chroma_of_a_tone(f0_hz: float, pitch_class: int, sample_rate: int) -> None:
    times_s = np.arange(2 * sample_rate) / sample_rate
    tone = (0.3 * np.sin(2 * np.pi * f0_hz * times_s)).astype(np.float32)
    chroma = one_hot_chroma(tone, sample_rate)
    assert len(chroma) == 1 + 2 * CHROMA_SAMPLE_RATE // 4096
    assert (chroma == pitch_class).all()
    assert (one_hot_chroma(np.zeros_like(tone), sample_rate) == SILENT).all()
