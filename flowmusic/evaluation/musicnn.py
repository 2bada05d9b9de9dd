"""musicnn: an embedding of music that no part of flowmusic was trained with.

Pons and Serra, "musicnn: Pre-trained convolutional neural networks for music audio tagging" (ISMIR 2019,
late-breaking). The module is ours and holds the published weights (ISC licence) of the model that was
trained on MagnaTagATune; `tools/convert_musicnn.py` reads them from the wheel of 2019.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from features.audio import Audio
from flowmusic.weights import read_weights

SAMPLE_RATE = 16_000
N_FFT, HOP, N_MELS = 512, 256, 96
PATCH_FRAMES = 187
"""Three seconds, as in its training."""
PATCH_HOP = 93
EMBEDDING_DIM = 200
VERSION = "musicnn-mtt.penultimate.1"
MIN_DURATION_S = 0.5
_WEIGHTS = Path(__file__).parents[1] / "assets" / "musicnn" / "mtt.safetensors"
_SMALLEST_PEAK = 1e-4

TAGS = (
    "guitar", "classical", "slow", "techno", "strings", "drums", "electronic", "rock", "fast", "piano",
    "ambient", "beat", "violin", "vocal", "synth", "female", "indian", "opera", "male", "singing", "vocals",
    "no vocals", "harpsichord", "loud", "quiet", "flute", "woman", "male vocal", "no vocal", "pop", "soft",
    "sitar", "solo", "man", "classic", "choir", "voice", "new age", "dance", "male voice", "female vocal",
    "beats", "harp", "cello", "no voice", "weird", "country", "metal", "female voice", "choral",
)  # fmt: skip
"""What the 50 outputs stand for, in order."""


class _Affine(nn.Module):
    """Batch normalisation of a trained network: a scale and a shift for each entry of one axis."""

    def __init__(self, channels: int, axis: int = 1) -> None:
        super().__init__()
        self.axis = axis
        self.scale = nn.Parameter(torch.ones(channels))
        self.shift = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        shape = [1] * x.ndim
        shape[self.axis] = -1
        return x * self.scale.view(shape) + self.shift.view(shape)


class _Band(nn.Module):
    """Patches (B, 1, T, F) -> (B, C, T): convolution, ReLU, normalisation, the maximum over frequency.

    Padded over time only, the odd frame behind, as TensorFlow does.
    """

    def __init__(self, channels: int, kernel: tuple[int, int]) -> None:
        super().__init__()
        self.padding = (0, 0, (kernel[0] - 1) // 2, kernel[0] // 2)
        self.conv = nn.Conv2d(1, channels, kernel)
        self.norm = _Affine(channels)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(functional.relu(self.conv(functional.pad(x, self.padding))))  # (B, C, T, F')
        pooled: Tensor = y.amax(dim=3)
        return pooled


class _Mid(nn.Module):
    """(B, C, T) -> (B, 64, T)."""

    def __init__(self, inputs: int, channels: int = 64) -> None:
        super().__init__()
        self.conv = nn.Conv1d(inputs, channels, 7, padding=3)
        self.norm = _Affine(channels)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.norm(functional.relu(self.conv(x)))
        return y


class Musicnn(nn.Module):
    """Log-mel patches (B, T, 96) -> embeddings (B, 200), the *penultimate* layer, and tag logits (B, 50)."""

    def __init__(self) -> None:
        super().__init__()
        self.input_norm = _Affine(1)
        self.timbral = nn.ModuleList((_Band(204, (7, 38)), _Band(204, (7, 67))))
        self.temporal = nn.ModuleList(_Band(51, (length, 1)) for length in (128, 64, 32))
        self.mid = nn.ModuleList((_Mid(561), _Mid(64), _Mid(64)))
        self.pooled_norm = _Affine(1506)
        self.penultimate = nn.Linear(1506, EMBEDDING_DIM)
        self.penultimate_norm = _Affine(EMBEDDING_DIM)
        self.tags = nn.Linear(EMBEDDING_DIM, len(TAGS))
        self.requires_grad_(False)

    def forward(self, patches: Tensor) -> tuple[Tensor, Tensor]:
        x = self.input_norm(patches.unsqueeze(1))  # (B, 1, T, 96)
        front = torch.cat([band(x) for band in (*self.timbral, *self.temporal)], dim=1)  # (B, 561, T)
        first = self.mid[0](front)
        second = self.mid[1](first) + first
        third = self.mid[2](second) + second
        y = torch.cat((front, first, second, third), dim=1)  # (B, 753, T)
        pooled = torch.stack((y.amax(dim=2), y.mean(dim=2)), dim=2).flatten(1)  # (B, 1506)
        embedding = self.penultimate_norm(functional.relu(self.penultimate(self.pooled_norm(pooled))))
        return embedding, self.tags(embedding)


def load_musicnn() -> Musicnn:
    """The network with its published weights, in float32, ready for inference."""
    network = Musicnn()
    network.load_state_dict(read_weights(_WEIGHTS))
    return network.eval()


def log_mel(audio: Audio) -> np.ndarray:
    """Frames (T, 96) as musicnn takes them: log10(1 + 10000 mel power), 16 kHz, window 512, hop 256.

    In float32; the wheel rounds the powers to float16, which overflows where music is loud.
    """
    import librosa.feature

    samples = audio.resampled(SAMPLE_RATE).mono()
    mel = librosa.feature.melspectrogram(
        y=samples, sr=SAMPLE_RATE, n_fft=N_FFT, hop_length=HOP, n_mels=N_MELS
    )  # (96, T)
    return np.log10(1 + 10_000 * mel.T).astype(np.float32)


def patches(frames: np.ndarray, hop: int = PATCH_HOP) -> np.ndarray:
    """Patches (N, 187, 96) of frames (T, 96), `hop` frames apart; too few frames are repeated."""
    if len(frames) < PATCH_FRAMES:
        return np.resize(frames, (1, PATCH_FRAMES, N_MELS))
    starts = range(0, len(frames) - PATCH_FRAMES + 1, hop)
    return np.stack([frames[start : start + PATCH_FRAMES] for start in starts])


@torch.inference_mode()
def embed(
    network: Musicnn, audio: Audio, hop: int = PATCH_HOP, batch_size: int = 16
) -> tuple[np.ndarray, np.ndarray]:
    """Embeddings (N, 200) and tag probabilities (N, 50) of the 3 s patches of a recording.

    Raises:
        ValueError: sound that is too short or silent: its embedding would say nothing.
    """
    if audio.duration_s < MIN_DURATION_S or float(np.abs(audio.samples).max(initial=0.0)) < _SMALLEST_PEAK:
        raise ValueError(
            f"musicnn needs an audible sound of at least {MIN_DURATION_S:g} s, got {audio.duration_s:.2f} s "
            f"with a peak of {float(np.abs(audio.samples).max(initial=0.0)):.1e}"
        )
    batches = torch.from_numpy(patches(log_mel(audio), hop)).split(batch_size)
    results = [network(batch) for batch in batches]
    embeddings = torch.cat([embedding for embedding, _ in results])
    probabilities = torch.cat([torch.sigmoid(logits) for _, logits in results])
    return embeddings.numpy(), probabilities.numpy()


def top_tags(probabilities: np.ndarray, n: int = 5) -> Sequence[str]:
    """The `n` most likely tags of (N, 50) probabilities, averaged over the patches."""
    order = np.argsort(-probabilities.mean(axis=0))
    return [TAGS[index] for index in order[:n]]
