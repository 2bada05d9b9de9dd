"""Models that cannot be used: one sentence that names the file and the key."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.refusals import Refused, written


@pytest.fixture
def model_copy(tiny_model: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_model, tmp_path / "model"))


def _edit_config(folder: Path, edit: Callable[[dict[str, Any]], object]) -> None:
    path = folder / "config.json"
    config = json.loads(path.read_text())
    edit(config)
    path.write_text(json.dumps(config))


def _edit_weights(path: Path, edit: Callable[[dict[str, torch.Tensor]], object]) -> None:
    from safetensors.torch import load_file, save_file

    tensors = load_file(path)
    edit(tensors)
    save_file(tensors, path)


def _nan(tensors: dict[str, torch.Tensor]) -> None:
    tensors["project_out.bias"][0] = float("nan")


BAD_MODELS: dict[str, tuple[Callable[[Path], object], list[str]]] = {
    "no-config": (lambda f: (f / "config.json").unlink(), ["is not a model", "config.json"]),
    "no-flow": (lambda f: (f / "flow.safetensors").unlink(), ["flow.safetensors"]),
    "no-codec": (lambda f: (f / "codec.safetensors").unlink(), ["codec.safetensors"]),
    "not-json": (lambda f: (f / "config.json").write_text("{"), ["config.json", "JSON"]),
    "not-safetensors": (
        lambda f: (f / "flow.safetensors").write_bytes(b"x" * 99),
        ["flow.safetensors", "safetensors"],
    ),
    "future-format": (
        lambda f: _edit_config(f, lambda c: c.update(format="flowmusic.model.9")),
        ["flowmusic.model.9", "flowmusic.model.1"],
    ),
    "no-section": (lambda f: _edit_config(f, lambda c: c.pop("flow")), ["config.json", "'flow'"]),
    "unknown-setting": (
        lambda f: _edit_config(f, lambda c: c["flow"].update(wings=2)),
        ["config.json", "wings"],
    ),
    "other-shape": (
        lambda f: _edit_config(f, lambda c: c["flow"].update(width=64)),
        ["flow.safetensors", "of shape", "config.json"],
    ),
    "other-latents": (
        lambda f: _edit_config(f, lambda c: c["flow"].update(latent_dim=9)),
        ["config.json", "9 latent channels", "codec 8"],
    ),
    "missing-key": (
        lambda f: _edit_weights(f / "flow.safetensors", lambda t: t.pop("project_out.bias")),
        ["flow.safetensors", "lacks", "'project_out.bias'"],
    ),
    "unknown-key": (
        lambda f: _edit_weights(f / "codec.safetensors", lambda t: t.update(extra=torch.zeros(1))),
        ["codec.safetensors", "'extra'"],
    ),
    "nan-weights": (
        lambda f: _edit_weights(f / "flow.safetensors", _nan),
        ["flow.safetensors", "NaN", "'project_out.bias'"],
    ),
}


@pytest.mark.parametrize("kind", BAD_MODELS)
def test_bad_checkpoints(kind: str, model_copy: Path, refused: Refused) -> None:
    spoil, expected = BAD_MODELS[kind]
    spoil(model_copy)
    text = refused("generate", "--text", "piano", "--checkpoint", str(model_copy), "-o", str(refused.out))
    assert str(model_copy) in text
    for part in expected:
        assert part in text


def test_checkpoints_that_are_no_folder(
    refused: Refused, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = written(tmp_path / "model.pt", b"x")
    common = ["generate", "--text", "piano", "-o", str(refused.out), "--checkpoint"]
    assert f"{file} is a file; expected the folder of a model" in refused(*common, str(file))
    assert "/no/such/folder does not exist" in refused(*common, "/no/such/folder")


def test_a_hub_that_cannot_be_reached_is_one_sentence(
    refused: Refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    text = refused("generate", "--text", "x", "-o", str(refused.out), "--checkpoint", "someone/some-model")
    assert "someone/some-model is no folder here and the hub cannot be reached" in text
