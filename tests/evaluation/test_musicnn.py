"""The port of musicnn against numbers of the original TensorFlow graph, and its front end."""

from __future__ import annotations

from pathlib import Path

import librosa.filters
import numpy as np
import pytest
import torch

from features.audio import Audio, read_audio
from features.cache import FeatureCache
from flowmusic.evaluation.embeddings import EmbeddingStore
from flowmusic.evaluation.musicnn import (
    EMBEDDING_DIM,
    PATCH_FRAMES,
    TAGS,
    Musicnn,
    embed,
    load_musicnn,
    log_mel,
    patches,
    top_tags,
)

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"

# What the wheel's own graph (MTT_musicnn, TensorFlow 2.21) answers to `formula_patch`, unit by unit.
TENSORFLOW_EMBEDDING = (0.2104, -0.0329, -0.0923, -0.1861, -0.0787, 1.0750, -0.1058, 0.0646, 0.4176, -0.6351)
TENSORFLOW_LOGITS = (-2.6011, -3.3345, -2.4791, -2.8417, -4.2824, -4.0615, -2.5987, -2.4880, -3.2369, -2.6647)
TENSORFLOW_NORM = 7.6079


@pytest.fixture(scope="module")
def network() -> Musicnn:
    return load_musicnn()


def formula_patch() -> torch.Tensor:
    time, band = np.arange(187)[:, None], np.arange(96)[None]
    patch = 1.6 + 1.2 * np.sin(0.11 * time + 0.05 * band) * np.cos(0.002 * time * band)
    return torch.from_numpy(patch[None].astype(np.float32))


def test_the_network_answers_as_the_tensorflow_graph_does(network: Musicnn) -> None:
    embedding, logits = network(formula_patch())
    # The weights are stored in 16 bits, which moves no unit by more than 0.004.
    assert embedding[0, :10].numpy() == pytest.approx(np.array(TENSORFLOW_EMBEDDING), abs=0.005)
    assert logits[0, :10].numpy() == pytest.approx(np.array(TENSORFLOW_LOGITS), abs=0.01)
    assert float(embedding.norm()) == pytest.approx(TENSORFLOW_NORM, abs=0.01)


def test_the_front_end_is_log10_of_mel_power() -> None:
    rate, f0_hz, amplitude = 16_000, 1000.0, 0.5
    samples = amplitude * np.sin(2 * np.pi * f0_hz * np.arange(rate) / rate)
    frames = log_mel(Audio(samples.astype(np.float32)[None], rate))
    assert frames.shape == (1 + rate // 256, 96)
    # A sine in the middle of a bin: |STFT| = amplitude * sum(window) / 2 there, half that beside it.
    peak = (amplitude * 256 / 2) ** 2
    power = np.zeros(257)
    power[31:34] = peak / 4, peak, peak / 4
    expected = np.log10(1 + 10_000 * librosa.filters.mel(sr=rate, n_fft=512, n_mels=96) @ power)
    assert frames[20] == pytest.approx(expected, abs=0.02)
    assert log_mel(Audio(np.zeros((1, rate), np.float32), rate)).max() == 0.0


def test_patches_are_three_seconds_and_short_sounds_are_repeated() -> None:
    frames = np.arange(626 * 96, dtype=np.float32).reshape(626, 96)
    cut = patches(frames)
    assert cut.shape == (5, PATCH_FRAMES, 96)
    assert np.array_equal(cut[2], frames[186 : 186 + 187])
    assert patches(frames, hop=PATCH_FRAMES).shape[0] == 3
    short = patches(frames[:100])
    assert short.shape == (1, PATCH_FRAMES, 96)
    assert np.array_equal(short[0, 100:], frames[:87])


def test_it_names_what_the_examples_are(network: Musicnn) -> None:
    probabilities = embed(network, read_audio(EXAMPLES / "drums.ogg"))[1]
    assert probabilities.shape[1] == len(TAGS) == 50
    assert {"drums", "beat", "beats", "techno", "electronic"} & set(top_tags(probabilities, 3))
    melody = top_tags(embed(network, read_audio(EXAMPLES / "melody.ogg"))[1], 6)
    assert "classical" in melody and not {"drums", "techno", "metal"} & set(melody)


def test_sound_that_says_nothing_is_refused(network: Musicnn) -> None:
    with pytest.raises(ValueError, match=r"audible sound of at least 0\.5 s, got 2\.00 s"):
        embed(network, Audio(np.zeros((1, 32_000), np.float32), 16_000))
    with pytest.raises(ValueError, match=r"got 0\.25 s"):
        embed(network, Audio(np.ones((1, 4000), np.float32), 16_000))


def test_embeddings_are_kept_by_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    noise = np.random.default_rng(0).standard_normal((1, 64_000)).astype(np.float32) * 0.1
    audio = Audio(noise, 16_000)
    first = EmbeddingStore(FeatureCache(tmp_path)).embed(audio)
    assert first.shape == (1, EMBEDDING_DIM)
    monkeypatch.setattr("flowmusic.evaluation.embeddings.load_musicnn", lambda: pytest.fail("computed anew"))
    again = EmbeddingStore(FeatureCache(tmp_path))
    assert np.array_equal(again.embed(audio), first)
    with pytest.raises(pytest.fail.Exception):  # another sound is not known yet
        again.embed(Audio(0.5 * noise, 16_000))
