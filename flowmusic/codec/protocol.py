"""What every codec offers."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from torch import Tensor


@runtime_checkable
class Codec(Protocol):
    """Sound <-> continuous latents of roughly zero mean and unit variance.

    Attributes:
        sample_rate: samples per second of what goes in and comes out, in Hz.
        frame_rate: latent frames per second, in Hz.
        latent_dim: D, numbers per latent frame.
    """

    sample_rate: int
    frame_rate: float
    latent_dim: int

    def encode(self, audio: Tensor) -> Tensor:
        """(B, 1, S) sound -> (B, T, D) latents, T = ceil(S * frame_rate / sample_rate)."""
        ...

    def decode(self, latents: Tensor) -> Tensor:
        """(B, T, D) latents -> (B, 1, T * sample_rate / frame_rate) sound."""
        ...
