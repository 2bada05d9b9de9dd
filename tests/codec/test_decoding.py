"""Decoding in blocks: no click, no dip, no drift, and bounded work."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from flowmusic.codec.decoding import FADE_S, correlation, crossfade, decode_clip

RATE, HOP = 8000, 320


class ToneCodec:
    """A frame holds the phase step of a sine; each call starts its phase anew, as phase search does."""

    sample_rate, frame_rate, latent_dim, channels = RATE, 25.0, 1, 1

    def __init__(self, random_phase: bool) -> None:
        self.random_phase, self.lengths = random_phase, []  # type: ignore[var-annotated]
        self.generator = torch.Generator().manual_seed(0)

    def encode(self, audio: Tensor) -> Tensor:
        raise NotImplementedError

    def decode(self, latents: Tensor, generated: bool = False) -> Tensor:
        assert generated
        self.lengths.append(latents.shape[1])
        start = 6.28 * float(torch.rand((), generator=self.generator)) if self.random_phase else 0.0
        steps = latents[0].repeat_interleave(HOP)
        return torch.sin(start + torch.cumsum(steps, 0))[None, None]


def level(sound: np.ndarray) -> np.ndarray:
    return np.sqrt(np.mean(sound[: sound.size // 200 * 200].reshape(-1, 200) ** 2, axis=1))


def test_a_short_clip_is_decoded_at_once() -> None:
    codec = ToneCodec(random_phase=False)
    latents = torch.full((250, 1), 0.3)
    sound = decode_clip(codec, latents, 250 * HOP - 7)
    assert codec.lengths == [250] and sound.shape == (1, 250 * HOP - 7)
    assert np.array_equal(sound[0], torch.sin(torch.cumsum(latents[:, 0].repeat_interleave(HOP), 0))[:-7])


def test_blocks_of_unrelated_phase_join_without_click_or_dip() -> None:
    codec = ToneCodec(random_phase=True)
    n_frames = 25 * 70
    sound = decode_clip(codec, torch.full((n_frames, 1), 0.3), n_frames * HOP)[0]
    assert sound.shape == (n_frames * HOP,)
    assert len(codec.lengths) == 4 and max(codec.lengths) <= 25 * 20 + 50
    assert np.abs(np.diff(sound)).max() <= 1.1 * 0.3  # a sine of that frequency moves no faster
    assert level(sound).min() > 0.6 and level(sound).max() < 0.8  # .707 throughout


def test_a_loop_goes_on_at_its_start() -> None:
    codec = ToneCodec(random_phase=True)
    n_samples = 100 * HOP - 133  # not a whole number of frames
    sound = decode_clip(codec, torch.full((100, 1), 0.3), n_samples, circular=True)[0]
    assert sound.size == n_samples
    around = np.concatenate([sound[-2000:], sound[:2000]])
    assert np.abs(np.diff(around)).max() <= 1.1 * 0.3
    assert level(around).min() > 0.4


@pytest.mark.parametrize("alike", [True, False])
def test_crossfades_keep_the_power(alike: bool) -> None:
    rng = np.random.default_rng(0)
    before = rng.standard_normal((1, round(FADE_S * 32_000)))
    after = before if alike else rng.standard_normal(before.shape)
    faded = crossfade(before, after)
    for part in np.array_split(faded[0], 4):
        assert 0.8 < part.std() < 1.2
    if alike:
        assert np.abs(faded - before).max() < 1e-6


def test_correlation() -> None:
    a = np.ones((1, 10))
    assert correlation(a, 3 * a) == pytest.approx(1)
    assert correlation(a, -a) == pytest.approx(-1)
    assert correlation(a, 0 * a) == 0
