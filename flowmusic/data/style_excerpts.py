"""Excerpts that style is taken from: of the same song as a training excerpt, but never a part of it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import pairwise

import torch
from torch import Tensor

from features.audio import Audio
from flowmusic.conditioning.style import MAX_EXCERPT_S, MIN_EXCERPT_S, StyleConfig
from flowmusic.conditioning.style_features import StyleExtractor
from flowmusic.data.shards import Slices


def extract_in_parts(extractor: StyleExtractor, audio: Audio) -> Tensor:
    """Features (T, F) of a recording, extracted in equal parts no longer than an excerpt.

    Given the whole, an encoder with attention would let every frame know of the entire song: also of the
    target, and of more than there is when a clip is made.
    """
    n_parts = max(math.ceil(audio.duration_s / MAX_EXCERPT_S - 1e-6), 1)
    bounds = [round(part * audio.n_samples / n_parts) for part in range(n_parts + 1)]
    parts = []
    for start, end in pairwise(bounds):
        found = extractor.extract(Audio(audio.samples[:, start:end], audio.sample_rate))
        first, after = (round(b / audio.sample_rate * extractor.feature_rate) for b in (start, end))
        # an encoder may give a frame less for want of context: the last again, so that places stay in step
        parts.append(found[torch.arange(after - first).clamp(max=found.shape[0] - 1)])
    return torch.cat(parts)


def style_features(song: Mapping[str, Slices], config: StyleConfig, name: str) -> Slices:
    """The features of a prepared song that style is made of. ValueError where it has none."""
    key = "latents" if config.features == "codec" else "style_features"
    if key not in song:
        raise ValueError(f"the prepared song {name} has no {key!r}: prepare it for style")
    return song[key]


def draw_style_pair(
    features: Slices,
    song_frames: int,
    start: int,
    n_frames: int,
    config: StyleConfig,
    generator: torch.Generator,
) -> tuple[Tensor, Tensor]:
    """Features (T, F) of an excerpt outside and of one inside the latent frames [start, start + n_frames).

    Where the rest of a song is too short for an excerpt outside, both are empty.
    """
    per_latent = features.shape[0] / song_frames
    before, after = int(start * per_latent), math.ceil((start + n_frames) * per_latent)
    shortest, longest = (round(seconds * config.feature_rate) for seconds in (MIN_EXCERPT_S, MAX_EXCERPT_S))
    room = max(before, features.shape[0] - after)
    draws = torch.rand(4, generator=generator).tolist()
    if min(room, after - before) < shortest:
        return torch.zeros(0, config.feature_dim), torch.zeros(0, config.feature_dim)
    length = shortest + int(draws[0] * (min(longest, room) - shortest + 1))
    n_before = max(before - length + 1, 0)  # places where the excerpt may start
    n_after = max(features.shape[0] - length - after + 1, 0)
    place = int(draws[1] * (n_before + n_after))
    first = place if place < n_before else after + place - n_before
    outside = features[slice(first, first + length)]
    length = shortest + int(draws[2] * (min(longest, after - before) - shortest + 1))
    first = before + int(draws[3] * (after - before - length + 1))
    pair = outside.float(), features[slice(first, first + length)].float()
    if config.features != "codec":
        return pair
    return pair[0][:, : config.feature_dim], pair[1][:, : config.feature_dim]  # without the stereo image
