"""How well a clip follows its controls: the metrics, as pure functions of what was extracted.

One code for the tests, the command line and the README. Every metric compares what extractors
find in a *reference* with what the same extractors find in an *estimate*. Where the reference
holds nothing to follow (no drums, no melody, no chord) the metric is None: not applicable.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from features.chord_labels import NO_CHORD, UNKNOWN_CHORD, ChordSegment, majmin, parse_chord
from features.chroma import SILENT
from features.extracted import Extracted
from features.registry import Registry

ONSET_WINDOW_S = 0.05
VOICED_CONFIDENCE = 0.5
MIN_VOICED_S = 0.5
MIN_ONSETS = 2


@dataclass(frozen=True)
class Metric:
    """One way to measure how well a clip follows a control.

    control   the control that it is about
    title     what tables call it
    measure   (reference, estimate) -> a number in [0, 1], or None where the reference has nothing to follow
    """

    control: str
    title: str
    measure: Callable[[Extracted, Extracted], float | None]


HEADLINE = {"drums": "drum_onset_f1", "melody": "melody_raw_chroma", "chords": "chord_overlap"}
"""The metric that stands for each control."""


def score(reference: Extracted, estimate: Extracted) -> dict[str, float | None]:
    """Every metric in `METRICS` of `estimate` against `reference`, by name."""
    return {name: METRICS.get(name).measure(reference, estimate) for name in METRICS.names()}


def chord_overlap(reference: Sequence[ChordSegment], estimate: Sequence[ChordSegment]) -> float | None:
    """Share of the reference's time with the right maj/min chord (`mir_eval.chord.majmin`).

    Sevenths and other extensions count as their triad; reference chords that are neither major,
    minor nor "no chord" (sus, dim, aug) are left out. None if no major or minor chord remains.
    """
    import mir_eval.chord

    if not any(majmin(segment.label) not in (NO_CHORD, UNKNOWN_CHORD) for segment in reference):
        return None
    spans = _common_spans(reference, estimate)
    reference_labels = [parse_chord(asked).label for _, asked, _ in spans]
    estimate_labels = [parse_chord(extracted).label for _, _, extracted in spans]
    comparisons = mir_eval.chord.majmin(reference_labels, estimate_labels)
    durations = np.array([duration for duration, _, _ in spans])
    if not (comparisons >= 0).any():
        return None
    return float(mir_eval.chord.weighted_accuracy(comparisons, durations))


def chord_iou(reference: Sequence[ChordSegment], estimate: Sequence[ChordSegment]) -> float | None:
    """Intersection over union of (time, maj/min label); time without a chord is in neither set.

    With o the time of agreement and a, b the labelled time of each: o / (a + b - o).
    """
    agreed = asked_total = found_total = 0.0
    for duration, asked, extracted in _common_spans(reference, estimate, to_estimate_end=True):
        asked_label, found_label = majmin(asked), majmin(extracted)
        asked_total += duration * (asked_label not in (NO_CHORD, UNKNOWN_CHORD))
        found_total += duration * (found_label not in (NO_CHORD, UNKNOWN_CHORD))
        agreed += duration * (asked_label == found_label and asked_label not in (NO_CHORD, UNKNOWN_CHORD))
    if asked_total == 0:
        return None
    return agreed / (asked_total + found_total - agreed)


def _common_spans(
    reference: Sequence[ChordSegment], estimate: Sequence[ChordSegment], to_estimate_end: bool = False
) -> list[tuple[float, str, str]]:
    """(duration, reference label, estimated label) between every two neighbouring boundaries.

    Covers the reference's span, or up to the later end of the two; gaps are no-chord.
    """
    if not reference:
        return []
    start = min(segment.start_s for segment in reference)
    end = max(segment.end_s for segment in reference)
    if to_estimate_end:
        start = min([start, *(segment.start_s for segment in estimate)])
        end = max([end, *(segment.end_s for segment in estimate)])
    bounds = {time for segment in (*reference, *estimate) for time in (segment.start_s, segment.end_s)}
    edges = sorted({start, end, *(time for time in bounds if start < time < end)})
    return [
        (stop - begin, _label_at(reference, (begin + stop) / 2), _label_at(estimate, (begin + stop) / 2))
        for begin, stop in pairwise(edges)
    ]


def _label_at(segments: Sequence[ChordSegment], time_s: float) -> str:
    return next(
        (segment.label for segment in segments if segment.start_s <= time_s < segment.end_s), NO_CHORD
    )


def drum_onset_f1(
    reference_s: np.ndarray, estimate_s: np.ndarray, window_s: float = ONSET_WINDOW_S
) -> float | None:
    """F1 of drum onsets matched one to one within `window_s` (`mir_eval.onset`).

    None if the reference has fewer than MIN_ONSETS hits: there is no drum part to follow.
    """
    import mir_eval.onset

    if len(reference_s) < MIN_ONSETS:
        return None
    if len(estimate_s) == 0:
        return 0.0
    return float(mir_eval.onset.f_measure(np.sort(reference_s), np.sort(estimate_s), window=window_s)[0])


def melody_accuracy(reference: Extracted, estimate: Extracted) -> tuple[float | None, float | None]:
    """Raw pitch and raw chroma accuracy (`mir_eval.melody`), within half a semitone.

    Counted over the reference's voiced frames; the estimate's voicing plays no part, its pitch
    does. (None, None) if the reference is voiced for less than MIN_VOICED_S.
    """
    import mir_eval.melody

    times_s, asked = reference.f0_times_s, signed_f0(reference)
    extracted = signed_f0(estimate)
    if len(times_s) < 2 or (asked > 0).mean() * reference.duration_s < MIN_VOICED_S:
        return None, None
    if len(extracted) < 2 or not (extracted != 0).any():
        return 0.0, 0.0
    with warnings.catch_warnings():
        # An estimate without voiced frames is a low score, nothing to warn of.
        warnings.filterwarnings("ignore", message=".*no voiced frames", module="mir_eval")
        series = mir_eval.melody.to_cent_voicing(times_s, asked, estimate.f0_times_s, extracted)
        pitch = mir_eval.melody.raw_pitch_accuracy(*series)
        chroma = mir_eval.melody.raw_chroma_accuracy(*series)
    return float(pitch), float(chroma)


def signed_f0(extracted: Extracted) -> np.ndarray:
    """F0 in Hz, negative where unvoiced (mir_eval's way to say "if voiced, then this"), (T,)."""
    return np.where(extracted.confidence >= VOICED_CONFIDENCE, extracted.f0_hz, -np.abs(extracted.f0_hz))


def chroma_cosine(reference: np.ndarray, estimate: np.ndarray) -> float | None:
    """Mean cosine of one-hot chroma frames, as JASCO (arXiv 2406.10970) reports it.

    The cosine of two one-hot vectors is 1 where the same bin is set and 0 elsewhere. Frames that
    are silent in the reference are left out; None if all are.
    """
    sounding = reference != SILENT
    if not sounding.any():
        return None
    extracted = np.full_like(reference, SILENT)
    extracted[: len(estimate)] = estimate[: len(reference)]
    return float((extracted == reference)[sounding].mean())


CHORD_OVERLAP = Metric(
    "chords", "chords, overlap (maj/min)", lambda asked, got: chord_overlap(asked.chords, got.chords)
)
CHORD_IOU = Metric("chords", "chords, IoU", lambda asked, got: chord_iou(asked.chords, got.chords))
DRUM_ONSET_F1 = Metric(
    "drums", "drums, onset F1 (50 ms)", lambda asked, got: drum_onset_f1(asked.onsets_s, got.onsets_s)
)
MELODY_CHROMA_COSINE = Metric(
    "melody", "melody, one-hot chroma cosine", lambda asked, got: chroma_cosine(asked.chroma, got.chroma)
)
MELODY_RAW_PITCH = Metric(
    "melody", "melody, raw pitch accuracy", lambda asked, got: melody_accuracy(asked, got)[0]
)
MELODY_RAW_CHROMA = Metric(
    "melody", "melody, raw chroma accuracy", lambda asked, got: melody_accuracy(asked, got)[1]
)

METRICS: Registry[Metric] = Registry(
    "metrics",
    "metric",
    {
        "chord_overlap": "flowmusic.evaluation.adherence:CHORD_OVERLAP",
        "chord_iou": "flowmusic.evaluation.adherence:CHORD_IOU",
        "drum_onset_f1": "flowmusic.evaluation.adherence:DRUM_ONSET_F1",
        "melody_chroma_cosine": "flowmusic.evaluation.adherence:MELODY_CHROMA_COSINE",
        "melody_raw_pitch": "flowmusic.evaluation.adherence:MELODY_RAW_PITCH",
        "melody_raw_chroma": "flowmusic.evaluation.adherence:MELODY_RAW_CHROMA",
    },
)
