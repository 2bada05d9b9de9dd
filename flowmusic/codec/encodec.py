"""EnCodec's continuous latents (arXiv 2210.13438), before its quantiser, through transformers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from features.hub import load_model
from flowmusic.codec.protocol import CodecModule

if TYPE_CHECKING:
    from transformers import EncodecModel

ENCODEC = "encodec"


@dataclass(frozen=True)
class EncodecLatentsConfig:
    """Shape of an EnCodec and scale of its latents.

    model      what `transformers.EncodecConfig` is built from
    mean, std  of its latents over music

    The defaults are those that JASCO (arXiv 2406.10970) publishes for the model of 32 kHz.
    """

    model: dict[str, Any] = field(default_factory=dict)
    mean: float = -0.0074
    std: float = 4.0102

    def to_dict(self) -> dict[str, object]:
        return {"kind": ENCODEC} | asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> EncodecLatentsConfig:
        """Read what `to_dict` wrote. ValueError on unknown keys."""
        unknown = set(values) - {"kind", *cls.__dataclass_fields__}
        if unknown:
            raise ValueError(f"unknown codec settings {sorted(unknown)}")
        return cls(**{key: value for key, value in values.items() if key != "kind"})


class EncodecLatents(CodecModule):
    """Mono sound <-> latents (B, T, D); satisfies `flowmusic.codec.protocol.Codec`."""

    config: EncodecLatentsConfig

    def __init__(self, config: EncodecLatentsConfig) -> None:
        super().__init__()
        from transformers import EncodecConfig, EncodecModel

        shape = EncodecConfig(**config.model)
        if shape.audio_channels != 1 or shape.normalize:
            raise ValueError(
                "expected an EnCodec of one channel that does not normalise loudness (24 or 32 kHz), got "
                f"{shape.audio_channels} channels, normalize={shape.normalize}"
            )
        self.config = config
        self.model: EncodecModel = EncodecModel(shape).requires_grad_(False)
        self.sample_rate, self.latent_dim = int(shape.sampling_rate), int(shape.hidden_size)
        self.hop, self.channels = int(shape.hop_length), 1
        self.frame_rate = self.sample_rate / self.hop

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> EncodecLatents:
        return cls(EncodecLatentsConfig.from_dict(dict(values)))

    @classmethod
    def from_transformers(cls, source: str) -> EncodecLatents:
        """Load a folder, or facebook/encodec_32khz[@revision] of the hub. ValueError if it is not there."""
        from transformers import EncodecModel

        model = load_model(EncodecModel, source, "EnCodec")
        codec = cls(EncodecLatentsConfig(_plain(model.config.to_diff_dict())))
        codec.model.load_state_dict(model.state_dict())
        return codec.eval()

    def encode(self, audio: Tensor) -> Tensor:
        """Encode sound (B, 1, S) as latents (B, T, D), T = ceil(S / hop)."""
        if audio.ndim != 3 or audio.shape[1] != 1 or audio.shape[2] == 0:
            raise ValueError(f"expected sound of shape (B, 1, S) with S > 0, got {tuple(audio.shape)}")
        hidden = self.model.encoder(audio).transpose(1, 2)  # (B, T, D)
        return (hidden - self.config.mean) / self.config.std

    def decode(self, latents: Tensor, generated: bool = False) -> Tensor:
        """Decode latents (B, T, D) as sound (B, 1, T * hop), `generated` or not."""
        if latents.ndim != 3 or latents.shape[2] != self.latent_dim:
            raise ValueError(
                f"expected latents of shape (B, T, {self.latent_dim}), got {tuple(latents.shape)}"
            )
        hidden = latents * self.config.std + self.config.mean
        audio: Tensor = self.model.decoder(hidden.transpose(1, 2))
        return audio[..., : latents.shape[1] * self.hop]

    def codebooks(self) -> Tensor:
        """Those of the quantiser (K, codes, D), of latents: nearest codes and sums are EnCodec's own."""
        embeddings = torch.stack([layer.codebook.embed for layer in self.model.quantizer.layers])
        if not embeddings.any():
            raise ValueError("this EnCodec's codebooks are all zero; expected one with trained weights")
        embeddings[0] -= self.config.mean  # of the sum, once
        return embeddings / self.config.std


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    """Keep only what JSON can hold and what shapes the model."""
    skipped = ("transformers_version", "_name_or_path", "architectures", "dtype", "torch_dtype", "model_type")
    return {key: value for key, value in values.items() if key not in skipped}
