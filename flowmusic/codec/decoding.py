"""Latents of any length -> sound, in bounded memory: blocks that overlap, joined where they agree best."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from flowmusic.codec.protocol import Codec

BLOCK_S = 20.0
MARGIN_S = 1.0
"""Latents decoded beyond both ends of a block, so that none of its sound knows of the cut."""

FADE_S = 0.04
_SEARCH_STEP_S = 0.01


def crossfade(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """From one sound to the other, both (..., S), at constant power whether they are alike or not.

    Linear weights a + b = 1 divided by sqrt(a^2 + b^2 + 2 a b r), with r the correlation of the two
    (Fink, Holters, Zölzer, "Signal-matched power-complementary cross-fading", DAFx 2016): sounds in
    phase are faded linearly, unrelated ones at equal power. (r is held above -0.6: sounds that cancel
    out are not blown up.)
    """
    length = before.shape[-1]
    rising = (np.arange(length, dtype=np.float32) + 0.5) / max(length, 1)
    falling = 1 - rising
    r = max(-0.6, correlation(before, after))
    scale = 1 / np.sqrt(falling**2 + rising**2 + 2 * falling * rising * r)
    return (falling * before + rising * after) * scale.astype(np.float32)


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Normalised inner product of two sounds of one shape, from -1 to 1; 0 for silence."""
    power = float(np.sqrt((a.astype(np.float64) ** 2).sum() * (b.astype(np.float64) ** 2).sum()))
    return float((a.astype(np.float64) * b).sum() / power) if power > 1e-12 else 0.0


def decode_clip(codec: Codec, latents: Tensor, n_samples: int, circular: bool = False) -> np.ndarray:
    """Sound (C, n_samples) of the generated latents (T, D) of one clip, as `decode_clips` does."""
    sound: np.ndarray = decode_clips(codec, latents[None], n_samples, circular)[0]
    return sound


@torch.no_grad()
def decode_clips(codec: Codec, latents: Tensor, n_samples: int, circular: bool = False) -> np.ndarray:
    """Sound (B, C, n_samples) of generated latents (B, T, D); `circular`: its end continues at its start.

    A clip of up to BLOCK_S seconds is decoded at once. Memory beyond the clips themselves is that of a block.
    """
    hop = codec.sample_rate / codec.frame_rate
    fade = round(FADE_S * codec.sample_rate)
    if not circular:
        return _decode_blocks(codec, latents)[..., :n_samples]
    around = min(round(MARGIN_S * codec.frame_rate), latents.shape[1])
    sounds = _decode_blocks(codec, torch.cat([latents[:, -around:], latents, latents[:, :around]], dim=1))
    first = round(around * hop)
    clips = sounds[..., first : first + n_samples].copy()
    after = sounds[..., first + n_samples : first + n_samples + fade]  # what comes after the last sample
    fade = min(fade, n_samples)
    for clip, continued in zip(clips, after, strict=True):
        clip[:, :fade] = crossfade(continued[:, :fade], clip[:, :fade])
    return clips


def _decode_blocks(codec: Codec, latents: Tensor) -> np.ndarray:
    """(B, T, D) -> (B, C, T * hop)."""
    n_frames, block = latents.shape[1], round(BLOCK_S * codec.frame_rate)
    n_blocks = max(1, -(-n_frames // block))
    hop, margin = codec.sample_rate / codec.frame_rate, round(MARGIN_S * codec.frame_rate)
    bounds = [round(index * n_frames / n_blocks) for index in range(n_blocks + 1)]
    sounds = np.zeros((0, 0, 0), np.float32)
    for index in range(n_blocks):
        first, last = max(0, bounds[index] - margin), min(n_frames, bounds[index + 1] + margin)
        pieces = codec.decode(latents[:, first:last], generated=True).float().cpu().numpy()  # (B, C, S')
        if index == 0:
            sounds = np.zeros((*pieces.shape[:2], round(n_frames * hop)), np.float32)
        overlap = 0 if index == 0 else round(2 * margin * hop)
        for sound, piece in zip(sounds, pieces, strict=True):
            _append(sound, piece, round(first * hop), overlap, codec)
    return sounds


def _append(sound: np.ndarray, piece: np.ndarray, at: int, overlap: int, codec: Codec) -> None:
    """Lay a piece into `sound` from sample `at`; its first `overlap` samples are there already."""
    if overlap == 0:
        sound[:, at : at + piece.shape[1]] = piece
        return
    fade, step = round(FADE_S * codec.sample_rate), round(_SEARCH_STEP_S * codec.sample_rate)
    # The quarters next to either cut are left out: there a block does not know its neighbours.
    places = range(overlap // 4, overlap - overlap // 4 - fade + 1, step)
    likeness = [
        correlation(sound[:, at + place : at + place + fade], piece[:, place : place + fade])
        for place in places
    ]
    best = max(range(len(places)), key=lambda index: abs(likeness[index]))
    if likeness[best] < 0:  # the phase is the codec's own choice: turned over, it sounds the same
        piece = -piece
    best = places[best]
    start = at + best
    sound[:, start : start + fade] = crossfade(sound[:, start : start + fade], piece[:, best : best + fade])
    sound[:, start + fade : at + piece.shape[1]] = piece[:, best + fade :]
