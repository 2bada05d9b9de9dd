"""The feature cache: what is kept, what is not, and what happens to damaged entries."""

from __future__ import annotations

import logging
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from features.cache import FeatureCache, content_hash, default_cache_folder


class Counter:
    """A computation that counts how often it is made."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self) -> dict[str, torch.Tensor]:
        self.calls += 1
        return {"value": torch.arange(6.0).reshape(2, 3), "mask": torch.tensor([True, False])}


def test_computed_once_then_kept(tmp_path: Path) -> None:
    compute = Counter()
    for _ in range(2):  # the second cache is another process's view of the folder
        found = FeatureCache(tmp_path).get_or_compute("key", "crepe", "1", compute)
        assert found["value"].tolist() == [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]
        assert found["mask"].tolist() == [True, False]
    assert compute.calls == 1


def test_those_who_want_an_entry_at_once_wait_for_the_first(tmp_path: Path) -> None:
    """Locks are of open files, so that threads stand for processes."""
    compute = Counter()

    def slowly() -> dict[str, torch.Tensor]:
        time.sleep(0.2)
        return compute()

    with ThreadPoolExecutor(3) as pool:
        found = pool.map(
            lambda _: FeatureCache(tmp_path).get_or_compute("key", "crepe", "1", slowly), range(3)
        )
    assert [item["mask"].tolist() for item in found] == [[True, False]] * 3
    assert compute.calls == 1
    assert [path.suffix for path in tmp_path.rglob("*") if path.is_file()] == [".safetensors"]


def test_content_extractor_and_version_each_make_a_new_entry(tmp_path: Path) -> None:
    compute, cache = Counter(), FeatureCache(tmp_path)
    keys = [
        ("a", "b", "c"),
        ("x", "b", "c"),
        ("a", "x", "c"),
        ("a", "b", "x"),
        ("ab", "", "c"),
        ("a", "bc", ""),
    ]
    for key in keys:
        cache.get_or_compute(*key, compute)
    assert compute.calls == len(keys)
    assert len({cache.path(*key) for key in keys}) == len(keys)


@pytest.mark.parametrize("damage", [b"", b"not safetensors", None])
def test_a_damaged_entry_is_made_anew_with_a_warning(
    tmp_path: Path, damage: bytes | None, caplog: pytest.LogCaptureFixture
) -> None:
    compute, cache = Counter(), FeatureCache(tmp_path)
    cache.get_or_compute("key", "crepe", "1", compute)
    path = cache.path("key", "crepe", "1")
    path.write_bytes(path.read_bytes()[:-3] if damage is None else damage)
    with caplog.at_level(logging.WARNING):
        assert cache.get_or_compute("key", "crepe", "1", compute)["value"].shape == (2, 3)
    assert path.name in caplog.text
    caplog.clear()
    cache.get_or_compute("key", "crepe", "1", compute)
    assert compute.calls == 2
    assert not caplog.text


def test_failures_leave_nothing_behind(tmp_path: Path) -> None:
    def fail() -> dict[str, torch.Tensor]:
        raise ValueError("unheard")

    with pytest.raises(ValueError, match="unheard"):
        FeatureCache(tmp_path).get_or_compute("key", "crepe", "1", fail)
    FeatureCache(tmp_path).get_or_compute("key", "crepe", "1", Counter())
    assert [path.suffix for path in tmp_path.rglob("*") if path.is_file()] == [".safetensors"]


def test_a_folder_that_cannot_be_written_costs_only_time(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    compute = Counter()
    with caplog.at_level(logging.WARNING):
        found = FeatureCache(tmp_path / "file").get_or_compute("key", "crepe", "1", compute)
    assert found["value"].shape == (2, 3)
    assert "cannot keep" in caplog.text


def test_the_folder_is_the_one_of_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLOWMUSIC_CACHE", str(tmp_path / "chosen"))
    assert default_cache_folder() == FeatureCache().folder == tmp_path / "chosen"
    monkeypatch.delenv("FLOWMUSIC_CACHE")
    assert default_cache_folder().name == "flowmusic"


def test_the_hash_is_of_the_content(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).write_bytes(b"sound" * 300_000)
    one, two = (content_hash(tmp_path / name) for name in ("one", "two"))
    assert one == two == content_hash(b"sound" * 300_000)
    assert one != content_hash(b"sound")


@given(
    arrays(
        st.sampled_from([np.float32, np.float64, np.int64, np.uint8]), array_shapes(max_dims=3, max_side=4)
    )
)
def test_any_tensor_comes_back_as_it_was(array: np.ndarray) -> None:
    tensor = torch.from_numpy(array)
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(2):
            kept = FeatureCache(Path(folder)).get_or_compute("key", "any", "1", lambda: {"value": tensor})[
                "value"
            ]
            assert kept.dtype == tensor.dtype
            assert torch.equal(torch.nan_to_num(kept), torch.nan_to_num(tensor))
