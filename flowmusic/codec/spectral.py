"""The bundled codec: principal components of band levels in, a trained magnitude decoder out.

The encoder is not trained by gradient: band levels at several resolutions are reduced to their principal
components, each scaled to unit variance. The decoder predicts STFT magnitudes in bands, with long windows
for low frequencies and short ones for high, and refines them beside the stored levels
(flowmusic.codec.refinement); phases are found without training (flowmusic.codec.phase), and where latents are
generated, the levels of short windows that they store are imposed on the sum. That sound is mono; where there
are `stereo_components`, the last latents of a frame tell where it comes from (flowmusic.codec.stereo).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from flowmusic.codec.analysis import DEFAULT_RESOLUTIONS, BandAnalysis, Resolution, spread_over_bins
from flowmusic.codec.bands import DEFAULT_BANDS, BandStft, DecoderBand, from_log10
from flowmusic.codec.decoder import MagnitudeDecoder
from flowmusic.codec.phase import Stft
from flowmusic.codec.protocol import CodecModule
from flowmusic.codec.refinement import LevelMaps
from flowmusic.codec.stereo import StereoImage


@dataclass(frozen=True)
class Correction:
    """Band levels of `resolution` (its index) are moved towards the stored ones by at most so much."""

    resolution: int
    raise_db: float
    cut_db: float


# Of generated latents only. Cuts in the shortest windows: what the decoder smears before and after a stroke
# goes. Without, the Fréchet distance of generated clips was 13.4 instead of 11.7 (an earlier decoder, 64
# songs, flowmusic.evaluation.fidelity); sound of true latents is nearer to its original without.
DEFAULT_CORRECTIONS = (Correction(4, 0.0, 20.0),)


@dataclass(frozen=True)
class SpectralCodecConfig:
    """Shape of a `SpectralCodec`; `hop` samples a latent frame, `decoder_hop` a column of the decoder.

    A frame has `latent_dim` latents of the mono sound, and `stereo_components` more.
    """

    sample_rate: int = 32000
    hop: int = 1280
    latent_dim: int = 160
    decoder_hop: int = 640
    decoder_width: int = 384
    decoder_depth: int = 6
    phase_iterations: int = 4
    stereo_components: int = 0
    decoder_bands: tuple[DecoderBand, ...] = DEFAULT_BANDS
    corrections: tuple[Correction, ...] = DEFAULT_CORRECTIONS
    resolutions: tuple[Resolution, ...] = DEFAULT_RESOLUTIONS

    def to_dict(self) -> dict[str, object]:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, object]) -> SpectralCodecConfig:
        """Inverse of `to_dict`. ValueError on unknown keys."""
        unknown = set(values) - set(cls.__dataclass_fields__)
        if unknown:
            raise ValueError(f"unknown codec settings {sorted(unknown)}")
        parsed = dict(values)
        kinds = {"resolutions": Resolution, "decoder_bands": DecoderBand, "corrections": Correction}
        for key, kind in kinds.items():
            if key in values:
                parsed[key] = tuple(kind(**item) for item in values[key])  # type: ignore[attr-defined]
        return cls(**parsed)  # type: ignore[arg-type]


class SpectralCodec(CodecModule):
    """Sound <-> latents (B, T, D) of unit variance; satisfies `flowmusic.codec.protocol.Codec`."""

    config: SpectralCodecConfig
    components: Tensor
    offset: Tensor
    scale: Tensor

    def __init__(self, config: SpectralCodecConfig) -> None:
        super().__init__()
        if config.hop % config.decoder_hop:
            raise ValueError(f"decoder_hop {config.decoder_hop} does not divide hop {config.hop}")
        for band in config.decoder_bands:
            if config.decoder_hop % band.hop:
                raise ValueError(f"a band's hop {band.hop} does not divide decoder_hop {config.decoder_hop}")
        for correction in config.corrections:
            if not 0 <= correction.resolution < len(config.resolutions):
                raise ValueError(
                    f"a correction is of resolution {correction.resolution}, "
                    f"but there are {len(config.resolutions)} resolutions"
                )
        self.config = config
        self.sample_rate = config.sample_rate
        self.latent_dim = config.latent_dim + config.stereo_components
        self.channels = 2 if config.stereo_components else 1
        self.frame_rate = config.sample_rate / config.hop
        self.analysis = BandAnalysis(config.sample_rate, config.hop, config.resolutions)
        self.bands = [BandStft(band, config.sample_rate) for band in config.decoder_bands]
        self.level_maps = LevelMaps(self.analysis, self.bands)
        self.refines = any(band.refine_channels for band in config.decoder_bands)
        n_features = self.analysis.n_features
        self.register_buffer("components", torch.zeros(n_features, config.latent_dim))  # orthonormal columns
        self.register_buffer("offset", torch.zeros(n_features))
        self.register_buffer("scale", torch.ones(config.latent_dim))
        self.register_buffer("weights", self.analysis.weights(), persistent=False)
        self.decoder = MagnitudeDecoder(
            config.latent_dim,
            [(config.decoder_hop // band.stft.hop, band.n_bins) for band in self.bands],
            config.hop // config.decoder_hop,
            config.decoder_width,
            config.decoder_depth,
            [(band.refine_channels, band.refine_depth) for band in config.decoder_bands],
            self.level_maps.n_maps,
        )
        self.image = (
            StereoImage(config.sample_rate, config.hop, config.stereo_components)
            if config.stereo_components
            else None
        )

    @torch.no_grad()
    def fit_components(self, mean: Tensor, covariance: Tensor) -> float:
        """Set the principal components from the features' mean (N,) and covariance (N, N).

        Returns the share of the weighted variance that they keep.
        """
        weights = self.get_buffer("weights").double()
        values, vectors = torch.linalg.eigh(covariance.double() * weights[:, None] * weights)
        keep = slice(values.numel() - self.config.latent_dim, None)
        self.components.copy_(vectors[:, keep].flip(1))
        self.scale.copy_(values[keep].flip(0).clamp(min=1e-9).sqrt())
        self.offset.copy_(mean)
        return float(values[keep].sum() / values.sum())

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> SpectralCodec:
        return cls(SpectralCodecConfig.from_dict({k: v for k, v in values.items() if k != "kind"}))

    def encode(self, audio: Tensor) -> Tensor:
        """(B, C, S) -> (B, T, D), T = ceil(S / hop); one channel is the middle of a stereo codec."""
        if audio.ndim != 3 or audio.shape[1] not in (1, self.channels) or audio.shape[2] == 0:
            raise ValueError(
                f"expected sound of shape (B, {self.channels}, S) with S > 0, got {tuple(audio.shape)}"
            )
        features = self.analysis(audio.mean(dim=1))  # (B, T, N)
        latents: Tensor = (
            ((features - self.offset) * self.get_buffer("weights")) @ self.components / self.scale
        )
        if self.image is None:
            return latents
        return torch.cat([latents, self.image.encode(audio.expand(-1, 2, -1))], dim=-1)

    @property
    def layers(self) -> nn.Module:
        return self.decoder

    def compute_in(self, dtype: torch.dtype) -> None:
        self.decoder.compute_in(dtype)
        self.decoder.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def features(self, latents: Tensor) -> Tensor:
        """Band levels that the latents store: (B, T, D) -> (B, T, N)."""
        weighted = (latents[..., : self.config.latent_dim] * self.scale) @ self.components.T
        return weighted / self.get_buffer("weights") + self.offset

    def decode(self, latents: Tensor, generated: bool = False) -> Tensor:
        """(B, T, D) -> (B, C, T * hop); the levels stored in `generated` latents are imposed on the sound."""
        if latents.ndim != 3 or latents.shape[2] != self.latent_dim:
            raise ValueError(
                f"expected latents of shape (B, T, {self.latent_dim}), got {tuple(latents.shape)}"
            )
        audio = self.synthesise(self.predict(self.decoder, latents), latents.shape[1] * self.config.hop)
        if generated:
            features = self.features(latents)
            for correction in self.config.corrections:
                audio = self.impose_levels(audio, features, correction)
        if self.image is None:
            return audio[:, None]
        return self.image.decode(latents[..., self.config.latent_dim :], audio)

    def predict(self, decoder: nn.Module, latents: Tensor) -> list[Tensor]:
        """What a decoder of this shape makes of latents (B, T, D): log10 magnitudes, (B, T', F) a band."""
        levels = self.level_maps(self.features(latents)) if self.refines else ()
        magnitudes: list[Tensor] = decoder(latents[..., : self.config.latent_dim], levels)
        return magnitudes

    def synthesise(self, log_magnitudes: Sequence[Tensor], n_samples: int) -> Tensor:
        """Log10 magnitudes, a (B, T', F) tensor a band -> sound (B, n_samples), whose phases are found."""
        shares = [
            band.synthesise(log_magnitude.float(), n_samples, self.config.phase_iterations)
            for band, log_magnitude in zip(self.bands, log_magnitudes, strict=True)
        ]
        return torch.stack(shares).sum(dim=0)

    def log_magnitudes(self, audio: Tensor) -> list[Tensor]:
        """What the decoder is to predict, of (B, S) sound: a (B, T', F) tensor a band, floored at -100 dB."""
        n_columns = -(-audio.shape[1] // self.config.hop) * (self.config.hop // self.config.decoder_hop)
        return [
            band.log_magnitude(audio, n_columns * (self.config.decoder_hop // band.stft.hop))
            for band in self.bands
        ]

    def impose_levels(self, audio: Tensor, features: Tensor, correction: Correction) -> Tensor:
        """Move the band levels of (B, S) sound towards those of features (B, T, N)."""
        index = correction.resolution
        resolution = self.config.resolutions[index]
        n_columns = features.shape[1] * resolution.subframes
        wanted = features[..., self.analysis.feature_slice(index)]
        wanted = wanted.reshape(audio.shape[0], n_columns, resolution.n_bands)
        excess = wanted - self.analysis.levels(audio, index)  # (B, T', N) in log10 amplitude
        gain = excess.clamp(-correction.cut_db / 20.0, correction.raise_db / 20.0).transpose(1, 2)
        stft = Stft(resolution.window, resolution.window // 4)
        spectrum = stft.spectrum(audio, -(-audio.shape[-1] // stft.hop))  # (B, F, T'')
        gain = torch.nn.functional.interpolate(gain, size=spectrum.shape[-1], mode="linear")
        spread = spread_over_bins(resolution, stft.bins_hz(self.sample_rate)).to(gain.device)
        shaped = spectrum * from_log10(torch.einsum("fn,bnt->bft", spread, gain))
        return stft.synthesise(shaped, audio.shape[-1])
