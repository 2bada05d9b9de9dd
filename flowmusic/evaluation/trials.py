"""Which clips an evaluation generates: a *trial* names the reference of each control.

all      drums, melody and chords of one reference, with its caption if it has one
alone:X  control X alone, without text: the other metrics should stay near their floor
three    the controls of three different references at once, without text
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from features.controls import CONTROL_NAMES
from flowmusic.evaluation.references import Clip

PROTOCOLS = ("all", "alone", "three")
MAX_FLOOR_SHIFTS = 4


@dataclass(frozen=True)
class Trial:
    """One clip to generate: the index of each given control's reference; `anchor` stands for the others."""

    name: str
    protocol: str
    anchor: int
    sources: dict[str, int]
    text: str
    seed: int

    def source(self, control: str) -> int:
        return self.sources.get(control, self.anchor)


def plan_trials(
    clips: Sequence[Clip], protocols: Sequence[str], n_alone: int, n_three: int, seed: int
) -> list[Trial]:
    """The clips to generate, in order; `n_alone` and `n_three` at most for those protocols.

    Raises:
        ValueError: an unknown protocol, or too few references (two; four for `three`).
    """
    unknown = sorted(set(protocols) - set(PROTOCOLS))
    if unknown:
        raise ValueError(f"unknown protocol {', '.join(unknown)}; expected some of {', '.join(PROTOCOLS)}")
    n = len(clips)
    needed = 4 if "three" in protocols else 2
    if n < needed:
        raise ValueError(f"expected at least {needed} references (the floor needs a different one), got {n}")
    trials: list[Trial] = []
    if "all" in protocols:
        for i, clip in enumerate(clips):
            trials.append(Trial(clip.name, "all", i, dict.fromkeys(CONTROL_NAMES, i), clip.caption, seed + i))
    if "alone" in protocols:
        for control in CONTROL_NAMES:
            for i in _spread(n, n_alone):
                trials.append(
                    Trial(f"{clips[i].name}-{control}", f"alone:{control}", i, {control: i}, "", seed + i)
                )
    if "three" in protocols:
        third = max(1, n // 3)
        for i in _spread(n, n_three):
            sources = {name: (i + k * third) % n for k, name in enumerate(CONTROL_NAMES)}
            trials.append(Trial(f"{clips[i].name}-three", "three", i, sources, "", seed + i))
    return trials


def _spread(n: int, n_wanted: int) -> list[int]:
    return sorted({round(i) for i in np.linspace(0, n - 1, min(n, n_wanted))})


def floor_sources(trial: Trial, n: int) -> list[int]:
    """References that had no part in a trial, for its floor: the same shifts round the list for all trials.

    Each shift is a derangement of the list, so over all trials of a protocol every reference is
    used equally often.
    """
    used = {trial.anchor, *trial.sources.values()}
    shifts = [1 + k * (n - 1) // MAX_FLOOR_SHIFTS for k in range(MAX_FLOOR_SHIFTS)]
    candidates = dict.fromkeys((trial.anchor + shift) % n for shift in (*shifts, *range(1, n)))
    free = [i for i in candidates if i not in used]
    return free[: min(MAX_FLOOR_SHIFTS, n - 1)]
