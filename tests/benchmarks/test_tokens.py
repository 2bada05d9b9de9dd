"""Resynthesis by tokens: the more codebooks, the nearer to the codec alone."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.tokens import main, read_tokens, resynthesise
from features.audio import Audio, write_audio
from flowmusic.codec.files import read_codec
from flowmusic.codec.protocol import encode_audio
from flowmusic.training.latent_tokens import fit_codebooks
from flowmusic.weights import save_tensors

RATE = 16_000


def sound(number: int) -> Audio:
    """A plucked tone over noise."""
    times_s, rng = np.arange(5 * RATE) / RATE, np.random.default_rng(number)
    tone = np.sin(2 * np.pi * 220 * 2 ** (number / 5) * times_s) * np.exp(-(times_s % 0.5) * 5)
    return Audio((0.3 * tone + 0.02 * rng.standard_normal(len(times_s))).astype(np.float32)[None], RATE)


@pytest.fixture(scope="module")
def tokens(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    codec = read_codec(tiny_model)
    with torch.no_grad():
        frames = torch.cat([encode_audio(codec, sound(number))[0] for number in range(4)])
    path = tmp_path_factory.mktemp("tokens") / "tokens.safetensors"
    parts = {"weight": torch.ones(8), "sound": fit_codebooks(frames, 3, 8), "image": torch.zeros(0, 8, 0)}
    save_tensors(path, parts)
    return path


def test_more_codebooks_leave_more_of_a_sound(tokens: Path, tiny_model: Path) -> None:
    codec, read = read_codec(tiny_model), read_tokens(tokens)
    audio = sound(5)
    latents = encode_audio(codec, audio)
    errors = [float((read.decode(read.encode(latents), n) - latents).square().mean()) for n in (1, 2, 3)]
    assert errors == sorted(errors, reverse=True) and errors[2] < 0.8 * errors[0]
    made = [resynthesise(codec, by, n, audio) for by, n in ((None, 0), (read, 1), (read, 3))]
    assert made[0].samples.shape == made[1].samples.shape and made[0].duration_s == audio.duration_s
    assert not np.allclose(made[1].samples, made[2].samples)
    with torch.no_grad():
        alone = codec.decode(latents)[0, :, : made[0].n_samples].numpy()
    np.testing.assert_allclose(made[0].samples, alone, atol=1e-6)


def test_from_references_to_the_table(
    tokens: Path, tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(4):
        write_audio(tmp_path / "references" / f"{number}.wav", sound(number).samples, RATE)
    words = [
        "--references",
        str(tmp_path / "references"),
        "--duration",
        "4.5",
        "--out",
        str(tmp_path / "out"),
    ]
    words += ["--tokens", str(tokens), "--codec", str(tiny_model)]
    main([*words, "--codebooks", "3"])
    rows = json.loads((tmp_path / "out" / "tokens.json").read_text(encoding="utf-8"))
    assert [row["codebooks"] for row in rows] == [None, 3]
    assert rows[0]["fidelity"]["across"]["value"] != rows[1]["fidelity"]["across"]["value"]
    assert "| 3 of 3 codebooks" in capsys.readouterr().out
    with pytest.raises(ValueError, match="--codebooks must be from 1 to 3, got 4"):
        main([*words, "--codebooks", "4"])
    with pytest.raises(ValueError, match="holds no codebooks"):
        read_tokens(tiny_model / "flow.safetensors")
