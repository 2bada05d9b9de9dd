"""Chords as players write them, for plots: from Harte labels, and read back from control channels."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from features.chord_labels import NO_CHORD_CHANNEL, parse_chord
from features.controls import Controls

PITCH_NAMES = ("C", "C♯", "D", "E♭", "E", "F", "F♯", "G", "A♭", "A", "B♭", "B")
_QUALITY_NAMES = {
    "maj": "",
    "min": "m",
    "maj7": "maj7",
    "min7": "m7",
    "7": "7",
    "dim": "°",
    "aug": "+",
    "hdim7": "ø",
}
SHORTEST_SPAN_S = 0.1


def chord_spans(controls: Controls) -> list[tuple[float, float, str]]:
    """Read (start_s, end_s, name) of the chords that a control holds back from its channels.

    The root is the strongest root channel; the third decides between major and minor. Frames
    without any, and spans shorter than 0.1 s, have the name "".
    """
    if controls.chords is None:
        return []
    values = controls.chords.numpy()  # (T, 37)
    names = [_frame_chord(frame) for frame in values]
    edges = [0, *(i for i in range(1, len(names)) if names[i] != names[i - 1]), len(names)]
    rate = controls.frame_rate
    spans = [(a / rate, b / rate, names[a]) for a, b in pairwise(edges) if b > a]
    return [span for span in spans if span[1] - span[0] >= SHORTEST_SPAN_S]


def _frame_chord(frame: np.ndarray) -> str:
    if frame[NO_CHORD_CHANNEL] > 0.5:
        return "N.C."
    if frame[:12].max() < 0.3:
        return ""
    root = int(frame[:12].argmax())
    sounding = frame[24:36]
    minor = sounding[(root + 3) % 12] > sounding[(root + 4) % 12]
    return PITCH_NAMES[root] + ("m" if minor else "")


def chord_name(label: str) -> str:
    """Write a Harte label as players do: A:min7/b3 -> Am7/C."""
    if label in ("N", "X"):
        return {"N": "N.C.", "X": "?"}[label]
    chord = parse_chord(label)
    root, _, quality = chord.label.partition(":")
    name = quality.partition("/")[0]
    text = (root + _QUALITY_NAMES.get(name, name)).replace("b", "♭").replace("#", "♯")
    if chord.bass is None or chord.bass == chord.root:
        return text
    return f"{text}/{PITCH_NAMES[chord.bass]}"
