"""Random training excerpts out of prepared songs, held in memory."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from features.controls import CONTROL_NAMES
from flowmusic.conditioning.text import TextTokens
from flowmusic.config import FlowConfig
from flowmusic.model.condition import Condition

HEARD_SHARE = 0.6
"""Share of items whose controls are what extractors heard, where a song has been listened to."""


@dataclass(frozen=True)
class PreparedSong:
    """One song: latents (T, D) fp16, controls uint8 (F, C) by name, text states (sum L, E) fp16."""

    name: str
    tensors: dict[str, Tensor]
    heard_frames: int

    @property
    def n_frames(self) -> int:
        return int(self.tensors["latents"].shape[0])


def load_songs(folder: Path) -> list[PreparedSong]:
    """All songs that `flowmusic.data.prepare` wrote to `folder`. FileNotFoundError where there are none."""
    from safetensors.torch import load_file

    songs = []
    for path in sorted(folder.glob("*.safetensors")):
        if path.name.endswith(".heard.safetensors"):
            continue
        tensors, heard = load_file(path), path.with_suffix(".heard.safetensors")
        extra = load_file(heard) if heard.is_file() else {}
        frames = min((int(t.shape[0]) for t in extra.values()), default=0)
        songs.append(PreparedSong(path.stem, tensors | extra, frames))
    if not songs:
        raise FileNotFoundError(f"{folder} holds no prepared songs (*.safetensors)")
    return songs


class FlowExcerpts:
    """Draws batches of equally long excerpts with all their conditions."""

    def __init__(self, songs: list[PreparedSong], config: FlowConfig, n_frames: int) -> None:
        self.songs = [song for song in songs if song.n_frames >= n_frames]
        if not self.songs:
            raise ValueError(f"no prepared song has {n_frames} latent frames")
        found = self.songs[0].tensors["latents"].shape[1]
        if found != config.latent_dim:
            raise ValueError(f"the prepared latents have {found} dimensions, the model {config.latent_dim}")
        self.config, self.n_frames = config, n_frames
        self.heard = [song for song in self.songs if song.heard_frames >= config.control_fold * n_frames]

    def draw(self, batch_size: int, generator: torch.Generator) -> tuple[Tensor, Condition]:
        """x_1 (B, T, D) and its full condition, before dropout."""
        items = [self._draw_item(generator) for _ in range(batch_size)]
        x_1 = torch.stack([item["latents"] for item in items])
        condition = Condition.null(batch_size, self.n_frames, self.config)
        fields: dict[str, Tensor] = {}
        for name in CONTROL_NAMES:
            fields[name] = torch.stack([item[name] for item in items])
            fields[f"{name}_mask"] = torch.ones(fields[name].shape[:2], dtype=torch.bool)
        longest = max(item["text"].shape[0] for item in items)
        states = torch.zeros(batch_size, longest, self.config.text_dim)
        mask = torch.zeros(batch_size, longest, dtype=torch.bool)
        for row, item in enumerate(items):
            states[row, : item["text"].shape[0]] = item["text"]
            mask[row, : item["text"].shape[0]] = True
        return x_1, replace(condition, **fields).with_tokens(TextTokens(states, mask))

    def _draw_item(self, generator: torch.Generator) -> dict[str, Tensor]:
        draws = torch.rand(8, generator=generator).tolist()
        from_heard = bool(self.heard) and draws[0] < HEARD_SHARE
        pool = self.heard if from_heard else self.songs
        song = pool[int(draws[1] * len(pool))]
        fold = self.config.control_fold
        last = (song.heard_frames // fold if from_heard else song.n_frames) - self.n_frames
        start = int(draws[2] * (last + 1))
        item = {"latents": song.tensors["latents"][start : start + self.n_frames].float()}
        span = slice(start * fold, (start + self.n_frames) * fold)
        for name, draw in zip(CONTROL_NAMES, draws[3:6], strict=True):
            key = name
            if from_heard and draw < 0.8 and f"heard_{name}" in song.tensors:
                key = f"heard_{name}"
            elif name == "drums" and draw < 0.5:
                key = "leaky_drums"
            item[name] = song.tensors[key][span].float() / 255.0
        item["text"] = self._caption(song, draws[6])
        return item

    def _caption(self, song: PreparedSong, draw: float) -> Tensor:
        lengths = song.tensors["text_lengths"].long()
        index = int(draw * len(lengths))
        start = int(lengths[:index].sum())
        return song.tensors["text"][start : start + int(lengths[index])].float()
