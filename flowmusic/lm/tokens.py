"""Latents as tokens: residual codebooks of the sound, and one of the stereo image."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from flowmusic.lm.config import LmConfig


class LatentTokens(nn.Module):
    """Codes of latents and back (residual vector quantisation, SoundStream, arXiv 2107.03312, §III-C).

    The codebooks are fitted beforehand (`flowmusic.training.latent_tokens`) and never trained: they are
    buffers. `weight` is how much each channel counts: codebooks hold the channels multiplied by it.

    Shape: latents (..., D) <-> codes (..., K) whole numbers from 0 to `codes`
    """

    sound: Tensor
    image: Tensor
    weight: Tensor

    def __init__(self, config: LmConfig) -> None:
        super().__init__()
        self.sound_dim, self.image_dim = config.sound_dim, config.image_dim
        self.register_buffer("weight", torch.ones(config.latent_dim))
        self.register_buffer("sound", torch.zeros(config.codebooks, config.codes, config.sound_dim))
        self.register_buffer(
            "image", torch.zeros(1 if config.image_dim else 0, config.codes, config.image_dim)
        )

    @torch.no_grad()
    def encode(self, latents: Tensor) -> Tensor:
        """The codes (..., K) of latents (..., D), of the sound first."""
        flat = latents.reshape(-1, latents.shape[-1]).float() * self.weight
        sound, image = flat.split((self.sound_dim, self.image_dim), dim=-1)
        codes = torch.cat([nearest_codes(sound, self.sound), nearest_codes(image, self.image)], dim=-1)
        return codes.reshape(*latents.shape[:-1], codes.shape[-1])

    def decode(self, codes: Tensor, n_codebooks: int | None = None) -> Tensor:
        """Latents (..., D) of codes (..., K); of the sound by its first `n_codebooks` alone, where given."""
        n = len(self.sound) if n_codebooks is None else n_codebooks
        sound = sum_of_codes(codes[..., :n], self.sound)
        image = sum_of_codes(codes[..., len(self.sound) :], self.image)
        return torch.cat([sound, image], dim=-1) / self.weight


def nearest_codes(vectors: Tensor, codebooks: Tensor) -> Tensor:
    """(V, N) -> (V, K): in each codebook of (K, codes, N) the code nearest to what those before it left."""
    chosen, residual = [], vectors
    for codebook in codebooks:
        index = torch.cdist(residual, codebook).argmin(dim=1)
        residual = residual - codebook[index]
        chosen.append(index)
    return torch.stack(chosen, dim=1) if chosen else vectors.new_zeros(len(vectors), 0, dtype=torch.long)


def sum_of_codes(codes: Tensor, codebooks: Tensor) -> Tensor:
    """The vectors (..., N) that codes (..., K) of the codebooks (K, codes, N) sum up to."""
    total = codebooks.new_zeros(*codes.shape[:-1], codebooks.shape[-1])
    for index in range(codes.shape[-1]):
        total = total + codebooks[index][codes[..., index]]
    return total
