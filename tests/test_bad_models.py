"""Models that cannot be used: one sentence that names the file and the key."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.refusals import LFS_POINTER, WEB_PAGE, Refused, written


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


def _edit_bytes(path: Path, edit: Callable[[bytes], bytes]) -> None:
    path.write_bytes(edit(path.read_bytes()))


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
    "lfs-weights": (
        lambda f: (f / "flow.safetensors").write_bytes(LFS_POINTER),
        ["flow.safetensors is a Git LFS pointer, not the file itself: run `git lfs pull`"],
    ),
    "lfs-config": (
        lambda f: (f / "config.json").write_bytes(LFS_POINTER),
        ["config.json is a Git LFS pointer, not the file itself: run `git lfs pull`"],
    ),
    "web-page-weights": (
        lambda f: (f / "codec.safetensors").write_bytes(WEB_PAGE),
        ["codec.safetensors is a web page (HTML), not the file itself: download it again"],
    ),
    "empty-weights": (
        lambda f: (f / "codec.safetensors").write_bytes(b""),
        ["codec.safetensors is empty (0 bytes)"],
    ),
    "cut-weights": (
        lambda f: _edit_bytes(f / "flow.safetensors", lambda b: b[: len(b) // 2]),
        ["flow.safetensors", "it is cut short or damaged"],
    ),
    "pickled-weights": (
        lambda f: torch.save({"a": torch.zeros(2)}, f / "flow.safetensors"),
        ["flow.safetensors", "it is a pickle, and no pickle is loaded"],
    ),
    "pickle-beside": (
        lambda f: (f / "flow.safetensors").rename(f / "pytorch_model.bin"),
        ["it has no flow.safetensors (pytorch_model.bin is a pickle, and no pickle is loaded)"],
    ),
    "latin-config": (
        lambda f: _edit_bytes(f / "config.json", lambda b: b.replace(b'"license"', b'"\xe9"')),
        ["config.json, line 3: cannot be read as UTF-8 text", "save as UTF-8"],
    ),
    "twice": (
        lambda f: _edit_bytes(f / "config.json", lambda b: b.replace(b'"credits"', b'"license"')),
        ["config.json cannot be read as JSON: the key 'license' stands there twice"],
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


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_configuration_with_a_byte_order_mark_is_read(encoding: str, model_copy: Path) -> None:
    from flowmusic.model_files import read_config

    path = model_copy / "config.json"
    plain = read_config(path)
    path.write_bytes(path.read_text().encode(encoding))
    assert read_config(path) == plain


@pytest.mark.parametrize("content", [LFS_POINTER, WEB_PAGE, b"", b"\x80\x04\x95."])
def test_what_is_no_checkpoint_of_a_training(content: bytes, refused: Refused, tmp_path: Path) -> None:
    path = written(tmp_path / "last.ckpt", content)
    text = refused("export", str(path), str(refused.out))
    expected = {
        LFS_POINTER: "run `git lfs pull`",
        WEB_PAGE: "is a web page (HTML)",
        b"": "is empty (0 bytes)",
    }
    assert str(path) in text and expected.get(content, "cannot be read as a checkpoint") in text


def test_checkpoints_that_are_no_folder(
    refused: Refused, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = written(tmp_path / "model.pt", b"x")
    common = ["generate", "--text", "piano", "-o", str(refused.out), "--checkpoint"]
    said = refused(*common, str(file))
    assert f"{file} is a file; expected the folder of a model" in said
    assert said.endswith("no pickle is loaded, and `flowmusic export` makes a model of a checkpoint")
    assert "/no/such/folder does not exist" in refused(*common, "/no/such/folder")


def test_a_hub_that_cannot_be_reached_is_one_sentence(
    refused: Refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    text = refused("generate", "--text", "x", "-o", str(refused.out), "--checkpoint", "someone/some-model")
    assert "someone/some-model is no folder here and the hub cannot be reached" in text
