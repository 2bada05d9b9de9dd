"""A clip is kept under a key of everything that decides it, so that none is taken for another."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from features.audio import Audio
from features.controls import Controls
from flowmusic.api.model import FlowMusic
from flowmusic.api.request import Request
from flowmusic.evaluation.clip_store import ClipStore, FlowMaker, request_key

RATE = 16_000
SOUND = Audio(np.full((1, RATE), 0.25, np.float32), RATE)
DRUMS = Controls(50, drums=torch.full((50, 4), 0.5))


@dataclass
class Counter:
    """Makes a louder sound each time, and remembers what it was asked."""

    version: str = "1"
    asked: list[Request] = field(default_factory=list)

    def make(self, request: Request) -> Audio:
        self.asked.append(request)
        return Audio(np.full((1, RATE), 0.1 * len(self.asked), np.float32), RATE)

    def resynthesise(self, audio: Audio) -> Audio:
        return Audio(2 * audio.samples, audio.sample_rate)


@pytest.mark.parametrize(
    "change",
    [
        {"text": "another"},
        {"seed": 1},
        {"steps": 9},
        {"solver": "heun"},
        {"guidance": "double:3,5"},
        {"compose": False},
        {"song": 7},
        {"duration": 2.0},
        {"controls": DRUMS},
        {"controls": Controls(50, drums=torch.full((50, 4), 0.25))},
        {"style": SOUND},
        {"style": Audio(0.5 * SOUND.samples, RATE)},
        {"bpm": 90.0},
    ],
    ids=str,
)
def test_a_clip_asked_for_in_another_way_is_another_clip(change: dict[str, Any], tmp_path: Path) -> None:
    maker = Counter()
    store = ClipStore(maker, tmp_path)
    request = Request(text="a tune")
    first = store.clip("a", request)
    assert np.array_equal(store.clip("a", Request(text="a tune")).samples, first.samples)
    assert len(maker.asked) == 1
    store.clip("a", Request(**({"text": "a tune"} | change)))
    assert len(maker.asked) == 2
    assert len(list(tmp_path.glob("a-*.wav"))) == 2


def test_another_model_or_file_makes_another_clip(tmp_path: Path) -> None:
    request = Request(text="a tune")
    assert request_key("1", request) != request_key("2", request)
    path = tmp_path / "style.wav"
    path.write_bytes(b"one")
    styled = Request(style=str(path))
    before = request_key("1", styled)
    path.write_bytes(b"two")
    assert request_key("1", styled) != before
    kept = request_key("1", Request(controls=DRUMS))
    assert kept == request_key("1", Request(controls=Controls(50, drums=torch.full((50, 4), 0.5))))


def test_what_was_asked_stands_beside_the_clip_and_loud_sound_is_turned_down(tmp_path: Path) -> None:
    store = ClipStore(Counter(), tmp_path)
    store.clip("all/x", Request(text="a tune", seed=3))
    (asked,) = (tmp_path / "all").glob("x-*.json")
    values = json.loads(asked.read_text())
    assert (values["text"], values["seed"], values["maker"]) == ("a tune", 3, "1")
    loud = store.resynthesis("y", Audio(3 * SOUND.samples, RATE))
    assert float(np.abs(loud.samples).max()) <= 1.0


def test_a_models_own_defaults_and_weights_are_in_its_version(tiny_model: Path, tmp_path: Path) -> None:
    maker = FlowMaker(FlowMusic.from_pretrained(tiny_model))
    assert maker.model.model.fingerprint in maker.version and '"steps": 3' in maker.version
    store = ClipStore(maker, tmp_path)
    clip = store.clip("x", Request(chords="Am | F", duration=1.0))
    assert clip.duration_s == 1.0
    assert store.resynthesis("r", clip).duration_s == pytest.approx(1.0, abs=0.05)
