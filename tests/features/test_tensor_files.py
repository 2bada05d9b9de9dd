"""Files of tensors, and what stands in their place."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from features.cache import FeatureCache
from features.controls import Controls
from features.extracted import load_extracted
from features.separators import load_small_demucs, read_demucs
from features.tensor_files import read_tensors, write_tensors
from flowmusic.conditioning.inversion import Inversion
from flowmusic.data.shards import ShardReader, read_listing
from flowmusic.weights import read_weights
from tests.refusals import LFS_POINTER, WEB_PAGE, written

TENSORS = {"a": torch.arange(6).reshape(2, 3), "b": torch.tensor([0.5, -1.0])}


def _torch_file(path: Path) -> Path:
    torch.save({"a": torch.zeros(3)}, path)
    return path


def _cut(path: Path, n_bytes: int) -> Path:
    write_tensors(path, TENSORS)
    return written(path, path.read_bytes()[:-n_bytes])


SPOILT: dict[str, tuple[Callable[[Path], Path], str]] = {
    "lfs": (
        lambda p: written(p, LFS_POINTER),
        "is a Git LFS pointer, not the file itself: run `git lfs pull`",
    ),
    "page": (lambda p: written(p, WEB_PAGE), "is a web page (HTML), not the file itself: download it again"),
    "empty": (lambda p: written(p, b""), "is empty (0 bytes)"),
    "torch": (_torch_file, "it is a pickle, and no pickle is loaded; convert it to safetensors"),
    "pickle": (lambda p: written(p, b"\x80\x04\x95" + bytes(99)), "it is a pickle, and no pickle is loaded"),
    "cut": (lambda p: _cut(p, 5), "it is cut short or damaged"),
    "cut in its header": (lambda p: _cut(p, 60), "it is cut short or damaged"),
    "noise": (lambda p: written(p, np.random.default_rng(0).bytes(999)), "cannot be read as"),
    "folder": (lambda p: p.mkdir() or p, "it is no file"),  # type: ignore[func-returns-value]
}
READERS: dict[str, Callable[[Path], object]] = {
    "weights": read_weights,
    "controls": Controls.load,
    "extracted": load_extracted,
    "separator": lambda path: load_small_demucs(path),
    "demucs": read_demucs,
    "inversion": Inversion.load,
    "shard": read_listing,
    "song": lambda path: ShardReader().song(path, "a"),
}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("kind", SPOILT)
def test_what_is_no_safetensors_says_what_it_is(kind: str, reader: str, tmp_path: Path) -> None:
    spoil, message = SPOILT[kind]
    path = spoil(tmp_path / "a.safetensors")
    (tmp_path / "a.json").write_text('{"class": "HDemucs", "init": {"sources": ["drums"], "channels": 4}}')
    if kind == "folder" and reader in ("separator", "inversion"):
        message = "missing" if reader == "separator" else "does not exist"
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        READERS[reader](path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "name", [b"caf\xe9.safetensors", "für 🎵 #1.safetensors".encode(), b"x" * 243 + b".safetensors"]
)
def test_tensors_come_back_from_a_file_of_any_name(name: bytes, tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(name)
    write_tensors(path, TENSORS, {"made": "für"})
    tensors, metadata = read_tensors(path)
    assert metadata == {"made": "für"} and tensors.keys() == TENSORS.keys()
    assert all(torch.equal(tensors[key], TENSORS[key]) for key in TENSORS)
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_whose_name_is_not_utf_8(tmp_path: Path) -> None:
    folder = tmp_path / os.fsdecode(b"m\xfcsik")
    write_tensors(folder / "a.safetensors", TENSORS)
    assert torch.equal(read_tensors(folder / "a.safetensors")[0]["a"], TENSORS["a"])
    cache = FeatureCache(folder)
    for _ in range(2):
        kept = cache.get_or_compute("key", "melody", "1", lambda: TENSORS)
    assert torch.equal(kept["a"], TENSORS["a"]) and len(list(folder.rglob("??/*.safetensors"))) == 1
