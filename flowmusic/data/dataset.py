"""Random training excerpts out of prepared songs, held in memory."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from features.controls import CONTROL_NAMES
from flowmusic.conditioning.style_encoder import StyleFeatures, pad_features
from flowmusic.conditioning.text import TextTokens
from flowmusic.config import FlowConfig, StyleConfig
from flowmusic.model.condition import Condition

HEARD_SHARE = 0.6
"""Share of items whose controls are what extractors heard, where a song has been listened to."""

STYLE_EXCERPT_S = (1.5, 4.5)
"""Shortest and longest excerpt that style is taken from (arXiv 2407.12563, §4)."""


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

    def draw(
        self, batch_size: int, generator: torch.Generator
    ) -> tuple[Tensor, Condition, StyleFeatures | None]:
        """x_1 (B, T, D), its full condition before dropout, and features of 2 B style excerpts.

        The first B excerpts are of other parts of the songs than x_1: they cannot be copied. The next B
        lie within x_1; they are only to be compared with the first. None where the model knows no style.
        """
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
        style = (
            None
            if self.config.style is None
            else pad_features([item[key] for key in ("style", "style_within") for item in items])
        )
        return x_1, replace(condition, **fields).with_tokens(TextTokens(states, mask)), style

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
        if self.config.style is not None:
            item["style"], item["style_within"] = self._styles(song, start, self.config.style, generator)
        return item

    def _styles(
        self, song: PreparedSong, start: int, config: StyleConfig, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Features (T, F) of an excerpt outside and of one inside the frames from `start`.

        Where the rest of a song is too short for an excerpt outside, both are empty.
        """
        key = "latents" if config.features == "codec" else "style_features"
        if key not in song.tensors:
            raise ValueError(f"the prepared song {song.name} has no {key!r}: prepare it for style")
        features = song.tensors[key]
        per_latent = features.shape[0] / song.n_frames
        before, after = int(start * per_latent), math.ceil((start + self.n_frames) * per_latent)
        shortest, longest = (round(seconds * config.feature_rate) for seconds in STYLE_EXCERPT_S)
        room = max(before, features.shape[0] - after)
        if min(room, after - before) < shortest:
            return torch.zeros(0, config.feature_dim), torch.zeros(0, config.feature_dim)
        draws = torch.rand(4, generator=generator).tolist()
        length = shortest + int(draws[0] * (min(longest, room) - shortest + 1))
        n_before = max(before - length + 1, 0)  # places where the excerpt may start
        n_after = max(features.shape[0] - length - after + 1, 0)
        place = int(draws[1] * (n_before + n_after))
        first = place if place < n_before else after + place - n_before
        outside = features[first : first + length]
        length = shortest + int(draws[2] * (min(longest, after - before) - shortest + 1))
        first = before + int(draws[3] * (after - before - length + 1))
        return outside.float(), features[first : first + length].float()

    def _caption(self, song: PreparedSong, draw: float) -> Tensor:
        lengths = song.tensors["text_lengths"].long()
        index = int(draw * len(lengths))
        start = int(lengths[:index].sum())
        return song.tensors["text"][start : start + int(lengths[index])].float()
