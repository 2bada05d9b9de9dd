"""Codebooks of a language model: residual k-means on the latents of prepared music, or the codec's own.

    python -m flowmusic.training.latent_tokens DATA --out tokens.safetensors
    python -m flowmusic.training.latent_tokens DATA --out tokens.safetensors --from-codec

With --from-codec the tokens are those of the codec's own quantiser (EnCodec's, arXiv 2210.13438). Otherwise
it is plain k-means, one codebook after the other, on frames drawn from all songs of the training split, in
which each channel counts by `importance`. The error that is left after each codebook, on frames of the
validation split, is printed.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import torch
from sklearn.cluster import MiniBatchKMeans
from torch import Tensor

from flowmusic.arguments import whole_number
from flowmusic.codec.build import AnyCodec
from flowmusic.codec.files import read_codec
from flowmusic.codec.spectral import SpectralCodec
from flowmusic.data.shards import CODEC_FOLDER, ShardReader, read_listing, shard_files
from flowmusic.weights import save_tensors

N_FRAMES = 300_000
_BATCH = 8192


def sampled_frames(folder: Path, split: str, n_frames: int, seed: int = 0) -> Tensor:
    """Latent frames (n, D) of all songs of a split alike, at most `n_frames`; ValueError where there are
    none.
    """
    places = [(path, song) for path in shard_files(folder, split) for song in read_listing(path)]
    if not places:
        raise ValueError(f"{folder / split} holds no prepared music: run flowmusic prepare")
    share = min(1.0, n_frames / sum(song.n_frames for _, song in places))
    generator = torch.Generator().manual_seed(seed)
    reader, frames = ShardReader(), []
    for path, song in places:
        kept = torch.rand(song.n_frames, generator=generator) < share
        frames.append(reader.song(path, song.key)["latents"][:].float()[kept])
    return torch.cat(frames)


def importance(codec: AnyCodec) -> Tensor:
    """How much each channel (D,) of a codec's latents counts: by how much of the sound it changes.

    The bundled codec's latents are principal components that were scaled to unit variance: each counts by its
    standard deviation before that. Latents of other codecs count alike.
    """
    if not isinstance(codec, SpectralCodec):
        return torch.ones(codec.latent_dim)
    scales = [codec.scale] if codec.image is None else [codec.scale, codec.image.scale]
    return torch.cat(scales).clone()


def image_channels(codec: AnyCodec) -> int:
    """How many of the last channels of a codec's latents are the stereo image."""
    if not isinstance(codec, SpectralCodec) or codec.image is None:
        return 0
    return len(codec.image.scale)


def fit_codebooks(frames: Tensor, n_codebooks: int, codes: int, seed: int = 0) -> Tensor:
    """Residual codebooks (K, codes, N) of frames (n, N)."""
    residual = frames.numpy().astype(np.float32)
    codebooks = []
    for index in range(n_codebooks):
        fitted = MiniBatchKMeans(
            codes,
            batch_size=_BATCH,
            n_init=1,
            max_iter=30,
            random_state=seed + index,
            reassignment_ratio=0.005,
        ).fit(residual)
        centres = fitted.cluster_centers_.astype(np.float32)
        residual = residual - centres[fitted.predict(residual)]
        codebooks.append(centres)
    return torch.from_numpy(np.stack(codebooks))


def errors_left(frames: Tensor, codebooks: Tensor) -> list[float]:
    """The share of the variance of frames (n, N) that is left after each of the codebooks."""
    residual, variance = frames, (frames - frames.mean(0)).square().sum()
    shares = []
    for codebook in codebooks:
        residual = residual - codebook[torch.cdist(residual, codebook).argmin(dim=1)]
        shares.append(float(residual.square().sum() / variance))
    return shares


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path, metavar="DATA", help="folder that flowmusic prepare wrote")
    parser.add_argument("--out", type=Path, required=True, help="file of the codebooks (.safetensors)")
    parser.add_argument(
        "--from-codec", action="store_true", help="take the codebooks of the codec's quantiser, fit none"
    )
    some = whole_number("a number", 1, 1 << 16)
    parser.add_argument(
        "--codebooks", type=some, help="codebooks of the sound (default 8; all of the codec's)"
    )
    parser.add_argument("--codes", type=some, help="codes of each (default 512; as many as the codec has)")
    parser.add_argument(
        "--image-dim",
        type=whole_number("channels", 0, 1 << 16),
        help="last channels: the stereo image (default: those of the codec)",
    )
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    codec = read_codec(options.data / CODEC_FOLDER)
    try:
        tensors = _of_codec(codec, options) if options.from_codec else _fitted(codec, options)
        held_out = sampled_frames(options.data, "valid", 20_000, options.seed) * tensors["weight"]
    except ValueError as error:
        parser.error(str(error))
    save_tensors(options.out, tensors, torch.float32)
    n_sound = tensors["sound"].shape[2]
    for name, part in (("sound", held_out[:, :n_sound]), ("image", held_out[:, n_sound:])):
        if not part.numel():
            continue
        left = ", ".join(f"{share:.3f}" for share in errors_left(part, tensors[name]))
        sys.stdout.write(f"{name}: variance left after each codebook {left}\n")
    return 0


def _fitted(codec: AnyCodec, options: argparse.Namespace) -> dict[str, Tensor]:
    """The tensors of `LatentTokens`, by k-means on the training split."""
    weight, n_codebooks, codes = importance(codec), options.codebooks or 8, options.codes or 512
    frames = sampled_frames(options.data, "train", N_FRAMES, options.seed) * weight
    image_dim = image_channels(codec) if options.image_dim is None else options.image_dim
    if not 0 <= image_dim < codec.latent_dim:
        raise ValueError(f"--image-dim must be from 0 to less than {codec.latent_dim}, got {image_dim}")
    n_sound = codec.latent_dim - image_dim
    image = torch.zeros(0, codes, 0)
    if image_dim:
        image = fit_codebooks(frames[:, n_sound:], 1, codes, options.seed)
    sound = fit_codebooks(frames[:, :n_sound], n_codebooks, codes, options.seed)
    return {"weight": weight, "sound": sound, "image": image}


def _of_codec(codec: AnyCodec, options: argparse.Namespace) -> dict[str, Tensor]:
    """The tensors of `LatentTokens`, by the codec's own quantiser.

    Raises:
        ValueError: a codec without one, or other codebooks than it has.
    """
    sound = codec.codebooks()
    n_codebooks, n_codes = options.codebooks or len(sound), options.codes or sound.shape[1]
    if n_codebooks > len(sound) or n_codes != sound.shape[1] or options.image_dim:
        raise ValueError(
            f"the codec has {len(sound)} codebooks of {sound.shape[1]} codes and no stereo image, got "
            f"--codebooks {n_codebooks} --codes {n_codes} --image-dim {options.image_dim or 0}"
        )
    image = sound.new_zeros(0, n_codes, 0)
    return {"weight": torch.ones(codec.latent_dim), "sound": sound[:n_codebooks].clone(), "image": image}


if __name__ == "__main__":
    sys.exit(main())
