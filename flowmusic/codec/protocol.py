"""What every codec offers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, Self, runtime_checkable

import torch
from torch import Tensor, nn

from features.audio import Audio


@runtime_checkable
class Codec(Protocol):
    """Sound <-> continuous latents of roughly zero mean and unit variance.

    Attributes:
        sample_rate: samples per second of what goes in and comes out, in Hz.
        frame_rate: latent frames per second, in Hz.
        latent_dim: D, numbers per latent frame.
        channels: C, 1 for mono and 2 for stereo.
    """

    sample_rate: int
    frame_rate: float
    latent_dim: int
    channels: int

    def encode(self, audio: Tensor) -> Tensor:
        """(B, C, S) sound -> (B, T, D) latents, T = ceil(S * frame_rate / sample_rate)."""
        ...

    def decode(self, latents: Tensor, generated: bool = False) -> Tensor:
        """(B, T, D) latents -> (B, C, T * sample_rate / frame_rate) sound.

        `generated`: they come out of a model, not of `encode`, and may not agree with themselves everywhere.
        """
        ...


class CodecConfig(Protocol):
    """The shape of a codec, as plain values."""

    def to_dict(self) -> dict[str, object]:
        """What `CodecModule.from_dict` reads: numbers, texts, lists and tables, with the codec's "kind"."""
        ...


class CodecModule(nn.Module):
    """A `Codec` with weights: it can be stored in a model's folder and built again by its kind.

    A kind of codec is a class of this type in `flowmusic.codec.build.CODECS`. What it computes with are
    parameters and buffers; `config` says all else.
    """

    config: CodecConfig
    sample_rate: int
    frame_rate: float
    latent_dim: int
    channels: int

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """A codec of the shape that `config.to_dict()` gave, weights yet to be read.

        Raises:
            ValueError: unknown settings, or ones that do not go together.
        """
        raise NotImplementedError

    @property
    def layers(self) -> nn.Module:
        """The layers that `compute_in` acts on; none, where a codec always computes in float32."""
        return nn.Identity()

    def compute_in(self, dtype: torch.dtype) -> None:
        """Make ready to decode with the weights of `layers` in `dtype`, as fast as they can."""

    def encode(self, audio: Tensor) -> Tensor:
        """(B, C, S) sound -> (B, T, D) latents, as `Codec.encode`."""
        raise NotImplementedError

    def decode(self, latents: Tensor, generated: bool = False) -> Tensor:
        """(B, T, D) latents -> (B, C, S) sound, as `Codec.decode`."""
        raise NotImplementedError

    def codebooks(self) -> Tensor:
        """The residual codebooks (K, codes, D) of the codec's own quantiser, which sum up to latents.

        Raises:
            ValueError: a codec that has none, because its latents are continuous.
        """
        raise ValueError(f"{type(self).__name__} has no codebooks of its own: its latents are continuous")


@torch.no_grad()
def encode_audio(codec: Codec, audio: Audio, device: torch.device | str = "cpu") -> Tensor:
    """Latents (1, T, D), on `device`, of sound at any rate and of any channels."""
    samples = audio.resampled(codec.sample_rate).in_channels(codec.channels)
    return codec.encode(torch.tensor(samples)[None].to(device))
