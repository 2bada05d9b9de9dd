"""Drum hits -> the band energies that `features.drums` would extract from a recording of them."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from features.channels import N_DRUM_BANDS
from features.drums import DRUM_BLUR_S, RANGE_DB
from features.filters import gaussian_blur
from features.frames import FrameGrid
from features.symbols import DrumHit

logger = logging.getLogger(__name__)

_FULL_VELOCITY = 100
_STEPS_PER_FRAME = 8
_WINDOW_S = 0.032  # of the analysis in features.drums
_FORGOTTEN_DB = 60.0
# As in features.drums: the reference level is the mean of this share of frames, the loudest.
_LOUDEST_SHARE = 0.01
_OPEN_HI_HAT, _CLOSED_HI_HATS = 46, (42, 44)


@dataclass(frozen=True)
class DrumTemplate:
    """How one General MIDI drum sounds in the four bands: immediate attack, exponential decay.

    `levels_db` are powers at the attack at velocity 100, against the bass drum's in the lowest
    band, after the upper bands' tilt; `decays_db_per_s` is how fast they fall.
    """

    midi: int
    name: str
    levels_db: tuple[float, float, float, float]
    decays_db_per_s: tuple[float, float, float, float]


# Measured: each key played alone by two General MIDI soundfonts (FluidR3, TimGM6mb), the mean of both.
DRUM_TEMPLATES: tuple[DrumTemplate, ...] = (
    DrumTemplate(35, "acoustic bass drum", (0, -11, -5, -8), (276, 333, 368, 396)),
    DrumTemplate(36, "bass drum 1", (0, -9, -5, -5), (289, 406, 444, 478)),
    DrumTemplate(37, "side stick", (-31, -22, 1, 2), (307, 124, 180, 221)),
    DrumTemplate(38, "acoustic snare", (-9, -1, -1, 0), (288, 212, 163, 157)),
    DrumTemplate(39, "hand clap", (-29, -26, 3, 0), (239, 155, 207, 235)),
    DrumTemplate(40, "electric snare", (-17, -2, 1, 2), (439, 188, 198, 188)),
    DrumTemplate(41, "low floor tom", (-5, -8, -3, -4), (46, 89, 158, 265)),
    DrumTemplate(42, "closed hi hat", (-43, -36, -17, -2), (900, 377, 266, 279)),
    DrumTemplate(43, "high floor tom", (-4, -5, -2, -4), (56, 105, 172, 292)),
    DrumTemplate(44, "pedal hi hat", (-34, -21, -14, 1), (535, 315, 330, 359)),
    DrumTemplate(45, "low tom", (-7, -6, -4, -4), (44, 86, 228, 426)),
    DrumTemplate(46, "open hi hat", (-44, -34, -17, -11), (900, 34, 21, 20)),
    DrumTemplate(47, "low-mid tom", (-7, -6, -5, -4), (49, 93, 257, 462)),
    DrumTemplate(48, "hi-mid tom", (-11, -6, -5, -4), (46, 89, 281, 476)),
    DrumTemplate(49, "crash cymbal 1", (-54, -28, -6, -1), (85, 20, 14, 17)),
    DrumTemplate(50, "high tom", (-16, -6, -7, -6), (49, 77, 247, 478)),
    DrumTemplate(51, "ride cymbal 1", (-49, -40, -19, -6), (420, 55, 15, 22)),
    DrumTemplate(52, "chinese cymbal", (-40, -31, -4, -7), (36, 31, 25, 29)),
    DrumTemplate(53, "ride bell", (-50, -36, -12, -10), (900, 18, 13, 42)),
    DrumTemplate(54, "tambourine", (-40, -40, -17, 7), (168, 155, 123, 111)),
    DrumTemplate(55, "splash cymbal", (-50, -39, -8, -1), (358, 49, 31, 35)),
    DrumTemplate(56, "cowbell", (-36, -6, -1, 1), (536, 243, 227, 526)),
    DrumTemplate(57, "crash cymbal 2", (-50, -28, -7, 0), (900, 21, 15, 19)),
    DrumTemplate(58, "vibraslap", (-41, -46, -10, -2), (311, 900, 25, 25)),
    DrumTemplate(59, "ride cymbal 2", (-55, -42, -21, -6), (188, 52, 15, 24)),
    DrumTemplate(60, "hi bongo", (-45, -21, 5, -8), (405, 350, 295, 396)),
    DrumTemplate(61, "low bongo", (-36, -11, 5, -15), (348, 303, 301, 293)),
    DrumTemplate(62, "mute hi conga", (-29, -22, 4, -9), (196, 373, 363, 450)),
    DrumTemplate(63, "open hi conga", (-28, -4, -5, -12), (258, 132, 141, 674)),
    DrumTemplate(64, "low conga", (-22, 0, -11, -20), (283, 139, 202, 436)),
    DrumTemplate(65, "high timbale", (-33, -9, 3, -2), (83, 73, 75, 144)),
    DrumTemplate(66, "low timbale", (-16, -4, 2, -5), (146, 97, 82, 159)),
    DrumTemplate(67, "high agogo", (-49, -47, -6, 5), (900, 597, 128, 270)),
    DrumTemplate(68, "low agogo", (-52, -43, -4, 4), (385, 900, 90, 193)),
    DrumTemplate(69, "cabasa", (-42, -36, -6, 10), (182, 343, 580, 573)),
    DrumTemplate(70, "maracas", (-45, -43, -22, 7), (369, 900, 395, 469)),
    DrumTemplate(71, "short whistle", (-48, -50, 5, -6), (900, 900, 165, 173)),
    DrumTemplate(72, "long whistle", (-48, -56, 4, -11), (900, 900, 57, 55)),
    DrumTemplate(73, "short guiro", (-53, -47, 2, 8), (336, 398, 516, 544)),
    DrumTemplate(74, "long guiro", (-50, -45, -5, -1), (351, 132, 11, 9)),
    DrumTemplate(75, "claves", (-49, -44, 10, -11), (218, 900, 689, 561)),
    DrumTemplate(76, "hi wood block", (-29, -31, 7, 1), (867, 900, 357, 456)),
    DrumTemplate(77, "low wood block", (-31, -21, 7, -1), (527, 334, 280, 442)),
    DrumTemplate(78, "mute cuica", (-46, -23, 8, -24), (900, 120, 140, 178)),
    DrumTemplate(79, "open cuica", (-42, -3, 0, -39), (554, 125, 141, 118)),
    DrumTemplate(80, "mute triangle", (-58, -60, -22, 1), (900, 900, 256, 298)),
    DrumTemplate(81, "open triangle", (-44, -51, -21, 0), (537, 900, 31, 38)),
)
_BY_KEY = {template.midi: template for template in DRUM_TEMPLATES}
_OTHER_PERCUSSION = _BY_KEY[62]
# Keys beside General MIDI's, by what sounds most like them: edges of the hi-hat on Roland's V-Drums (22, 26),
# and General MIDI 2 and GS (25, 27 to 34, 82 to 87).
_LIKE = {22: 42, 26: 46, 25: 38, 27: 75, 28: 39, 29: 73, 30: 73, 31: 37, 32: 75, 33: 75, 34: 81}
_LIKE |= {82: 69, 83: 54, 84: 81, 85: 75, 86: 41, 87: 41}


def hits_to_drum_energies(hits: Sequence[DrumHit], grid: FrameGrid, blur_s: float = DRUM_BLUR_S) -> Tensor:
    """Band energies (T, 4) in [0, 1] of drum hits, on the scale of `features.drums.energies`.

    Powers add up; a hit's power goes with the fourth power of its velocity (a synthesiser's 40 dB a
    decade). An open hi-hat ends when a closed one is struck. Keys that General MIDI lacks sound like what
    they are called in General MIDI 2 or on Roland's V-Drums; all others like a conga, and a warning counts
    them.
    """
    power = hits_to_band_powers([replace(hit, midi=_LIKE.get(hit.midi, hit.midi)) for hit in hits], grid)
    if not power.any():
        return torch.zeros(grid.n_frames, N_DRUM_BANDS)
    level_db = 10.0 * np.log10(np.maximum(power, 1e-20))  # (T, 4)
    loudest = np.sort(level_db.max(axis=1))[::-1][: max(1, round(_LOUDEST_SHARE * grid.n_frames))].mean()
    scaled = 1.0 + np.clip(level_db - loudest, -RANGE_DB, 0.0) / RANGE_DB
    return gaussian_blur(torch.from_numpy(scaled.astype(np.float32)), blur_s, grid.frame_rate)


def hits_to_band_powers(hits: Sequence[DrumHit], grid: FrameGrid) -> np.ndarray:
    """Mean power of each (tilted) band in each frame, (T, 4); 1 is a bass drum's attack at velocity 100."""
    step_s = 1.0 / (grid.frame_rate * _STEPS_PER_FRAME)
    n_steps = grid.n_frames * _STEPS_PER_FRAME
    fine = np.zeros((n_steps, N_DRUM_BANDS))  # (T * 8, 4)
    unknown = 0
    for hit, end_s in _with_ends(hits):
        template = _BY_KEY.get(hit.midi, _OTHER_PERCUSSION)
        unknown += hit.midi not in _BY_KEY
        first = math.ceil(hit.time_s / step_s - 0.5)
        loss_db = np.array(template.decays_db_per_s)
        longest_s = min(_FORGOTTEN_DB / loss_db.min(), end_s - hit.time_s)
        last = min(n_steps, first + math.ceil(longest_s / step_s))
        if hit.velocity <= 0 or first >= last:
            continue
        age_s = (np.arange(first, last) + 0.5) * step_s - hit.time_s
        gain_db = 40.0 * math.log10(hit.velocity / _FULL_VELOCITY)
        fine[first:last] += 10.0 ** (
            0.1 * (np.array(template.levels_db) + gain_db - age_s[:, None] * loss_db)
        )
    if unknown:
        logger.warning(
            "%d of %d drum hits have keys that no drum map names and are taken for hand drums",
            unknown,
            len(hits),
        )
    frames = _analysed(fine, step_s).reshape(grid.n_frames, _STEPS_PER_FRAME, N_DRUM_BANDS)
    return np.asarray(frames.mean(axis=1))


def _analysed(fine: np.ndarray, step_s: float) -> np.ndarray:
    """Powers as a short-time spectrum sees them: averaged under the square of its Hann window."""
    radius = round(_WINDOW_S / 2 / step_s)
    if radius == 0 or not len(fine):
        return fine
    kernel = np.hanning(2 * radius + 3)[1:-1] ** 2
    padded = np.pad(fine, ((radius, radius), (0, 0)))
    return np.stack([np.convolve(band, kernel / kernel.sum(), "valid") for band in padded.T], axis=1)


def _with_ends(hits: Sequence[DrumHit]) -> list[tuple[DrumHit, float]]:
    """Each hit with the time at which it is damped (infinity if it rings)."""
    closed = np.array(sorted(hit.time_s for hit in hits if hit.midi in _CLOSED_HI_HATS))
    ends = []
    for hit in hits:
        end_s = math.inf
        if hit.midi == _OPEN_HI_HAT:
            following = int(np.searchsorted(closed, hit.time_s, side="right"))
            end_s = float(closed[following]) if following < len(closed) else math.inf
        ends.append((hit, end_s))
    return ends
