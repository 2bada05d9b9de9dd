"""How a clip is drawn from the model: solver, steps, guidance."""

from __future__ import annotations

from dataclasses import dataclass

from flowmusic.api.pretrained import GenerationDefaults, check_solver
from flowmusic.flow.schedule import Guidance
from flowmusic.flow.solvers import SOLVERS


@dataclass(frozen=True)
class SamplerSettings:
    """How the ODE is solved; `guidance_text` is the expression that was given."""

    solver: str
    steps: int
    time_shift: float
    guidance: Guidance
    guidance_text: str

    @classmethod
    def of(
        cls,
        defaults: GenerationDefaults,
        steps: int | None = None,
        solver: str | None = None,
        guidance: str | None = None,
    ) -> SamplerSettings:
        """What is asked for, and the model's defaults for the rest; ValueError for what cannot be."""
        solver = defaults.solver if solver is None else solver
        steps = defaults.steps if steps is None else steps
        check_solver(solver, steps)
        text = defaults.guidance if guidance is None else guidance
        return cls(solver, steps, defaults.time_shift, Guidance.parse(text), text)

    def check_duration(self, duration_s: float) -> None:
        """ValueError if the guidance speaks of what comes after the end of the clip."""
        self.guidance.check_duration(duration_s)

    @property
    def is_adaptive(self) -> bool:
        """Whether the solver chooses its own steps."""
        return SOLVERS.get(self.solver).stages == 0
