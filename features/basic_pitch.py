"""Several melodies at once: basic-pitch's multi-F0 network behind the interface of `features.melody`.

Bittner, Bosch, Rubinstein, Meseguer-Brocal and Ewert, "A Lightweight Instrument-Agnostic Model for
Polyphonic Note Transcription and Multipitch Estimation" (ICASSP 2022). The network (Apache-2.0) is
read from the installed basic-pitch wheel as ONNX; the package's code is not imported.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from features.audio import AudioError, AudioSource, to_audio
from features.channels import N_PITCHES, PITCH_LOW_MIDI
from features.filters import gaussian_blur
from features.frames import CONTROL_FRAME_RATE, FrameGrid
from features.melody import MELODY_BLUR_S, SILENCE_DBFS, MelodyFeatures
from features.regrid import onto_grid

SAMPLE_RATE = 22_050
HOP = 256
WINDOW = 43_844
CONTOURS_PER_SEMITONE, LOWEST_MIDI = 3, 21
_MARGIN = 15
"""Frames dropped at both ends of a window, where the network lacks context."""

_STEP = 142
"""Frames kept of a window's 172."""

_MODEL_FILE = Path("saved_models") / "icassp_2022" / "nmp.onnx"
_CONTOUR_OUTPUT = "StatefulPartitionedCall:0"


def basic_pitch_model() -> Path:
    """Find the ONNX file of the installed basic-pitch, without importing it.

    Raises:
        ValueError: basic-pitch is not installed, or lacks that file.
    """
    spec = importlib.util.find_spec("basic_pitch")
    for folder in list(spec.submodule_search_locations or []) if spec else []:
        if (path := Path(folder) / _MODEL_FILE).is_file():
            return path
    raise ValueError(
        "basic-pitch is not installed: pip install onnxruntime; pip install --no-deps basic-pitch"
    )


class BasicPitchMelody:
    """Salience of every pitch that sounds, by basic-pitch's contours (three bins a semitone).

    Args:
        blur_s: standard deviation of the temporal blur of the salience.
    """

    def __init__(self, blur_s: float = MELODY_BLUR_S) -> None:
        try:
            import onnxruntime
        except ImportError as error:
            raise ValueError(f"basic-pitch needs onnxruntime: pip install onnxruntime ({error})") from error
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 3
        model = str(basic_pitch_model())
        self.session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        self.blur_s = blur_s
        self.version = f"basic-pitch-1-blur{blur_s:g}"

    def contours(self, samples: np.ndarray) -> Tensor:
        """Return the contour posteriors of (S,) at 22.05 kHz, (N, 264): frame i is at i * 256 / 22050 s."""
        n_frames = 1 + samples.size // HOP
        n_windows = -(-n_frames // _STEP)
        length = (n_windows - 1) * _STEP * HOP + WINDOW
        padded = np.pad(samples, (_MARGIN * HOP, max(0, length - samples.size)))
        pieces = []
        for i in range(n_windows):
            window = padded[i * _STEP * HOP :][:WINDOW].reshape(1, WINDOW, 1)
            feed = {self.session.get_inputs()[0].name: window}
            pieces.append(self.session.run([_CONTOUR_OUTPUT], feed)[0][0, _MARGIN : _MARGIN + _STEP])
        return torch.from_numpy(np.concatenate(pieces)[:n_frames])

    def extract(self, source: AudioSource) -> MelodyFeatures:
        """Extract the salience of all pitches, and F0 and confidence of the most salient.

        Raises:
            AudioError: the sound cannot be read, is empty, or holds NaN.
        """
        audio = to_audio(source)
        if audio.n_samples == 0:
            raise AudioError("the recording holds no samples; expected sound")
        grid = FrameGrid.from_duration(audio.duration_s)
        samples = audio.resampled(SAMPLE_RATE).mono()
        contours = self.contours(samples)
        if 20.0 * np.log10(np.abs(samples).max() + 1e-10) < SILENCE_DBFS:
            contours = torch.zeros_like(contours)
        values = onto_grid(contours, np.arange(contours.shape[0]) * (HOP / SAMPLE_RATE), grid)
        bins, midi = _bins_in_range(values)
        salience = bins.unflatten(1, (N_PITCHES, CONTOURS_PER_SEMITONE)).amax(2)  # (T, 53)
        f0_hz, confidence = _strongest(bins, midi)
        return MelodyFeatures(gaussian_blur(salience, self.blur_s, CONTROL_FRAME_RATE), f0_hz, confidence)


def _bins_in_range(contours: Tensor) -> tuple[Tensor, Tensor]:
    """Take the three bins of each semitone of the range, (T, 159), and their MIDI pitches (fractional)."""
    first = CONTOURS_PER_SEMITONE * (PITCH_LOW_MIDI - LOWEST_MIDI)
    index = first + torch.arange(CONTOURS_PER_SEMITONE * N_PITCHES)
    # The middle one of a semitone's three bins is in tune.
    return contours[:, index], LOWEST_MIDI + (index.double() - 1.0) / CONTOURS_PER_SEMITONE


def _strongest(bins: Tensor, midi: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Return F0 in Hz of the largest bin, refined by its neighbours, and its posterior; each (T,)."""
    confidence, peak = bins.max(dim=1)
    around = (peak[:, None] + torch.arange(-1, 2)).clamp(0, bins.shape[1] - 1)  # (T, 3)
    weights = bins.double().gather(1, around)
    total = weights.sum(1)
    pitch = (weights * midi[around]).sum(1) / total.clamp_min(1e-12)
    f0_hz = 440.0 * 2.0 ** ((pitch - 69.0) / 12.0)
    return torch.where(total > 0, f0_hz, 0.0).numpy(), confidence.numpy()
