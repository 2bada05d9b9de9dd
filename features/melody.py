"""Melody: sound -> salience of the semitones in a pitch range, frame by frame (CREPE)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from features.audio import AudioError, AudioSource, to_audio
from features.channels import N_PITCHES, PITCH_LOW_MIDI
from features.crepe import CENTS_PER_BIN, FIRST_BIN_CENTS, N_BINS, SAMPLE_RATE, WINDOW, load_crepe
from features.filters import gaussian_blur
from features.frames import CONTROL_FRAME_RATE, FrameGrid

MELODY_BLUR_S = 0.02
SILENCE_DBFS = -80.0
_GATE_CLOSED_DB, _GATE_OPEN_DB = -55.0, -45.0
_CENTS_OF_MIDI_0 = 1200.0 * math.log2(440.0 / 10.0) - 6900.0
_HALF_WIDTH = 4
_DEVICE_BATCH = 2048
"""Windows of CREPE in a batch on a GPU."""


@dataclass(frozen=True)
class MelodyFeatures:
    """Melody on the control grid (50 frames a second).

    Shape:
        salience   (T, 53) float32 in [0, 1], semitones from MIDI 43 (G2) to 95 (B6)
        f0_hz      (T,)    frequency of the most salient pitch in that range; 0 where all is silent
        confidence (T,)    its salience, in [0, 1]
    """

    salience: Tensor
    f0_hz: np.ndarray
    confidence: np.ndarray


class MelodyExtractor(Protocol):
    """Anything that extracts pitches: CREPE, basic-pitch."""

    @property
    def version(self) -> str:
        """Name, version and settings, for the cache key."""

    def extract(self, source: AudioSource) -> MelodyFeatures:
        """Extract the melody of a recording of any length and rate. Raises AudioError for unusable sound."""


def midi_of_bins() -> Tensor:
    """Return the MIDI pitches (fractional) of CREPE's 360 bins, shape (360,)."""
    cents = FIRST_BIN_CENTS + CENTS_PER_BIN * torch.arange(N_BINS, dtype=torch.float64)
    return (cents - _CENTS_OF_MIDI_0) / 100.0


def pool_semitones(salience: Tensor) -> Tensor:
    """Take the largest salience of the bins nearest each semitone of the range: (T, 360) -> (T, 53).

    Bins of other pitches are dropped, which is the band-pass to the pitch range.
    """
    nearest = torch.floor(midi_of_bins() + 0.5).long() - PITCH_LOW_MIDI  # (360,)
    inside = (nearest >= 0) & (nearest < N_PITCHES)
    index = nearest[inside].expand(salience.shape[0], -1)  # (T, M)
    return salience.new_zeros(salience.shape[0], N_PITCHES).scatter_reduce(
        1, index, salience[:, inside], "amax"
    )


def decode_f0(salience: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Find the most salient pitch of (T, 360) in the range: f0_hz (T,) and confidence (T,).

    As in the CREPE paper, the mean of the cents around the largest bin, weighted by salience (±4 bins).
    """
    midi = midi_of_bins()
    outside = (midi < PITCH_LOW_MIDI - 0.5) | (midi >= PITCH_LOW_MIDI + N_PITCHES - 0.5)
    confidence, peak = salience.masked_fill(outside, -1.0).max(dim=1)  # (T,)
    around = peak[:, None] + torch.arange(-_HALF_WIDTH, _HALF_WIDTH + 1)  # (T, 9)
    weights = salience.double().gather(1, around.clamp(0, N_BINS - 1))
    weights = weights * ((around >= 0) & (around < N_BINS))
    cents = FIRST_BIN_CENTS + CENTS_PER_BIN * around
    total = weights.sum(1)
    f0_hz = 10.0 * 2.0 ** ((weights * cents).sum(1) / total.clamp_min(1e-12) / 1200.0)
    return torch.where(total > 0, f0_hz, 0.0).numpy(), confidence.clamp_min(0).numpy()


def silence_gate(level: Tensor) -> Tensor:
    """Return a gain in [0, 1] for each frame by its RMS level (T,): 0 where there is only noise.

    A network that sees every window at the same loudness finds pitches in dither and in the last
    traces of reverberation. The gate opens between 55 and 45 dB below the loudest frame, so it does
    not depend on the recording's level, but stays shut below -80 dBFS.
    """
    level_db = 20.0 * torch.log10(level.clamp_min(1e-10))
    relative_db = level_db - level_db.max()
    gain = (relative_db - _GATE_CLOSED_DB) / (_GATE_OPEN_DB - _GATE_CLOSED_DB)
    return gain.clamp(0.0, 1.0) * (level_db > SILENCE_DBFS)


class CrepeMelody:
    """CREPE salience on the control grid: a window of 64 ms around the middle of each 20 ms frame.

    Args:
        capacity: "tiny" (default) or "full".
        blur_s: standard deviation of the temporal blur of the salience.
        dtype: bfloat16 doubles the speed (salience within 0.01); float32 takes its place, with a warning,
            where the CPU lacks it or computes wrongly in it.
    """

    def __init__(
        self, capacity: str = "tiny", blur_s: float = MELODY_BLUR_S, dtype: torch.dtype = torch.float32
    ) -> None:
        self.network = load_crepe(capacity, dtype)
        self.blur_s = blur_s
        self.version = f"crepe-{capacity}-1-blur{blur_s:g}-{self.network.dtype_name}"
        # Few enough windows that the widest layer's output stays in the processor's cache.
        self._batch = 64 if capacity == "tiny" else 32
        self._device = torch.device("cpu")

    def to(self, device: torch.device) -> None:
        """Move the network to a device, to compute many windows at once there."""
        self.network.to(device)
        self._device = device
        if device.type != "cpu":
            self._batch = _DEVICE_BATCH

    @torch.inference_mode()
    def bins(self, source: AudioSource) -> Tensor:
        """Return the salience of CREPE's own 360 bins, gated by level: (T, 360)."""
        audio = to_audio(source)
        if audio.n_samples == 0:
            raise AudioError("the recording holds no samples; expected sound")
        audio = audio.resampled(SAMPLE_RATE)
        n_frames = FrameGrid.from_duration(audio.duration_s).n_frames
        hop = FrameGrid(CONTROL_FRAME_RATE, n_frames).hop_samples(SAMPLE_RATE)
        before = WINDOW // 2 - hop // 2  # the window's middle falls on the frame's
        samples = torch.from_numpy(audio.mono()).to(self._device)
        after = max(0, n_frames * hop + WINDOW - samples.numel())
        windows = functional.pad(samples, (before, after)).unfold(0, WINDOW, hop)[:n_frames]  # (T, 1024)
        salience = torch.cat([self.network(piece) for piece in windows.split(self._batch)])
        level = torch.cat([piece.square().mean(1).sqrt() for piece in windows.split(1024)])
        return (salience * silence_gate(level)[:, None]).cpu()

    def extract(self, source: AudioSource) -> MelodyFeatures:
        """Extract salience, F0 and confidence of a recording (mono or not, any rate).

        Raises:
            AudioError: the sound cannot be read, is empty, or holds NaN.
        """
        bins = self.bins(source).clone()
        f0_hz, confidence = decode_f0(bins)
        salience = gaussian_blur(pool_semitones(bins), self.blur_s, CONTROL_FRAME_RATE)
        return MelodyFeatures(salience, f0_hz, confidence)
