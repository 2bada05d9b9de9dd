"""Guidance: one engine of weighted condition sets.

    v = sum_i w_i v(x_t, t, set_i)        with weights that sum to one

Every published rule is such a sum; each constructor of `GuidanceSpec` states its formula. Known latents
(`context`) are part of every set: guidance never takes them away. When and how much of it acts is said by
`flowmusic.flow.schedule.Guidance`; `flowmusic.flow.guided_velocity` computes it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from features.controls import CONTROL_NAMES

GUIDED_NAMES = (*CONTROL_NAMES, "text", "style")
MAX_SCALE = 1000.0
EXAMPLES = "'2', 'jasco:3,1', 'double:3,2' or 'drums=2,chords=3,text=1.5'"


@dataclass(frozen=True)
class WeightedSet:
    """The velocity given only what is `told`, taken `weight` times."""

    weight: float
    conditions: frozenset[str]


@dataclass(frozen=True)
class GuidanceSpec:
    """Weighted sets of conditions; weights sum to one, no two sets are equal and none has weight zero."""

    sets: tuple[WeightedSet, ...]

    def __post_init__(self) -> None:
        for item in self.sets:
            unknown = sorted(item.conditions - set(GUIDED_NAMES))
            if unknown:
                raise ValueError(
                    f"guidance names unknown conditions {unknown}; expected some of {GUIDED_NAMES}"
                )
            if not math.isfinite(item.weight):
                raise ValueError(f"guidance weights must be finite numbers, got {item.weight}")
        total = math.fsum(item.weight for item in self.sets)
        if abs(total - 1) > 1e-6:
            raise ValueError(f"guidance weights must sum to 1, got {total}")
        object.__setattr__(self, "sets", merged(self.sets))

    @classmethod
    def of(cls, *pairs: tuple[float, Sequence[str]]) -> GuidanceSpec:
        """From pairs of a weight and the names told."""
        return cls(tuple(WeightedSet(float(weight), frozenset(names)) for weight, names in pairs))

    @classmethod
    def none(cls) -> GuidanceSpec:
        """v_all."""
        return cls.of((1.0, GUIDED_NAMES))

    @classmethod
    def simple(cls, scale: float) -> GuidanceSpec:
        """v_null + scale (v_all - v_null)   (classifier-free guidance, arXiv 2207.12598)."""
        return cls.of((scale, GUIDED_NAMES), (1 - scale, ()))

    @classmethod
    def jasco(cls, w_all: float, w_text: float) -> GuidanceSpec:
        """w_all v_all + w_text v_text + (1 - w_all - w_text) v_null   (JASCO, arXiv 2406.10970)."""
        return cls.of((w_all, GUIDED_NAMES), (w_text, ("text",)), (1 - w_all - w_text, ()))

    @classmethod
    def double(cls, alpha: float, beta: float) -> GuidanceSpec:
        """v_null + alpha (v_s + beta (v_ts - v_s) - v_null)   (double guidance, arXiv 2407.12563).

        v_ts knows all, v_s all but the text: controls in time, if given, are on the side of the style.
        """
        style = [name for name in GUIDED_NAMES if name != "text"]
        return cls.of((alpha * beta, GUIDED_NAMES), (alpha * (1 - beta), style), (1 - alpha, ()))

    @classmethod
    def per_control(cls, scales: Mapping[str, float]) -> GuidanceSpec:
        """v_all + sum_c (g_c - 1) (v_all - v_(all but c)): a scale for each condition by itself.

        A scale of 1 costs nothing. Each difference is taken beside all other conditions, so they keep
        saying what goes together; where only c is given, this is `simple(g_c)`.
        """
        unknown = sorted(set(scales) - set(GUIDED_NAMES))
        if unknown:
            raise ValueError(f"guidance names unknown conditions {unknown}; expected some of {GUIDED_NAMES}")
        pairs: list[tuple[float, Sequence[str]]] = [
            (1 + math.fsum(g - 1 for g in scales.values()), GUIDED_NAMES)
        ]
        for name, scale in scales.items():
            pairs.append((1 - scale, [other for other in GUIDED_NAMES if other != name]))
        return cls.of(*pairs)

    @classmethod
    def parse(cls, text: str) -> GuidanceSpec:
        """Read `2`, `jasco:3,1`, `double:3,2` or `drums=2,chords=3,text=1.5`; ValueError if it is none."""
        text = text.strip()
        rule = re.fullmatch(r"(jasco|double)\s*:\s*([^,]+),([^,]+)", text)
        if rule:
            first, second = number(rule[2], text), number(rule[3], text)
            return cls.jasco(first, second) if rule[1] == "jasco" else cls.double(first, second)
        if "=" not in text:
            return cls.simple(number(text, text))
        scales: dict[str, float] = {}
        for part in text.split(","):
            name, _, scale = (piece.strip() for piece in part.partition("="))
            if name not in GUIDED_NAMES or name in scales:
                problem = (
                    "twice" if name in scales else f"where one of {', '.join(GUIDED_NAMES)} was expected"
                )
                raise ValueError(f"guidance {text!r} names {name!r} {problem}")
            scales[name] = number(scale, text)
        return cls.per_control(scales)


def merged(sets: Sequence[WeightedSet]) -> tuple[WeightedSet, ...]:
    """Equal sets as one, in order of first appearance; those that cancel out to weight zero left out."""
    weights: dict[frozenset[str], list[float]] = {}
    for item in sets:
        weights.setdefault(item.conditions, []).append(item.weight)
    summed = [WeightedSet(math.fsum(parts), conditions) for conditions, parts in weights.items()]
    return tuple(item for item in summed if abs(item.weight) > 1e-9)


def number(text: str, whole: str) -> float:
    """A number of at most MAX_SCALE in the text of a guidance, `whole`."""
    try:
        value = float(text)
    except ValueError as error:
        raise ValueError(
            f"guidance {whole!r} is not understood at {text.strip()!r}: expected {EXAMPLES}"
        ) from error
    if not abs(value) <= MAX_SCALE:
        raise ValueError(
            f"guidance {whole!r} holds {value:g}: expected finite numbers up to {MAX_SCALE:g}, "
            f"as in {EXAMPLES}"
        )
    return value
