"""Guidance: one engine of weighted condition sets.

    v = sum_i w_i v(x_t, t, set_i)        with weights that sum to one

Every published rule is such a sum; each constructor of `GuidanceSpec` states its formula. Known latents
(`context`) are part of every set: guidance never takes them away. When and how much of it acts is said by
`flowmusic.flow.schedule.Guidance`; `flowmusic.flow.guided_velocity` computes it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Container, Hashable, Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from features.controls import CONTROLS

Key = TypeVar("Key", bound=Hashable)
TOKENS = ("text", "style")
MAX_SCALE = 1000.0
EXAMPLES = "'2', 'jasco:3,1', 'double:3,2' or 'drums=2,chords=3,text=1.5'"


def guided_names() -> tuple[str, ...]:
    """All conditions that guidance may name: every control, text and style."""
    return (*CONTROLS.names(), *TOKENS)


def is_guided(name: str) -> bool:
    """Whether guidance may name this condition."""
    return name in TOKENS or name in CONTROLS


@dataclass(frozen=True)
class ConditionSet:
    """The conditions that are named; or, where `all_but`, all conditions but those that are named."""

    names: frozenset[str] = frozenset()
    all_but: bool = False

    def __post_init__(self) -> None:
        unknown = sorted(name for name in self.names if not is_guided(name))
        if unknown:
            raise ValueError(
                f"guidance names unknown conditions {unknown}; expected some of {guided_names()}"
            )

    def among(self, given: frozenset[str]) -> frozenset[str]:
        """Those of the conditions `given` that are in the set."""
        return given - self.names if self.all_but else given & self.names


NOTHING = ConditionSet()
EVERYTHING = ConditionSet(all_but=True)


@dataclass(frozen=True)
class WeightedSet:
    """The velocity given only a set of conditions, taken `weight` times."""

    weight: float
    conditions: ConditionSet


@dataclass(frozen=True)
class GuidanceSpec:
    """Weighted sets of conditions; weights sum to one, no two sets are equal and none has weight zero."""

    sets: tuple[WeightedSet, ...]

    def __post_init__(self) -> None:
        for item in self.sets:
            if not math.isfinite(item.weight):
                raise ValueError(f"guidance weights must be finite numbers, got {item.weight}")
        total = math.fsum(item.weight for item in self.sets)
        if abs(total - 1) > 1e-6:
            raise ValueError(f"guidance weights must sum to 1, got {total}")
        summed = summed_weights((item.conditions, item.weight) for item in self.sets)
        object.__setattr__(self, "sets", tuple(WeightedSet(weight, of) for of, weight in summed.items()))

    @classmethod
    def of(cls, *pairs: tuple[float, ConditionSet]) -> GuidanceSpec:
        """From pairs of a weight and a set of conditions."""
        return cls(tuple(WeightedSet(float(weight), conditions) for weight, conditions in pairs))

    @classmethod
    def none(cls) -> GuidanceSpec:
        """v_all."""
        return cls.of((1.0, EVERYTHING))

    @classmethod
    def simple(cls, scale: float) -> GuidanceSpec:
        """v_null + scale (v_all - v_null)   (classifier-free guidance, arXiv 2207.12598)."""
        return cls.of((scale, EVERYTHING), (1 - scale, NOTHING))

    @classmethod
    def jasco(cls, w_all: float, w_text: float) -> GuidanceSpec:
        """w_all v_all + w_text v_text + (1 - w_all - w_text) v_null   (JASCO, arXiv 2406.10970)."""
        text = ConditionSet(frozenset({"text"}))
        return cls.of((w_all, EVERYTHING), (w_text, text), (1 - w_all - w_text, NOTHING))

    @classmethod
    def double(cls, alpha: float, beta: float) -> GuidanceSpec:
        """v_null + alpha (v_s + beta (v_ts - v_s) - v_null)   (double guidance, arXiv 2407.12563).

        v_ts has all conditions, v_s all but the text: controls in time, if given, are on the side of the
        style.
        """
        style = ConditionSet(frozenset({"text"}), all_but=True)
        return cls.of((alpha * beta, EVERYTHING), (alpha * (1 - beta), style), (1 - alpha, NOTHING))

    @classmethod
    def per_control(cls, scales: Mapping[str, float]) -> GuidanceSpec:
        """v_all + sum_c (g_c - 1) (v_all - v_(all but c)): a scale for each condition by itself.

        A scale of 1 costs nothing. Each difference is taken beside all other conditions, so they keep
        saying what goes together; where only c is given, this is `simple(g_c)`.
        """
        all_but = [
            (1 - scale, ConditionSet(frozenset({name}), all_but=True)) for name, scale in scales.items()
        ]
        return cls.of((1 + math.fsum(g - 1 for g in scales.values()), EVERYTHING), *all_but)

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
            check_named(name, scales, text)
            scales[name] = number(scale, text)
        return cls.per_control(scales)


def summed_weights(weights: Iterable[tuple[Key, float]]) -> dict[Key, float]:
    """The sum of the weights of each key, in order of first appearance, without those that sum to zero."""
    parts: dict[Key, list[float]] = {}
    for key, weight in weights:
        parts.setdefault(key, []).append(weight)
    sums = {key: math.fsum(values) for key, values in parts.items()}
    return {key: total for key, total in sums.items() if abs(total) > 1e-9}


def check_named(name: str, earlier: Container[str], text: str) -> None:
    """ValueError unless the guidance `text` may name this condition here, and has not named it before."""
    if name in earlier:
        raise ValueError(f"guidance {text!r} names {name!r} twice")
    if not is_guided(name):
        expected = ", ".join(guided_names())
        raise ValueError(f"guidance {text!r} names {name!r} where one of {expected} was expected")


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
