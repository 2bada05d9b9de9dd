"""Fixtures that several tests share: small real sounds, and a tiny model with random weights."""

from __future__ import annotations

import os
from pathlib import Path

# Before torch starts: one thread, which sleeps while it waits, so that tests do not fight for cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import pytest

from tests.refusals import Refused

RATE = 16_000


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is heard in tests is kept among the tests, not in the user's cache."""
    monkeypatch.setenv("FLOWMUSIC_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture(scope="session")
def music() -> tuple[np.ndarray, int]:
    """Two seconds of clicks, a sung-like line and a C major chord, (1, S) at 16 kHz."""
    times_s = np.arange(2 * RATE) / RATE
    noise = np.random.default_rng(0).standard_normal(times_s.size)
    clicks = noise * np.exp(-(times_s % 0.5) * 60) * 0.4
    f0_hz = np.where(times_s < 1, 523.25, 698.46)
    line = sum(np.sin(2 * np.pi * np.cumsum(k * f0_hz) / RATE) / k for k in range(1, 5)) * 0.15
    chord = sum(np.sin(2 * np.pi * hz * times_s) for hz in (130.81, 164.81, 196.0)) * 0.03
    mix = clicks + line + chord
    return (0.9 * mix / np.abs(mix).max()).astype(np.float32)[None], RATE


@pytest.fixture(scope="session")
def music_file(music: tuple[np.ndarray, int], tmp_path_factory: pytest.TempPathFactory) -> Path:
    from features.audio import write_audio

    return write_audio(tmp_path_factory.mktemp("sounds") / "music.wav", music[0], music[1])


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder of the shipped kind, small and untrained: for everything but the sound."""
    import torch

    from flowmusic.api.pretrained import GenerationDefaults, Pretrained, save_pretrained
    from flowmusic.codec.spectral import SpectralCodec, SpectralCodecConfig
    from flowmusic.model.config import FlowConfig
    from flowmusic.model.transformer import FlowTransformer

    torch.manual_seed(0)
    codec = SpectralCodec(
        SpectralCodecConfig(latent_dim=8, decoder_width=16, decoder_depth=1, phase_iterations=1)
    )
    codec.components.copy_(torch.linalg.qr(torch.randn_like(codec.components)).Q)
    flow = FlowTransformer(
        FlowConfig(latent_dim=8, width=32, depth=2, heads=2, mlp_ratio=2.0, style_dim=8, time_channels=16)
    )
    for name in ("modulation", "modulation_out", "project_out"):  # zero at the start of training
        torch.nn.init.normal_(getattr(flow, name).weight, std=0.1)
    for null in flow.temporal.nulls.values():
        torch.nn.init.normal_(null)
    defaults = GenerationDefaults(steps=3, guidance="1.5", duration_s=2.0)
    folder = tmp_path_factory.mktemp("models") / "tiny"
    return save_pretrained(Pretrained("tiny", "", codec, flow, defaults), folder, card="# A tiny model\n")


@pytest.fixture(scope="session")
def tiny_lm(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder whose network is a language model, small and untrained."""
    import torch

    from flowmusic.api.pretrained import GenerationDefaults, Pretrained, load_pretrained, save_pretrained
    from flowmusic.conditioning.style import StyleConfig
    from flowmusic.lm.config import LmConfig
    from flowmusic.lm.transformer import TokenTransformer

    torch.manual_seed(0)
    codec = load_pretrained(tiny_model).codec
    style = StyleConfig(feature_dim=8, feature_rate=25.0, depth=1, heads=2, codebooks=3, codes=16)
    shape = LmConfig(
        latent_dim=8, image_dim=0, codebooks=3, codes=16, width=32, depth=2, heads=2, style_dim=8,
        depth_width=16, depth_heads=2, pattern="delay", style=style,
    )  # fmt: skip
    network = TokenTransformer(shape)
    torch.nn.init.normal_(network.latents.sound)
    for parameter in network.parameters():  # zeros at the start of training would follow nothing
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.3)
    defaults = GenerationDefaults(guidance="2", composed_guidance="2", duration_s=2.0, temperature=(0.9, 1.0))
    folder = tmp_path_factory.mktemp("models") / "tiny-lm"
    return save_pretrained(Pretrained("tiny", "", codec, network, defaults), folder)


@pytest.fixture
def refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Refused:
    return Refused(tmp_path, capsys)
