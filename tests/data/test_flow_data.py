"""Training excerpts: aligned, reproducible, each once an epoch, and made of what was prepared."""

from __future__ import annotations

import pickle
import threading
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from features.controls import CONTROL_CHANNELS
from flowmusic.conditioning.augment import ControlErrors, disturb, shifted
from flowmusic.conditioning.condition import Condition
from flowmusic.conditioning.style import StyleConfig
from flowmusic.data.flow_data import FlowBatch, FlowData
from flowmusic.data.order import EpochOrder, Place, split_shards
from flowmusic.data.shards import SongEntry, digest, write_shard
from flowmusic.model.config import FlowConfig
from tests.training.conftest import INFO, song_tensors, write_data

CONFIG = FlowConfig(latent_dim=8, width=16, heads=2, depth=1, text_dim=5, style_dim=8)
SHARDS = [[60, 75, 90], [80, 66, 58], [64, 70], [99]]


def opened(folder: Path, split: str = "train", config: FlowConfig = CONFIG, **settings: object) -> FlowData:
    data = FlowData(folder, config, **{"batch_size": 4, "excerpt_frames": 16, **settings})  # type: ignore[arg-type]
    data.open_split(split)
    return data


def counting_song(folder: Path, n_frames: int, extracted_frames: int = 0) -> None:
    """Latents count frames in all channels; controls hold the same count at twice the rate, 255 as heard."""
    INFO.save(folder)
    tensors = song_tensors(0, n_frames, extracted_frames)
    tensors["latents"] = torch.arange(n_frames)[:, None].expand(-1, 8).half()
    for name, channels in CONTROL_CHANNELS.items():
        tensors[name] = (torch.arange(2 * n_frames) // 2)[:, None].expand(-1, channels).to(torch.uint8)
    tensors["leaky_drums"] = tensors["drums"]
    entry = SongEntry("0", "0", n_frames, extracted_frames, digest(tensors))
    for split in ("train", "valid"):
        write_shard(folder / split / "0.safetensors", [(entry, tensors)])


def places(batch: FlowBatch) -> list[tuple[int, int]]:
    """Song and first frame of every item of `song_tensors`."""
    return [(int(x[0, 0]), round(float(x[0, 1]) * 10)) for x in batch.x_1]


def test_controls_and_latents_are_of_the_same_excerpt(tmp_path: Path) -> None:
    counting_song(tmp_path, 220)
    batch = opened(tmp_path, "valid", excerpt_frames=40).draw_batch("valid", 0, [0])
    assert batch.x_1.shape == (4, 40, 8) and batch.condition.given[:3] == ("drums", "melody", "chords")
    for name in CONTROL_CHANNELS:
        values = batch.condition.get(name)[:, ::2, 0] * 255
        torch.testing.assert_close(values, batch.x_1[..., 0], atol=0.01, rtol=0)
    assert set(batch.condition.mask("text").sum(dim=1).tolist()) <= {3, 4}


def test_spawned_workers_draw_the_same_batches(tmp_path: Path) -> None:
    """Where processes are not forked (macOS, Windows), all that a worker needs is pickled."""
    write_data(tmp_path, {"train": SHARDS})
    alone, ahead = opened(tmp_path), opened(tmp_path, workers=1)
    ahead.trainer = SimpleNamespace(global_rank=1, world_size=2, lock=threading.Lock())  # type: ignore[assignment]
    assert pickle.loads(pickle.dumps(ahead)).streams == 2  # as many as processes, without their trainer
    ahead.trainer = None
    loader = ahead.train_dataloader()
    loader.multiprocessing_context = "spawn"
    drawn = iter(loader)
    for number in range(3):
        batch = next(drawn)
        assert batch.number == number
        assert torch.equal(batch.x_1, alone.draw_batch("train", number, [0]).x_1)


def test_a_batch_is_a_function_of_its_number(tmp_path: Path) -> None:
    write_data(tmp_path, {"train": SHARDS})
    first, second = opened(tmp_path), opened(tmp_path)
    second.draw_batch("train", 9, [0])  # what was drawn before plays no part
    a, b, other = (
        first.draw_batch("train", 5, [0]),
        second.draw_batch("train", 5, [0]),
        first.draw_batch("train", 6, [0]),
    )
    assert torch.equal(a.x_1, b.x_1) and a.seeds == b.seeds
    assert torch.equal(a.condition.get("drums"), b.condition.get("drums"))
    assert torch.equal(a.known, b.known) and not torch.equal(a.x_1, other.x_1)
    assert not torch.equal(a.x_1, opened(tmp_path, seed=1).draw_batch("train", 5, [0]).x_1)


def test_in_an_epoch_every_excerpt_comes_once_and_none_overlap(tmp_path: Path) -> None:
    write_data(tmp_path, {"train": SHARDS})
    data = opened(tmp_path, batch_size=1)
    n = sum(length // 16 for shard in SHARDS for length in shard)
    epochs = [
        [places(data.draw_batch("train", i, [0]))[0] for i in range(e * n, e * n + n)] for e in range(2)
    ]
    for epoch in epochs:
        frames = [(song, start + i) for song, start in epoch for i in range(16)]
        assert len(set(frames)) == len(frames) == 16 * n
    assert epochs[0] != epochs[1]


def test_of_many_shards_a_few_are_open_at_a_time() -> None:
    """Each is opened once an epoch, in another random order in each, and every excerpt still comes once."""
    shards = [Path(str(number)) for number in range(40)]
    songs = [Place(shard, SongEntry("", "", 48, 0, "")) for shard in shards for _ in range(2)]
    order = EpochOrder(songs, [48] * len(songs), 16, seed=1, shards_at_once=8)
    assert order.n_excerpts == 240
    epochs = [[order.excerpt(epoch * 240 + i) for i in range(240)] for epoch in range(2)]
    groups = []
    for epoch in epochs:
        assert len({(id(e.place), e.start) for e in epoch}) == 240
        parts = [epoch[first : first + 48] for first in range(0, 240, 48)]  # 8 shards of 6 excerpts
        found = [{e.place.shard for e in part} for part in parts]
        assert [len(part) for part in found] == [8] * 5 and set().union(*found) == set(shards)
        assert len({e.place.shard for e in parts[0][:8]}) > 3  # mixed among them
        groups.append(found[0])
    assert groups[0] != groups[1]
    few = [EpochOrder(songs, [48] * len(songs), 16, 1, size).batch(3, 8) for size in (40, 1000)]
    assert few[0] == few[1] != order.batch(3, 8)


def test_streams_share_out_the_shards_and_one_process_sees_what_two_do(tmp_path: Path) -> None:
    write_data(tmp_path, {"train": SHARDS})
    data = opened(tmp_path, streams=2)
    both = data.draw_batch("train", 3, [0, 1])
    data.batch_size = 2
    alone = [data.draw_batch("train", 3, [stream]) for stream in (0, 1)]
    assert torch.equal(both.x_1, torch.cat([part.x_1 for part in alone]))
    melodies = [part.condition.get("melody") for part in alone]
    assert torch.equal(both.condition.get("melody"), torch.cat(melodies))
    assert both.seeds == alone[0].seeds + alone[1].seeds
    songs = [
        {s for i in range(40) for s, _ in places(data.draw_batch("train", i, [stream]))} for stream in (0, 1)
    ]
    assert not songs[0] & songs[1] and songs[0] | songs[1] == set(range(9))
    assert sorted(i for part in split_shards([3, 1, 4, 1, 5], 2) for i in part) == [0, 1, 2, 3, 4]
    with pytest.raises(ValueError, match="at least 5 shards, there are 4"):
        opened(tmp_path, streams=5, batch_size=5).draw_batch("train", 0, [0])


def test_heard_controls_are_used_where_a_song_was_listened_to(tmp_path: Path) -> None:
    counting_song(tmp_path, 220, extracted_frames=200)
    data = opened(tmp_path, batch_size=20, excerpt_frames=10, extracted_share=0.5)
    data.errors = ControlErrors(share=0)
    batch = data.draw_batch("train", 0, [0])
    extracted = batch.condition.get("melody")[:, :, 0].eq(1.0).all(dim=1)
    assert 0.2 < float(extracted.float().mean()) < 0.7
    assert float(batch.x_1[extracted].max()) < 100  # only from the part that was listened to


def test_a_control_that_was_not_prepared_is_absent(tmp_path: Path) -> None:
    INFO.save(tmp_path)
    tensors = song_tensors(0, 100, extracted_frames=200)
    kept = {name: tensors[name] for name in ("latents", "text", "text_lengths", "extracted_drums")}
    write_shard(tmp_path / "valid/0.safetensors", [(SongEntry("0", "0", 100, 200, digest(kept)), kept)])
    condition = opened(tmp_path, "valid").draw_batch("valid", 0, [0]).condition
    assert bool(condition.mask("drums").all()) and bool(condition.get("drums").eq(1).all())
    assert not condition.mask("melody").any() and not condition.mask("chords").any()


def test_style_comes_from_another_part_of_the_song(tmp_path: Path) -> None:
    config = replace(CONFIG, style=StyleConfig(feature_dim=8, heads=2))
    write_data(tmp_path, {"train": [[220]] * 3})
    batch = opened(tmp_path, config=config, batch_size=6, excerpt_frames=80).draw_batch("train", 0, [0])
    style = batch.style
    assert style is not None and style.mask.shape[0] == 12 and batch.style_kept.shape == (6,)
    lengths = style.mask.sum(dim=1)
    assert int(lengths.min()) >= 38 and int(lengths.max()) <= 112 and len(set(lengths.tolist())) > 4
    for row in range(6):
        outside, within = (set(style.values[i, style.mask[i], 1].tolist()) for i in (row, 6 + row))
        target = set(batch.x_1[row, :, 1].tolist())
        assert not outside & target and within <= target
        assert style.values[row, 0, 0] == style.values[6 + row, 0, 0] == batch.x_1[row, 0, 0]


def test_songs_too_short_for_a_style_excerpt_have_none(tmp_path: Path) -> None:
    config = replace(CONFIG, style=StyleConfig(feature_dim=8, heads=2))
    write_data(tmp_path, {"train": [[90, 95, 92, 99]]})
    batch = opened(tmp_path, config=config, excerpt_frames=80).draw_batch("train", 0, [0])
    assert batch.style is not None and not batch.style.mask.any()
    foreign = replace(CONFIG, style=StyleConfig(features="m-a-p/MERT-v1-95M", heads=2))
    with pytest.raises(ValueError, match="has no 'style_features'"):
        opened(tmp_path, config=foreign).draw_batch("train", 0, [0])


def test_a_shift_repeats_the_edge() -> None:
    """The start of a control does not come at its end."""
    value = torch.arange(1, 6)[:, None]
    assert shifted(value, 2)[:, 0].tolist() == [1, 1, 1, 2, 3]
    assert shifted(value, -1)[:, 0].tolist() == [2, 3, 4, 5, 5]
    assert torch.equal(shifted(value, 0), value)


def test_jitter_does_not_bring_the_end_to_the_start() -> None:
    condition = Condition.null(8, 50, CONFIG.condition_shape)
    drums = torch.zeros_like(condition.get("drums"))
    drums[:, -1] = 1.0
    errors = ControlErrors(jitter_frames=3, blur_s=0.0, gain_low=1.0, noise=0.0, share=1.0)
    out = disturb(condition.having(drums=drums), errors, torch.Generator().manual_seed(0), 50.0).get("drums")
    assert float(out[:, :40].max()) < 1e-3 < 0.5 < float(out[:, 45:].max())


def test_disturbed_controls_stay_in_range_and_differ_by_item(tmp_path: Path) -> None:
    write_data(tmp_path, {"valid": SHARDS})
    condition = opened(tmp_path, "valid", batch_size=16).draw_batch("valid", 0, [0]).condition
    out = disturb(condition, ControlErrors(share=0.5), torch.Generator().manual_seed(1), 50.0)
    changed = [not torch.equal(a, b) for a, b in zip(out.get("melody"), condition.get("melody"), strict=True)]
    assert any(changed) and not all(changed)
    assert float(out.get("melody").min()) >= 0.0 and float(out.get("melody").max()) <= 1.0
