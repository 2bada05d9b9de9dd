"""Excerpts for training: aligned, reproducible, and made of what was prepared."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from features.controls import CONTROL_CHANNELS
from flowmusic.conditioning.augment import ControlErrors, disturb
from flowmusic.config import FlowConfig, StyleConfig
from flowmusic.data.dataset import FlowExcerpts, load_songs
from flowmusic.training.checkpoint import save_tensors

CONFIG = FlowConfig(latent_dim=6, width=16, heads=2, depth=1, text_dim=5)


def write_song(folder: Path, name: str, n_frames: int, heard_frames: int = 0) -> None:
    """Latents count frames in all dimensions, controls hold the same count at twice the rate."""
    count = torch.arange(n_frames, dtype=torch.float32)[:, None]
    fast = (torch.arange(2 * n_frames) // 2)[:, None]
    tensors = {"latents": count.expand(-1, 6), "text": torch.ones(7, 5), "text_lengths": torch.tensor([3, 4])}
    tensors |= {key: fast.expand(-1, c).to(torch.uint8) for key, c in CONTROL_CHANNELS.items()}
    tensors["leaky_drums"] = tensors["drums"]
    save_tensors(folder / f"{name}.safetensors", tensors, torch.float16)
    if heard_frames:
        heard = {
            f"heard_{key}": torch.full((heard_frames, c), 255, dtype=torch.uint8)
            for key, c in CONTROL_CHANNELS.items()
        }
        save_tensors(folder / f"{name}.heard.safetensors", heard)


def test_controls_and_latents_are_of_the_same_excerpt(tmp_path: Path) -> None:
    write_song(tmp_path, "a", 90)
    write_song(tmp_path, "b", 120)
    x_1, condition, _ = FlowExcerpts(load_songs(tmp_path), CONFIG, 40).draw(
        8, torch.Generator().manual_seed(1)
    )
    assert x_1.shape == (8, 40, 6)
    for name in CONTROL_CHANNELS:
        values = condition.get(name)[:, ::2, 0] * 255
        torch.testing.assert_close(values, x_1[..., 0], atol=0.01, rtol=0)
    assert set(condition.text_mask.sum(dim=1).tolist()) <= {3, 4}


def test_the_same_seed_draws_the_same_batch(tmp_path: Path) -> None:
    write_song(tmp_path, "a", 90)
    excerpts = FlowExcerpts(load_songs(tmp_path), CONFIG, 40)
    first, second, other = (excerpts.draw(4, torch.Generator().manual_seed(s))[0] for s in (3, 3, 4))
    assert torch.equal(first, second) and not torch.equal(first, other)


def test_heard_controls_are_used_where_a_song_was_listened_to(tmp_path: Path) -> None:
    write_song(tmp_path, "a", 90, heard_frames=100)
    x_1, condition, _ = FlowExcerpts(load_songs(tmp_path), CONFIG, 40).draw(
        64, torch.Generator().manual_seed(0)
    )
    heard = condition.melody[:, :, 0].eq(1.0).all(dim=1)
    assert 0.2 < float(heard.float().mean()) < 0.8
    assert float(x_1[heard].max()) < 50  # only from the part that was listened to


def test_wrong_data_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no prepared songs"):
        load_songs(tmp_path)
    write_song(tmp_path, "a", 30)
    with pytest.raises(ValueError, match="no prepared song has 40"):
        FlowExcerpts(load_songs(tmp_path), CONFIG, 40)
    with pytest.raises(ValueError, match="6 dimensions, the model 7"):
        FlowExcerpts(load_songs(tmp_path), FlowConfig(latent_dim=7, width=16, heads=2, depth=1), 20)


def test_disturbed_controls_stay_in_range_and_differ_by_item(tmp_path: Path) -> None:
    write_song(tmp_path, "a", 90)
    excerpts = FlowExcerpts(load_songs(tmp_path), CONFIG, 40)
    _, condition, _ = excerpts.draw(16, torch.Generator().manual_seed(0))
    out = disturb(condition, ControlErrors(share=0.5), torch.Generator().manual_seed(1), 50.0)
    changed = [not torch.equal(a, b) for a, b in zip(out.melody, condition.melody, strict=True)]
    assert any(changed) and not all(changed)
    assert float(out.melody.min()) >= 0.0 and float(out.melody.max()) <= 1.0


def test_style_comes_from_another_part_of_the_song(tmp_path: Path) -> None:
    config = replace(CONFIG, style=StyleConfig(feature_dim=6))
    write_song(tmp_path, "a", 220)
    excerpts = FlowExcerpts(load_songs(tmp_path), config, 80)
    x_1, _, style = excerpts.draw(48, torch.Generator().manual_seed(0))
    assert style is not None and style.mask.shape[0] == 96
    lengths = style.mask.sum(dim=1)
    assert int(lengths.min()) >= 38 and int(lengths.max()) <= 112 and len(set(lengths.tolist())) > 20
    sides = set()
    for row in range(48):
        outside, within = (set(style.values[i, style.mask[i], 0].tolist()) for i in (row, 48 + row))
        target = set(x_1[row, :, 0].tolist())
        assert not outside & target and within <= target
        sides.add(min(outside) > min(target))
    assert sides == {True, False}


def test_songs_too_short_for_a_style_excerpt_have_none(tmp_path: Path) -> None:
    config = replace(CONFIG, style=StyleConfig(feature_dim=6))
    write_song(tmp_path, "a", 90)
    _, _, style = FlowExcerpts(load_songs(tmp_path), config, 80).draw(3, torch.Generator().manual_seed(0))
    assert style is not None and not style.mask.any()
    foreign = replace(CONFIG, style=StyleConfig(features="m-a-p/MERT-v1-95M"))
    with pytest.raises(ValueError, match="a has no 'style_features'"):
        FlowExcerpts(load_songs(tmp_path), foreign, 20).draw(1, torch.Generator())
