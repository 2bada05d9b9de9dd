"""Three minutes, with a tiny model: exact length, controls to the end, no border to be found."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from features.symbols import DrumHit, Note
from flowmusic.api.model import FlowMusic
from flowmusic.flow.windows import clip_windows

DURATION_S = 180.0


def test_three_minutes(tiny_model: Path) -> None:
    model = FlowMusic.from_pretrained(tiny_model)
    hits = [DrumHit(float(time_s), 36) for time_s in np.arange(0, 180, 0.5)]
    clip = model.generate(
        drums=hits, melody=[Note(179.0, 180.0, 60)], chords="C | G", duration=DURATION_S, steps=2
    )
    assert clip.audio.shape == (1, 180 * 32_000) and clip.latents.shape[0] == 4500
    # Controls are on their frames to the very end.
    assert clip.controls.melody is not None and clip.controls.drums is not None
    assert clip.controls.melody[8960:8990].mean(0).argmax() == 60 - 43
    assert int(clip.controls.melody[:8900].max() > 0) == 0
    strokes = clip.controls.drums[:, 0]
    assert strokes[25 * 350 : 25 * 350 + 3].max() > 2 * strokes[25 * 350 + 12]
    # Latents change at the ends of windows as they do elsewhere.
    change = (clip.latents[1:] - clip.latents[:-1]).norm(dim=1)
    plan = clip_windows(4500, 25.0)
    assert not plan.whole
    ends = sorted({*plan.starts[1:], *(start + plan.size for start in plan.starts[:-1])})
    borders = change[torch.tensor(ends) - 1]
    ranks = torch.stack([(change < value).float().mean() for value in borders])
    assert 0.25 < float(ranks.mean()) < 0.75


def test_what_is_far_away_does_not_change_a_frame(tiny_model: Path) -> None:
    """A clip's beginning is the same whatever comes a minute later: memory and time are those of windows."""
    model = FlowMusic.from_pretrained(tiny_model)
    first, second = (
        model.generate(chords=f"C@0 {chord}@40 N@50", duration=50.0, steps=1, seed=1).latents
        for chord in ("G", "Am")
    )
    assert torch.equal(first[:750], second[:750])
    assert not torch.equal(first[1010:], second[1010:])
