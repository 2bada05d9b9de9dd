"""Controls: shapes, presence, and the way through a file."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from features.controls import CONTROL_CHANNELS, CONTROL_NAMES, Controls


def full(n_frames: int) -> Controls:
    generator = torch.Generator().manual_seed(n_frames)
    drums, melody, chords = (torch.rand(n_frames, c, generator=generator) for c in CONTROL_CHANNELS.values())
    mask = torch.arange(n_frames) < n_frames // 2
    return Controls(n_frames, drums=drums, melody=melody, chords=chords, melody_mask=mask)


@pytest.mark.parametrize("n_frames", [1, 7, 500])
def test_save_and_load_give_the_same(tmp_path: Path, n_frames: int) -> None:
    controls = full(n_frames)
    controls.save(tmp_path / "c.safetensors")
    loaded = Controls.load(tmp_path / "c.safetensors")
    assert loaded.n_frames == n_frames and loaded.frame_rate == controls.frame_rate
    for name in CONTROL_NAMES:
        assert torch.equal(loaded.mask(name), controls.mask(name))
        value, expected = loaded.get(name), controls.get(name)
        assert value is not None and expected is not None and torch.equal(value, expected)


def test_other_files_are_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "text.safetensors").write_text("no tensors here")
    with pytest.raises(ValueError, match=r"text\.safetensors"):
        Controls.load(tmp_path / "text.safetensors")
    from safetensors.torch import save_file

    save_file({"a": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match="not a file of controls"):
        Controls.load(tmp_path / "other.safetensors")


@pytest.mark.parametrize(
    ("tensors", "meta", "says"),
    [
        ({"bass": torch.zeros(2, 4)}, {}, "unknown control 'bass'; expected one of drums, melody, chords"),
        ({"n_frames": torch.zeros(2, 4)}, {}, "unknown control 'n_frames'"),
        ({"drums_mask": torch.ones(2).bool()}, {}, "drums_mask is given without drums"),
        ({}, {"n_frames": None}, "does not say its n_frames"),
        ({}, {"n_frames": "two"}, "'two'"),
        ({"drums": torch.zeros(3, 4)}, {}, r"drums must have shape \(2, 4\), got \(3, 4\)"),
        ({"drums": torch.full((2, 4), float("nan"))}, {}, "drums holds NaN"),
        ({"drums": torch.zeros(2, 4), "drums_mask": torch.ones(2)}, {}, "drums_mask must be a bool"),
    ],
)
def test_malformed_files_are_refused_by_name(
    tensors: dict[str, torch.Tensor], meta: dict[str, str | None], says: str, tmp_path: Path
) -> None:
    from safetensors.torch import save_file

    whole = {"format": "flowmusic.controls.1", "n_frames": "2", "frame_rate": "50.0"} | meta
    path = tmp_path / "odd.safetensors"
    save_file(tensors, path, {key: value for key, value in whole.items() if value is not None})
    with pytest.raises(ValueError, match=rf"odd\.safetensors .*{says}"):
        Controls.load(path)


def test_numbers_of_other_precision_are_read_as_floats(tmp_path: Path) -> None:
    Controls(2, drums=torch.ones(2, 4, dtype=torch.float64)).save(tmp_path / "c.safetensors")
    drums = Controls.load(tmp_path / "c.safetensors").drums
    assert drums is not None and drums.dtype == torch.float32


def test_past_its_end_a_control_is_absent() -> None:
    longer = full(10).fit(15)
    assert longer.mask("drums").tolist() == [True] * 10 + [False] * 5
    assert longer.mask("melody").tolist() == [True] * 5 + [False] * 10
    assert full(10).crop(8, 4).mask("chords").tolist() == [True, True, False, False]


def test_only_without_and_combine() -> None:
    controls, other = full(10), full(10)
    assert controls.only("chords").given == ("chords",)
    assert controls.without("drums").given == ("melody", "chords")
    mixed = controls.only("drums").combine(other.only("melody"))
    assert mixed.given == ("drums", "melody")
    assert Controls(10).given == ()
    with pytest.raises(ValueError, match="bass"):
        controls.without("bass")


def test_wrong_shapes_and_values_are_refused() -> None:
    with pytest.raises(ValueError, match=r"drums must have shape \(10, 4\)"):
        Controls(10, drums=torch.zeros(9, 4))
    with pytest.raises(ValueError, match="NaN"):
        Controls(2, melody=torch.full((2, 53), float("nan")))
    with pytest.raises(ValueError, match="melody_mask"):
        Controls(2, melody=torch.zeros(2, 53), melody_mask=torch.ones(2))
