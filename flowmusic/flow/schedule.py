"""When guidance acts: over spans of the clip, over a part of the ODE from noise to latents, and how hard."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from itertools import pairwise

from flowmusic.flow.guidance import GuidanceSpec, check_named, number

OPTIONS = "'t=FROM-TO' and 'rescale=SHARE'"
_PART = re.compile(r"(?:([a-z0-9_]*)\s*=)?\s*([^@=]*?)\s*(?:@\s*([^-]*)-([^-]*))?")


@dataclass(frozen=True)
class GuidedSpan:
    """`spec` from start_s to before end_s."""

    start_s: float
    end_s: float
    spec: GuidanceSpec


@dataclass(frozen=True)
class Guidance:
    """A rule for every moment of the clip, and for which times t of the ODE it acts.

    spans          one after the other, from 0 to infinity
    t_from, t_to   outside of t_from <= t < t_to, the velocity is the plain v_all (a t_to of 1 includes 1)
    rescale        share phi of `rescaled` in the guided velocity (arXiv 2305.08891, §3.4)
    """

    spans: tuple[GuidedSpan, ...]
    t_from: float = 0.0
    t_to: float = 1.0
    rescale: float = 0.0

    def __post_init__(self) -> None:
        edges = [0.0, *(span.end_s for span in self.spans)]
        if [span.start_s for span in self.spans] != edges[:-1] or edges[-1] != math.inf:
            raise ValueError(f"guided spans must follow each other from 0 to infinity, got {self.spans}")
        if not 0 <= self.t_from < self.t_to <= 1:
            raise ValueError(f"guidance must act for t from below to above, got {self.t_from} to {self.t_to}")
        if not 0 <= self.rescale <= 1:
            raise ValueError(f"guidance must be rescaled by a share from 0 to 1, got {self.rescale}")

    @classmethod
    def of(cls, spec: GuidanceSpec) -> Guidance:
        """One rule, always."""
        return cls((GuidedSpan(0.0, math.inf, spec),))

    @classmethod
    def parse(cls, text: str) -> Guidance:
        """Read what `GuidanceSpec.parse` reads, spans such as `chords=3@0-8,1@8-`, and options after `;`.

        `3; t=0-0.8; rescale=0.5` guides for t below .8 only, and takes half of the velocity rescaled.
        Where no span of a name holds, its scale is 1. ValueError if it cannot be read.
        """
        rule, *options = text.split(";")
        spans = _spans(rule, text) if "@" in rule else cls.of(GuidanceSpec.parse(rule)).spans
        (t_from, t_to), rescale = (0.0, 1.0), 0.0
        for option in options:
            name, _, value = (piece.strip() for piece in option.partition("="))
            if name == "t" and value.count("-") == 1:
                first, last = value.split("-")
                t_from, t_to = number(first, text), number(last, text)
            elif name == "rescale":
                rescale = number(value, text)
            else:
                raise ValueError(
                    f"guidance {text!r} is not understood at {option.strip()!r}: after ';' stand {OPTIONS}"
                )
        return cls(spans, t_from, t_to, rescale)

    @property
    def whole_way(self) -> bool:
        """Whether it acts at every t."""
        return self.t_from == 0 and self.t_to == 1

    def check_duration(self, duration_s: float) -> None:
        """ValueError if a span begins or ends after the end of a clip of duration_s."""
        last = self.spans[-1].start_s
        if last > duration_s + 1e-6:
            raise ValueError(
                f"guidance has a span with an edge at {last:g} s, but the clip ends at {duration_s:g} s"
            )


def _spans(rule: str, text: str) -> tuple[GuidedSpan, ...]:
    """Of scales by name, each with its own spans: one rule between any two edges of them."""
    scales = _read_scales(rule, text)
    for name, values in scales.items():
        ordered = sorted(values)
        for (_, end_s, _), (start_s, _, _) in pairwise(ordered):
            if start_s < end_s:
                raise ValueError(f"guidance {text!r} has two values of {name or 'all'} at {start_s:g} s")
    given = {edge for values in scales.values() for start_s, end_s, _ in values for edge in (start_s, end_s)}
    edges = sorted({0.0, math.inf} | given)
    spans = []
    for start_s, end_s in pairwise(edges):
        now = {
            name: scale
            for name, values in scales.items()
            for first, last, scale in values
            if first <= start_s < last
        }
        spec = GuidanceSpec.simple(now.get("", 1.0)) if "" in scales else GuidanceSpec.per_control(now)
        spans.append(GuidedSpan(start_s, end_s, spec))
    return tuple(spans)


def _read_scales(rule: str, text: str) -> dict[str, list[tuple[float, float, float]]]:
    """(start_s, end_s, scale) of each span by name; the name '' stands for all conditions together."""
    scales: dict[str, list[tuple[float, float, float]]] = {}
    name = ""
    for part in rule.split(","):
        match = _PART.fullmatch(part.strip())
        if match is None:
            raise ValueError(
                f"guidance {text!r} is not understood at {part.strip()!r}: expected spans as in "
                "'chords=3@0-8,1@8-,text=2'"
            )
        if match[1] is not None:
            name = match[1]
            check_named(name, scales, text)
        if name and "" in scales:
            raise ValueError(f"guidance {text!r} has scales with and without a name: expected one of both")
        start_s = number(match[3], text) if match[3] else 0.0
        end_s = number(match[4], text) if match[4] and match[4].strip() else math.inf
        if start_s >= end_s:
            raise ValueError(f"guidance {text!r} has a span that ends before it begins, at {part.strip()!r}")
        scales.setdefault(name, []).append((start_s, end_s, number(match[2], text)))
    return scales
