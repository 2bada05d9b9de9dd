"""What stands between the codec and its original: figures with parts of the true magnitudes put back.

    python benchmarks/codec_residue.py --fit corpus/valid recordings/train --test corpus/test --n 12

Rows: the codec as it is; with what the decoder misses (true less predicted log magnitudes of a frame) put
back as so many more principal components, fitted on --fit; with the true magnitudes of a band, or of both.
The last row still has the phases that are found without training.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from flowmusic.api.pretrained import load_pretrained
from flowmusic.codec.spectral import SpectralCodec
from flowmusic.evaluation.codec_quality import CodecQuality, average, compare
from flowmusic.evaluation.references import find_references, load_clip
from flowmusic.evaluation.report import markdown_table

COMPONENTS = ((0, 16), (0, 32), (0, 64), (0, 128), (1, 128))
"""Band (0: the low one), and how many."""
OF_STEREO = ("level_difference_error_db", "coherence_error")
COLUMNS = [f.name for f in fields(CodecQuality) if f.name not in ("decode_real_time_factor", *OF_STEREO)]


@dataclass(frozen=True)
class Levels:
    """Of one clip: sound (1, S), predicted and true magnitudes of the two bands, latent frames T."""

    sound: Tensor
    n_frames: int
    predicted: list[Tensor]
    true: list[Tensor]

    def residue(self, band: int) -> Tensor:
        """(T, N) of a latent frame."""
        return (self.true[band] - self.predicted[band]).reshape(self.n_frames, -1)


@torch.inference_mode()
def levels_of(paths: Sequence[Path], n: int, codec: SpectralCodec, what: str) -> list[Levels]:
    found = []
    for reference in tqdm(find_references(paths, n), desc=what):
        samples = load_clip(reference, 10.0, allow_shorter=True).audio.resampled(codec.sample_rate).mono()
        sound = torch.from_numpy(np.ascontiguousarray(samples))[None]
        sound = sound[:, : sound.shape[1] // codec.config.hop * codec.config.hop]
        latents = codec.encode(sound[:, None])
        predicted = codec.predict(codec.decoder, latents)
        found.append(Levels(sound, latents.shape[1], predicted, codec.log_magnitudes(sound)))
    return found


def components(clips: Sequence[Levels], band: int) -> Tensor:
    """Principal components of what is missed in a band, (N, N), the most important one last."""
    residue = torch.cat([clip.residue(band) for clip in clips])
    return torch.linalg.eigh(residue.T @ residue / len(residue)).eigenvectors


def with_components(clip: Levels, band: int, basis: Tensor) -> list[Tensor]:
    back = clip.residue(band) @ basis @ basis.T
    levels = list(clip.predicted)
    levels[band] = levels[band] + back.reshape(levels[band].shape)
    return levels


@torch.inference_mode()
def main() -> None:
    parser = argparse.ArgumentParser(description="What the codec misses, by parts.")
    parser.add_argument("--fit", nargs="+", type=Path, required=True)
    parser.add_argument("--test", nargs="+", type=Path, required=True)
    parser.add_argument("--n-fit", type=int, default=80)
    parser.add_argument("--n", type=int, default=12)
    options = parser.parse_args()
    codec = load_pretrained(None).codec
    assert isinstance(codec, SpectralCodec)
    fit = levels_of(options.fit, options.n_fit, codec, "fitting")
    bases = [components(fit, band) for band in (0, 1)]
    qualities: dict[str, list[CodecQuality]] = {}
    for clip in tqdm(levels_of(options.test, options.n, codec, "encoding"), desc="decoding"):
        ways = {"as it is": clip.predicted}
        for band, k in COMPONENTS:
            name = f"+ {k} components, {('low', 'high')[band]}"
            ways[name] = with_components(clip, band, bases[band][:, -k:])
        ways |= {"true low band": [clip.true[0], clip.predicted[1]]}
        ways |= {"true high band": [clip.predicted[0], clip.true[1]], "both true": clip.true}
        for name, levels in ways.items():
            decoded = codec.synthesise(levels, clip.sound.shape[1])[0].numpy()
            quality = compare(clip.sound[0].numpy(), decoded, codec.sample_rate)
            qualities.setdefault(name, []).append(quality)
    rows: list[list[str | float | None]] = []
    for name, found in qualities.items():
        means = average(found)
        rows.append([name, *(getattr(means, column) for column in COLUMNS)])
    sys.stdout.write(markdown_table(["magnitudes", *COLUMNS], rows) + "\n")


if __name__ == "__main__":
    main()
