"""Frozen features of an excerpt, which the style conditioner is given."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from features.audio import Audio
from features.hub import load_model, load_settings
from flowmusic.codec.protocol import Codec, encode_audio
from flowmusic.conditioning.style import StyleConfig

CODEC_FEATURES = "codec"


class StyleExtractor(Protocol):
    """Sound -> features (T, F)."""

    @property
    def feature_rate(self) -> float:
        """Features a second."""
        ...

    def extract(self, audio: Audio) -> Tensor:
        """Extract features (T, F) of a recording, on the CPU."""
        ...


class CodecFeatures:
    """The first `n_channels` latents of the model's own codec: all but the stereo image."""

    def __init__(self, codec: Codec, n_channels: int, device: torch.device | str = "cpu") -> None:
        self.codec, self.n_channels, self.device = codec, n_channels, torch.device(device)

    @property
    def feature_rate(self) -> float:
        return self.codec.frame_rate

    def extract(self, audio: Audio) -> Tensor:
        return encode_audio(self.codec, audio, self.device)[0, :, : self.n_channels].cpu()  # (T, D)


class TransformersFeatures:
    """Any audio encoder of transformers with states or latents in time: EnCodec, HuBERT, wav2vec 2.0 ...

    Raises ValueError where `source` (a folder, or owner/name[@revision] in the hub's cache) cannot be read.
    Nothing that comes with a model is executed: one whose code lies beside its weights (MERT-v1) is refused.
    """

    def __init__(self, source: str | Path, device: torch.device | str = "cpu") -> None:
        from transformers import AutoFeatureExtractor, AutoModel

        place, what = str(source), "style features"
        settings = load_settings(AutoFeatureExtractor, place, what, local_files_only=True)
        model = load_model(AutoModel, place, what, local_files_only=True)
        self.sample_rate = int(settings.sampling_rate)
        self.model = model.eval().requires_grad_(False).to(torch.device(device))

    @property
    def feature_rate(self) -> float:
        """Features a second. ValueError where the model's configuration does not say."""
        config = self.model.config
        hop = getattr(
            config, "hop_length" if config.model_type == "encodec" else "inputs_to_logits_ratio", None
        )
        if not hop:
            raise ValueError(
                f"style features of {config.model_type}: how many there are a second is not known"
            )
        return self.sample_rate / hop

    @torch.no_grad()
    def extract(self, audio: Audio) -> Tensor:
        mono = torch.from_numpy(audio.resampled(self.sample_rate).mono()).to(self.model.device)
        if self.model.config.model_type == "encodec":
            latents = self.model.encoder(mono[None, None])[0]  # (F, T)
            return latents.T.float().cpu()
        levelled = (mono - mono.mean()) / mono.std().clamp(min=1e-7)  # as these encoders were trained
        states: Tensor = self.model(levelled[None]).last_hidden_state[0]  # (T, F)
        return states.float().cpu()


def style_extractor(config: StyleConfig, codec: Codec, device: torch.device | str = "cpu") -> StyleExtractor:
    """Make the extractor of the features that a model's style conditioner was trained on."""
    if config.features == CODEC_FEATURES:
        return CodecFeatures(codec, config.feature_dim, device)
    return _loaded(config.features, torch.device(device))


@lru_cache(maxsize=1)
def _loaded(source: str, device: torch.device) -> TransformersFeatures:
    """Load an encoder once, not for every clip of a batch."""
    return TransformersFeatures(source, device)
