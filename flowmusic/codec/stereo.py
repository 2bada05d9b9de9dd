"""Stereo beside a mono codec: where sound comes from, band by band, as a few numbers a latent frame.

With mid M = (L + R) / 2 and side S = (L - R) / 2, each band's side is described by what of the mid predicts
it, its `pan`, and by how loud the rest is, its `width` (parametric stereo: Breebaart et al. 2005; prediction
of the side from the mid as in MPEG-D USAC). Decoding makes S = pan * M + width * D, where D is M
decorrelated by velvet noise (Alary, Politis and Välimäki 2017). The mean of both channels stays M itself.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from flowmusic.codec.phase import Stft

LOWEST_HZ, BANDS_PER_OCTAVE = 150.0, 2.0
COLUMNS = 4  # of a latent frame, where sound is shaped
MAX_PAN, MAX_WIDTH, MAX_MAKEUP = 1.5, 2.0, 4.0
PAN_WEIGHT = 2.0  # how much more than widths the principal components care about pans
QUIET = 1e-3  # bands so far below the loudest of a frame count as the centre
SILENCE = 1e-10  # power of a bin, full scale sine 1
_PULSE_S, _N_PULSES, _DECAY_DB = 0.001, 30, 20.0
_GOLDEN, _SILVER = 0.6180339887498949, 0.41421356237309515


class StereoImage(nn.Module):
    """Pan and width of bands <-> `n_components` latents a frame of `hop` samples, of unit variance."""

    components: Tensor
    offset: Tensor
    scale: Tensor

    def __init__(self, sample_rate: int, hop: int, n_components: int) -> None:
        super().__init__()
        self.sample_rate, self.hop, self.n_components = sample_rate, hop, n_components
        self.fine_stft = Stft(hop + hop // 2, hop // 2)
        self.shaping = Stft(hop, hop // COLUMNS)
        edges = [0.0]
        while (edge := LOWEST_HZ * 2.0 ** ((len(edges) - 1) / BANDS_PER_OCTAVE)) < sample_rate / 2:
            edges.append(edge)
        self.edges_hz = torch.tensor(edges)
        n_features = 2 * len(edges)
        if n_components > n_features:
            raise ValueError(f"a stereo image has {n_features} features, asked for {n_components} components")
        self.register_buffer("components", torch.zeros(n_features, n_components))  # orthonormal columns
        self.register_buffer("offset", torch.zeros(n_components))
        self.register_buffer("scale", torch.ones(n_components))
        weights = torch.ones(n_features)
        weights[: len(edges)] = PAN_WEIGHT
        self.register_buffer("weights", weights, persistent=False)
        self.register_buffer("bands", self._bands(self.fine_stft), persistent=False)
        self.register_buffer("shaping_bands", self._bands(self.shaping), persistent=False)
        self.register_buffer("spread", self._spread(self.shaping), persistent=False)

    def _bands(self, stft: Stft) -> Tensor:
        """Which band a bin lies in, (F, N)."""
        bins_hz = torch.arange(stft.n_bins) * (self.sample_rate / stft.window)
        band = torch.bucketize(bins_hz, self.edges_hz, right=True) - 1
        return nn.functional.one_hot(band, len(self.edges_hz)).float()

    def _spread(self, stft: Stft) -> Tensor:
        """Linear interpolation in log frequency from bands to bins, (F, N)."""
        bins_hz = torch.arange(stft.n_bins) * (self.sample_rate / stft.window)
        octaves = torch.log2(bins_hz.clamp(min=1.0) / LOWEST_HZ) * BANDS_PER_OCTAVE + 0.5
        place = octaves.clamp(0, len(self.edges_hz) - 1)
        return (1.0 - (place[:, None] - torch.arange(len(self.edges_hz))).abs()).clamp(min=0)

    def features(self, audio: Tensor) -> Tensor:
        """Sound (B, 2, S) -> pans, then widths: (B, T, 2 N), T = ceil(S / hop)."""
        n_frames = -(-audio.shape[2] // self.hop)
        mid, side = audio.mean(dim=1), (audio[:, 0] - audio[:, 1]) / 2
        mids, sides = (self.fine_stft.spectrum(x, 2 * n_frames)[..., 1:-1] for x in (mid, side))
        power_mid, power_side, common = (
            self._pooled(power, self.get_buffer("bands"), n_frames)  # (B, T, N)
            for power in (mids.abs().square(), sides.abs().square(), (mids * sides.conj()).real)
        )
        loudest = (power_mid + power_side).amax(dim=-1, keepdim=True)
        floor = QUIET * loudest + SILENCE
        pan = (common / (power_mid + floor)).clamp(-MAX_PAN, MAX_PAN)
        left_over = (power_side - pan.square() * power_mid).clamp(min=0.0)
        width = (left_over / (power_mid + floor)).sqrt().clamp(max=MAX_WIDTH)
        return torch.cat([pan, width], dim=-1)

    @staticmethod
    def _pooled(power: Tensor, bands: Tensor, n_frames: int) -> Tensor:
        """Of bands, over a frame and half of its neighbours, as the ear is slow: (B, F, T') -> (B, T, N)."""
        columns = power.transpose(1, 2) @ bands
        frames = columns.unflatten(1, (n_frames, -1)).mean(dim=2).transpose(1, 2)
        padded = nn.functional.pad(frames, (1, 1), mode="replicate")
        return (0.25 * padded[..., :-2] + 0.5 * frames + 0.25 * padded[..., 2:]).transpose(1, 2)

    @torch.no_grad()
    def fit(self, mean: Tensor, covariance: Tensor) -> float:
        """Set the principal components from the features' mean (N,) and covariance (N, N).

        They are those of the second moment: zeros, which are mono, come back as zeros. Returns the share of
        the second moment that they keep.
        """
        weights = self.get_buffer("weights").double()
        mean, covariance = mean.double() * weights, covariance.double() * weights[:, None] * weights
        values, vectors = torch.linalg.eigh(covariance + torch.outer(mean, mean))
        kept = vectors[:, values.numel() - self.n_components :].flip(1)
        self.components.copy_(kept)
        self.scale.copy_((kept.T @ covariance @ kept).diagonal().clamp(min=1e-9).sqrt())
        self.offset.copy_(mean @ kept)
        return float(values[values.numel() - self.n_components :].sum() / values.sum())

    def encode(self, audio: Tensor) -> Tensor:
        """(B, 2, S) -> (B, T, n_components)."""
        weighted = self.features(audio) * self.get_buffer("weights")
        latents: Tensor = (weighted @ self.components - self.offset) / self.scale
        return latents

    def decode(self, latents: Tensor, mid: Tensor) -> Tensor:
        """Latents (B, T, n_components) and sound (B, S) -> (B, 2, S) whose mean is that sound."""
        weighted = (latents * self.scale + self.offset) @ self.components.T
        pan, width = (weighted / self.get_buffer("weights")).chunk(2, dim=-1)
        pan, width = pan.clamp(-MAX_PAN, MAX_PAN), width.clamp(0.0, MAX_WIDTH)
        n_frames = latents.shape[1]
        direct, diffuse = (
            self.shaping.spectrum(sound, n_frames * COLUMNS)
            for sound in (mid, decorrelated(mid, self.sample_rate))
        )
        diffuse = self._matched(diffuse, direct, n_frames)
        spectrum = direct * self._gains(pan) + diffuse * self._gains(width)
        side = self.shaping.synthesise(spectrum, mid.shape[1])
        return torch.stack([mid + side, mid - side], dim=1)

    def _matched(self, diffuse: Tensor, direct: Tensor, n_frames: int) -> Tensor:
        """As loud as `direct` in every band, and with nothing of it: else it would move sound sideways."""
        bands = self.get_buffer("shaping_bands")
        power, own_power, common = (
            self._pooled(values[..., 1:-1], bands, n_frames)
            for values in (direct.abs().square(), diffuse.abs().square(), (diffuse * direct.conj()).real)
        )
        leak = common / (power + SILENCE)
        left_over = (own_power - leak.square() * power).clamp(min=0.0) + SILENCE
        level = (power / left_over).sqrt().clamp(max=MAX_MAKEUP)
        return (diffuse - self._gains(leak) * direct) * self._gains(level)

    def _gains(self, values: Tensor) -> Tensor:
        """Of bands and frames -> of bins and columns: (B, T, N) -> (B, F, T * COLUMNS + 2)."""
        spread = self.get_buffer("spread")
        over_time = nn.functional.interpolate(values.transpose(1, 2), scale_factor=COLUMNS, mode="linear")
        return torch.einsum("fn,bnt->bft", spread, nn.functional.pad(over_time, (1, 1), mode="replicate"))


def decorrelated(sound: Tensor, sample_rate: int) -> Tensor:
    """(B, S) -> as loud and of the same timbre, but unlike it: one pulse of random sign a millisecond."""
    out = torch.zeros_like(sound)
    decay = 10.0 ** (-_DECAY_DB / 20.0 / _N_PULSES)
    total = sum(decay ** (2 * index) for index in range(_N_PULSES)) ** 0.5
    for index in range(_N_PULSES):
        delay = round((1 + index + (index * _GOLDEN) % 1.0) * _PULSE_S * sample_rate)
        sign = 1.0 if (index * _SILVER) % 1.0 < 0.5 else -1.0
        if delay < sound.shape[-1]:
            out[..., delay:] += (sign * decay**index / total) * sound[..., : sound.shape[-1] - delay]
    return out
