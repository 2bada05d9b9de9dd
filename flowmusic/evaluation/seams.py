"""Can it be heard where parts of a clip were joined? The spectral change there beside that elsewhere.

Instants are the borders between latent frames (i / frame rate seconds). The change at an instant is the
mean over 40 mel bands of |level after - level before| in dB, of 0.12 s each; a row of the report counts
the largest within `reach` frames, so that fades and clicks right on the border are in it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np

from features.audio import Audio, normalise_peak, read_audio, write_audio
from flowmusic.evaluation.report import markdown_table

if TYPE_CHECKING:
    from torch import Tensor

    from flowmusic.codec.protocol import Codec

SIDE_S = 0.12
SUBFRAMES = 4
N_BANDS, LOWEST_HZ, HIGHEST_HZ = 40, 50.0, 14_000.0
WINDOW_S = 0.04
SILENCE_DB = -80.0
"""Of a full-scale sine; what is softer in a band counts as this."""

AWAY_S = 0.5
"""Instants nearer than this to a border are no "elsewhere"."""

REACH = 1
MIN_BORDERS, DRAWS = 5, 1000


@dataclass(frozen=True)
class Stratum:
    """Changes in dB of one sound: `borders` (N,), and `others` (M,) that those are compared with."""

    borders: np.ndarray
    others: np.ndarray


@dataclass(frozen=True)
class SeamRow:
    """Borders of one kind against other instants of the same sounds; means in dB, None without any.

    `auc` is the probability that the change at a border exceeds that at another instant of its sound,
    `low` to `high` its 95 % interval (None for fewer than 5 borders: those tell nothing about spread).
    """

    name: str
    n: int
    n_others: int
    at_borders: float | None = None
    elsewhere: float | None = None
    auc: float | None = None
    low: float | None = None
    high: float | None = None


def spectral_change(audio: Audio, frame_rate: float) -> np.ndarray:
    """(T + 1,) dB at the instants 0, 1 ... T / `frame_rate` s; NaN where one side is not all sound."""
    hop = audio.sample_rate / frame_rate / SUBFRAMES
    n_frames = int(audio.n_samples / (hop * SUBFRAMES) + 1e-6)
    n_side = max(1, round(SIDE_S * frame_rate))
    change = np.full(n_frames + 1, np.nan)
    if n_frames < 2 * n_side:
        return change
    power = _band_powers(audio.mono(), audio.sample_rate, hop, n_frames * SUBFRAMES + 1)
    sums = np.cumsum(np.concatenate([np.zeros((1, power.shape[1])), power]), axis=0)
    # Only windows that lie inside a side as a whole: none sees what is beyond the instant.
    inset = math.ceil(WINDOW_S / 2 * audio.sample_rate / hop - 1e-6)
    starts = np.arange(n_frames - n_side + 1) * SUBFRAMES + inset
    n_windows = n_side * SUBFRAMES - 2 * inset + 1
    sides = np.maximum(sums[starts + n_windows] - sums[starts], 0.0) / n_windows  # (T - n_side + 1, bands)
    levels_db = 10 * np.log10(sides + 10 ** (SILENCE_DB / 10))
    change[n_side:-n_side] = np.abs(levels_db[n_side:] - levels_db[:-n_side]).mean(axis=1)
    return change


def _band_powers(samples: np.ndarray, sample_rate: int, hop: float, n: int) -> np.ndarray:
    """Power in mel bands of windows round every `hop` samples from 0, (n, bands); 1 is a full-scale sine."""
    import librosa.filters

    size = 2 * round(WINDOW_S * sample_rate / 2)
    window = np.hanning(size)
    highest = min(HIGHEST_HZ, sample_rate / 2)
    # Padded to twice its size, so that the narrowest band holds a bin.
    bank = librosa.filters.mel(
        sr=sample_rate, n_fft=2 * size, n_mels=N_BANDS, fmin=LOWEST_HZ, fmax=highest, norm=None
    )
    starts = np.round(np.arange(n) * hop).astype(int)
    views = np.lib.stride_tricks.sliding_window_view(np.pad(samples, (size // 2, size)), size)
    powers = []
    # In pieces: the windows of a long clip at once would fill the memory.
    for part in np.array_split(starts, -(-n // 2048)):
        spectrum = np.fft.rfft(views[part] * window, 2 * size) * (2 / window.sum())
        powers.append((spectrum.real**2 + spectrum.imag**2) @ bank.T)
    return np.concatenate(powers)


def largest_near(change: np.ndarray, reach: int) -> np.ndarray:
    """The largest change within `reach` frames of each instant; NaN stays NaN."""
    padded = np.pad(np.where(np.isnan(change), -np.inf, change), reach, constant_values=-np.inf)
    largest = np.lib.stride_tricks.sliding_window_view(padded, 2 * reach + 1).max(axis=1)
    return np.where(np.isnan(change), np.nan, largest)


def away_from_joins(
    change: np.ndarray,
    borders: Sequence[int],
    joins: Sequence[int],
    all_borders: Sequence[int],
    frame_rate: float,
    reach: int = REACH,
) -> Stratum:
    """Borders against instants far from all borders; the surroundings of `joins` are left out of both."""
    values, far = largest_near(change, reach), AWAY_S * frame_rate + reach
    free = _distance(len(change), joins) > far
    others = free & (_distance(len(change), all_borders) > far)
    return Stratum(_finite(values[[i for i in borders if free[i]]]), _finite(values[others]))


def at_joins(
    change: np.ndarray,
    borders: Sequence[int],
    joins: Sequence[int],
    all_borders: Sequence[int],
    frame_rate: float,
    reach: int = REACH,
) -> Stratum:
    """Borders that lie at joins of what was asked for, against the joins that have no border near."""
    values, far = largest_near(change, reach), AWAY_S * frame_rate + reach
    near = _distance(len(change), joins) <= AWAY_S * frame_rate
    bare = _distance(len(change), all_borders) > far
    return Stratum(
        _finite(values[[i for i in borders if near[i]]]), _finite(values[[i for i in joins if bare[i]]])
    )


def _distance(n: int, places: Sequence[int]) -> np.ndarray:
    """Frames from each of `n` instants to the nearest of `places`, (n,)."""
    if not places:
        return np.full(n, np.inf)
    gaps = np.abs(np.arange(n)[:, None] - np.asarray(places)[None])
    return np.asarray(gaps.min(axis=1), dtype=np.float64)


def _finite(values: np.ndarray) -> np.ndarray:
    return values[np.isfinite(values)]


def seam_row(name: str, strata: Sequence[Stratum], seed: int = 0, draws: int = DRAWS) -> SeamRow:
    """The row of one kind of border; the interval is a bootstrap over borders, and others in each sound."""
    used = [item for item in strata if item.borders.size and item.others.size]
    if not used:
        return SeamRow(name, 0, 0)
    borders = np.concatenate([item.borders for item in used])
    others = np.concatenate([item.others for item in used])
    placed = np.concatenate([_placed(item.borders, item.others) for item in used])
    low, high = _interval(used, seed, draws) if borders.size >= MIN_BORDERS else (None, None)
    at_borders, elsewhere, auc = (float(values.mean()) for values in (borders, others, placed))
    return SeamRow(name, borders.size, others.size, at_borders, elsewhere, auc, low, high)


def _interval(strata: Sequence[Stratum], seed: int, draws: int) -> tuple[float, float]:
    """95 % of the AUCs of borders drawn anew, each time against others drawn anew within each sound."""
    rng, means = np.random.default_rng(seed), []
    for _ in range(draws):
        placed = [_placed(item.borders, rng.choice(item.others, item.others.size)) for item in strata]
        drawn = np.concatenate(placed)
        means.append(rng.choice(drawn, drawn.size).mean())
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def _placed(borders: np.ndarray, others: np.ndarray) -> np.ndarray:
    """For each border the share of `others` that it exceeds (equal ones count half), (N,)."""
    ranked = np.sort(others)
    below = np.searchsorted(ranked, borders, "left") + np.searchsorted(ranked, borders, "right")
    return np.asarray(below / (2 * ranked.size))


def seam_table(rows: Sequence[SeamRow]) -> str:
    """The rows as markdown."""
    header = ["borders", "n", "others", "dB at borders", "dB elsewhere", "AUC", "95 % interval"]
    cells: list[list[str | float | None]] = []
    for row in rows:
        interval = None if row.low is None else f"{row.low:.3f} to {row.high:.3f}"
        cells.append(
            [row.name, f"{row.n}", f"{row.n_others}", row.at_borders, row.elsewhere, row.auc, interval]
        )
    return markdown_table(header, cells)


def window_borders(n_frames: int, frame_rate: float) -> list[int]:
    """Frames at which windows of a clip of `n_frames` begin or end, without the clip's own ends."""
    from flowmusic.flow.windows import clip_windows

    plan = clip_windows(n_frames, frame_rate)
    ends = {*plan.starts, *(start + plan.size for start in plan.starts)}
    return sorted(ends - {0, n_frames})


