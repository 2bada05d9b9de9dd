"""The embedded codec: principal components of band levels in, a trained magnitude decoder out.

The encoder is not trained by gradient: band levels at several resolutions are reduced to their
principal components, each scaled to unit variance. The decoder predicts STFT magnitudes; phases
are found without training (flowmusic.codec.phase), and the band envelopes that the latents store
are imposed on the result, which sharpens strokes.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import torch
from torch import Tensor, nn

from flowmusic.codec.analysis import DEFAULT_RESOLUTIONS, BandAnalysis, Resolution
from flowmusic.codec.decoder import LOG_FLOOR, MagnitudeDecoder
from flowmusic.codec.phase import Stft, reconstruct


@dataclass(frozen=True)
class SpectralCodecConfig:
    """Shape of a `SpectralCodec`; `hop` samples a latent frame, `decoder_hop` a decoded column."""

    sample_rate: int = 32000
    hop: int = 1280
    latent_dim: int = 160
    decoder_window: int = 4096
    decoder_hop: int = 640
    decoder_width: int = 384
    decoder_depth: int = 6
    phase_iterations: int = 4
    envelope_cut_db: float = 20.0
    envelope_passes: int = 2
    resolutions: tuple[Resolution, ...] = DEFAULT_RESOLUTIONS

    def to_dict(self) -> dict[str, object]:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, object]) -> SpectralCodecConfig:
        """Inverse of `to_dict`. ValueError on unknown keys."""
        unknown = set(values) - set(cls.__dataclass_fields__)
        if unknown:
            raise ValueError(f"unknown codec settings {sorted(unknown)}")
        resolutions = values.get("resolutions", DEFAULT_RESOLUTIONS)
        assert isinstance(resolutions, list | tuple)
        parsed = tuple(r if isinstance(r, Resolution) else Resolution(**r) for r in resolutions)
        return cls(**{**values, "resolutions": parsed})  # type: ignore[arg-type]


class SpectralCodec(nn.Module):
    """Mono sound <-> latents (B, T, D) of unit variance; satisfies `flowmusic.codec.protocol.Codec`."""

    components: Tensor
    offset: Tensor
    scale: Tensor

    def __init__(self, config: SpectralCodecConfig) -> None:
        super().__init__()
        if config.hop % config.decoder_hop:
            raise ValueError(f"decoder_hop {config.decoder_hop} does not divide hop {config.hop}")
        self.config = config
        self.sample_rate, self.latent_dim = config.sample_rate, config.latent_dim
        self.frame_rate = config.sample_rate / config.hop
        self.analysis = BandAnalysis(config.sample_rate, config.hop, config.resolutions)
        self.stft = Stft(config.decoder_window, config.decoder_hop)
        n_features = self.analysis.n_features
        self.register_buffer("components", torch.zeros(n_features, config.latent_dim))  # orthonormal columns
        self.register_buffer("offset", torch.zeros(n_features))
        self.register_buffer("scale", torch.ones(config.latent_dim))
        self.register_buffer("weights", self.analysis.weights(), persistent=False)
        self.decoder = MagnitudeDecoder(
            config.latent_dim,
            self.stft.n_bins,
            config.hop // config.decoder_hop,
            config.decoder_width,
            config.decoder_depth,
        )

    @torch.no_grad()
    def fit_components(self, mean: Tensor, covariance: Tensor) -> float:
        """Set the principal components from the features' mean (N,) and covariance (N, N).

        Returns the share of the weighted variance that they keep.
        """
        weights = self.get_buffer("weights").double()
        values, vectors = torch.linalg.eigh(covariance.double() * weights[:, None] * weights)
        keep = slice(values.numel() - self.latent_dim, None)
        self.components.copy_(vectors[:, keep].flip(1))
        self.scale.copy_(values[keep].flip(0).clamp(min=1e-9).sqrt())
        self.offset.copy_(mean)
        return float(values[keep].sum() / values.sum())

    def encode(self, audio: Tensor) -> Tensor:
        """(B, 1, S) -> (B, T, D), T = ceil(S / hop)."""
        if audio.ndim != 3 or audio.shape[1] != 1 or audio.shape[2] == 0:
            raise ValueError(f"expected sound of shape (B, 1, S) with S > 0, got {tuple(audio.shape)}")
        features = self.analysis(audio[:, 0])  # (B, T, N)
        latents: Tensor = (
            ((features - self.offset) * self.get_buffer("weights")) @ self.components / self.scale
        )
        return latents

    def features(self, latents: Tensor) -> Tensor:
        """Band levels that the latents store: (B, T, D) -> (B, T, N)."""
        return (latents * self.scale) @ self.components.T / self.get_buffer("weights") + self.offset

    def decode(self, latents: Tensor) -> Tensor:
        """(B, T, D) -> (B, 1, T * hop)."""
        if latents.ndim != 3 or latents.shape[2] != self.latent_dim:
            raise ValueError(
                f"expected latents of shape (B, T, {self.latent_dim}), got {tuple(latents.shape)}"
            )
        log_magnitude = self.decoder(latents).float()
        magnitude = torch.where(log_magnitude > LOG_FLOOR, 10.0**log_magnitude, 0.0)
        n_samples = latents.shape[1] * self.config.hop
        audio = reconstruct(magnitude, self.stft, n_samples, self.config.phase_iterations)
        return self.impose_envelopes(audio, latents)[:, None]

    def impose_envelopes(self, audio: Tensor, latents: Tensor) -> Tensor:
        """Cut the short-time band levels of (B, S) sound down to those that the latents store."""
        index = len(self.config.resolutions) - 1
        resolution = self.config.resolutions[index]
        n_columns = latents.shape[1] * resolution.subframes
        wanted = self.features(latents)[..., self.analysis.feature_slice(index)]
        wanted = wanted.reshape(audio.shape[0], n_columns, resolution.n_bands)
        fine = Stft(resolution.window, resolution.window // 4)
        n_frames = -(-audio.shape[-1] // fine.hop)
        spread = self._spread(resolution, fine)
        for _ in range(self.config.envelope_passes):
            # Only cut: what long windows smear before and after a stroke goes; raising a band would raise
            # the noise between its partials as well.
            excess = wanted - self.analysis.levels(audio, index)  # (B, T', N) in log10 amplitude
            gain = excess.clamp(-self.config.envelope_cut_db / 20.0, 0.0).transpose(1, 2)
            spectrum = fine.spectrum(audio, n_frames)  # (B, F, n_frames + 2)
            gain = torch.nn.functional.interpolate(gain, size=spectrum.shape[-1], mode="linear")
            shaped = spectrum * 10.0 ** torch.einsum("fn,bnt->bft", spread, gain)
            audio = fine.synthesise(shaped, audio.shape[-1])
        return audio

    def _spread(self, resolution: Resolution, stft: Stft) -> Tensor:
        """Linear interpolation in log frequency from bands to bins, (F, N); rows sum to one."""
        bins_hz = torch.arange(stft.n_bins) * (self.sample_rate / stft.window)
        position = torch.log2(bins_hz.clamp(min=1.0) / resolution.low_hz) * resolution.bands_per_octave - 0.5
        position = position.clamp(0, resolution.n_bands - 1)
        return (1.0 - (position[:, None] - torch.arange(resolution.n_bands)).abs()).clamp(min=0.0)
