"""In which numbers a model generates: chosen by the device, the same sound in all of them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from features import precision
from flowmusic import FlowMusic
from flowmusic.api.dtype import generation_dtype
from flowmusic.api.pretrained import load_pretrained, save_pretrained
from flowmusic.api.request import Request
from flowmusic.cli import main
from flowmusic.weights import read_weights

CPU = torch.device("cpu")
CHART = Request(chords="Am | F | C | G7", duration=3.0, steps=4)
needs_bf16 = pytest.mark.skipif(not precision.cpu_has_bf16(), reason="this CPU does not multiply bfloat16")


def parts() -> tuple[nn.Module, ...]:
    return (nn.Linear(8, 8), nn.Conv1d(8, 8, 3))


def test_auto_is_float32_where_bfloat16_is_not_multiplied(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "cpu_has_bf16", lambda: False)
    assert generation_dtype("auto", CPU, parts()) == torch.float32
    with pytest.raises(ValueError, match="dtype is bfloat16, but this CPU does not multiply bfloat16"):
        generation_dtype("bfloat16", CPU, parts())


def test_auto_is_float32_where_a_layer_comes_out_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "cpu_has_bf16", lambda: True)
    monkeypatch.setattr(precision, "relative_error", lambda operation, *rest: float("conv" in str(operation)))
    assert generation_dtype("auto", CPU, parts()[:1]) == torch.bfloat16
    assert generation_dtype("auto", CPU, parts()) == torch.float32
    with pytest.raises(ValueError, match=r"bfloat16 comes out wrong here \(conv1d"):
        generation_dtype("bfloat16", CPU, parts())


@pytest.mark.parametrize("asked", ["bf16", "float64", ""])
def test_other_types_are_refused(asked: str) -> None:
    with pytest.raises(ValueError, match="dtype must be one of auto, float32, bfloat16, float16, got"):
        generation_dtype(asked, CPU, parts())


def test_float16_is_for_accelerators() -> None:
    with pytest.raises(ValueError, match="dtype is float16, but this CPU does not multiply float16"):
        load_pretrained(dtype="float16")


@needs_bf16
def test_bfloat16_sounds_as_float32() -> None:
    exact, rounded = (
        FlowMusic.from_pretrained(dtype=dtype).generate(CHART) for dtype in ("float32", "bfloat16")
    )
    assert (exact.info.dtype, rounded.info.dtype) == ("float32", "bfloat16")
    assert rounded.latents.dtype == torch.float32
    error = float((exact.latents - rounded.latents).norm() / exact.latents.norm())
    assert 1e-5 < error < 0.05
    assert abs(exact.audio.std() / rounded.audio.std() - 1) < 0.05


@needs_bf16
def test_a_clip_is_made_again_in_its_own_dtype(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, again = tmp_path / "a.wav", tmp_path / "b.wav"
    words = ["--chords", "Am | F", "--duration", "2", "--steps", "2"]
    assert main(["generate", *words, "--dtype", "float32", "-o", str(first)]) == 0
    assert main(["generate", "--from", str(first.with_suffix(".json")), "-o", str(again)]) == 0
    assert first.read_bytes() == again.read_bytes()
    other = tmp_path / "c.wav"
    words = ["--from", str(first.with_suffix(".json")), "--dtype", "bfloat16"]
    assert main(["generate", *words, "-o", str(other)]) == 0
    assert first.read_bytes() != other.read_bytes()


@needs_bf16
def test_a_model_is_saved_with_all_its_digits(tmp_path: Path) -> None:
    save_pretrained(load_pretrained(dtype="bfloat16"), tmp_path / "a")
    save_pretrained(load_pretrained(), tmp_path / "b")
    for name in ("flow.safetensors", "codec.safetensors"):
        a, b = (read_weights(tmp_path / folder / name) for folder in "ab")
        assert all(torch.equal(a[key], b[key]) for key in b) and a.keys() == b.keys()