def together(borders: Sequence[int], frame_rate: float) -> tuple[list[int], int]:
    """Borders nearer than 0.5 s to the one before as one, in their middle; and how far they lie from it.

    Where windows are not evenly spaced one ends a few frames before another begins: that is one place.
    """
    groups: list[list[int]] = []
    for border in borders:
        if groups and border - groups[-1][-1] < AWAY_S * frame_rate:
            groups[-1].append(border)
        else:
            groups.append([border])
    spread = max((group[-1] - group[0] for group in groups), default=0)
    return [(group[0] + group[-1]) // 2 for group in groups], -(-spread // 2)


class _Pieces:
    """A silent codec that notes which frames it is asked to decode: where the blocks of a clip lie."""

    latent_dim = 1

    def __init__(self, frame_rate: float) -> None:
        self.frame_rate, self.hop = frame_rate, 100
        self.sample_rate = round(frame_rate * self.hop)
        self.pieces: list[tuple[int, int]] = []

    def decode(self, latents: Tensor, generated: bool = False) -> Tensor:
        self.pieces.append((int(latents[0, 0, 0]), int(latents[0, -1, 0]) + 1))
        return latents.new_zeros(1, 1, latents.shape[1] * self.hop)


def block_borders(n_frames: int, frame_rate: float) -> list[int]:
    """Frames in the middle of where blocks of decoding overlap; each is faded somewhere within 0.5 s."""
    import torch

    from flowmusic.codec.decoding import decode_clip

    codec = _Pieces(frame_rate)
    latents = torch.arange(n_frames, dtype=torch.float64)[:, None]
    decode_clip(cast("Codec", codec), latents, n_frames * codec.hop)
    pairs = zip(codec.pieces, codec.pieces[1:], strict=False)
    return [(before[1] + after[0]) // 2 for before, after in pairs]


def cut(audio: Audio, start_s: float, end_s: float) -> Audio:
    """From `start_s` to `end_s` of a sound."""
    first, last = (round(time_s * audio.sample_rate) for time_s in (start_s, end_s))
    return Audio(audio.samples[:, first:last], audio.sample_rate)


def kept_audio(path: Path, make: Callable[[], Audio]) -> Audio:
    """What `path` holds; made and written there before where there is no such file.

    What is written is what is judged: 16 bits and all; sound beyond full scale is turned down.
    """
    if not path.is_file():
        audio = make()
        loud = float(np.abs(audio.samples).max(initial=0.0)) > 1.0
        write_audio(path, normalise_peak(audio.samples) if loud else audio.samples, audio.sample_rate)
    return read_audio(path)
