"""How a clip is drawn from the model: solver, steps, guidance."""

from __future__ import annotations

from dataclasses import dataclass

from flowmusic.api.pretrained import GenerationDefaults, check_solver
from flowmusic.flow.guidance import GuidanceSpec
from flowmusic.flow.schedule import Guidance

GuidanceSource = float | str | GuidanceSpec | Guidance
"""A scale, an expression (`Guidance.parse`), a rule, or a rule with its spans and times."""


def check_seed(seed: int) -> None:
    """ValueError unless noise can be drawn from it."""
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**63:
        raise ValueError(f"seed must be a whole number from 0 to 2^63 - 1, got {seed!r}")


@dataclass(frozen=True)
class SamplerSettings:
    """How the ODE is solved; `guidance_text` is how the guidance was written."""

    solver: str
    steps: int
    time_shift: float
    guidance: GuidanceSpec | Guidance
    guidance_text: str

    @classmethod
    def of(
        cls,
        defaults: GenerationDefaults,
        steps: int | None = None,
        solver: str | None = None,
        guidance: GuidanceSource | None = None,
    ) -> SamplerSettings:
        """What is asked for, and the model's defaults for the rest; ValueError for what cannot be."""
        solver = defaults.solver if solver is None else solver
        steps = defaults.steps if steps is None else steps
        check_solver(solver, steps)
        guidance = defaults.guidance if guidance is None else guidance
        said = str(guidance)
        if isinstance(guidance, GuidanceSpec):
            guidance = Guidance.of(guidance)
        elif not isinstance(guidance, Guidance):
            guidance = Guidance.parse(said)
        return cls(solver, steps, defaults.time_shift, guidance, said)

    def check_duration(self, duration_s: float) -> None:
        """ValueError if the guidance speaks of what comes after the end of the clip."""
        if isinstance(self.guidance, Guidance):
            self.guidance.check_duration(duration_s)
