"""How a clip is drawn from the model: solver, steps and guidance of a flow; sampling of a language model."""

from __future__ import annotations

from dataclasses import dataclass

from flowmusic.api.pretrained import GenerationDefaults, check_solver
from flowmusic.api.request import OF_A_FLOW, OF_A_LANGUAGE_MODEL, Request
from flowmusic.flow.schedule import Guidance
from flowmusic.flow.solvers import SOLVERS
from flowmusic.lm.sampling import TokenSampling, check_guidance

TOKENS = "tokens"
"""What stands in a sidecar for the solver of a clip that a language model drew."""


@dataclass(frozen=True)
class SamplerSettings:
    """How the ODE is solved, or how tokens are drawn; `guidance_text` is the expression that was given.

    `sampling` is None where a flow makes the clip; `refine` is that of a language model.
    """

    solver: str
    steps: int
    time_shift: float
    guidance: Guidance
    guidance_text: str
    sampling: TokenSampling | None = None
    refine: float = 0.0

    @classmethod
    def of(
        cls, defaults: GenerationDefaults, request: Request, guidance: str | None, draws_tokens: bool = False
    ) -> SamplerSettings:
        """What is asked for, and the model's defaults for the rest.

        Raises:
            ValueError: what cannot be, or what a model of the other kind is asked for.
        """
        text = defaults.guidance if guidance is None else guidance
        given = request.given()
        others = OF_A_FLOW if draws_tokens else OF_A_LANGUAGE_MODEL
        wrong = next((name for name in others if given.get(name)), None)
        if wrong is not None:
            kind = ("a language model", "a flow") if draws_tokens else ("a flow", "a language model")
            raise ValueError(f"the model is {kind[0]}: it has no {wrong}, which is for {kind[1]}")
        parsed = Guidance.parse(text)
        if draws_tokens:
            check_guidance(parsed)
            sampling = defaults.sampling.having(request.temperature, request.top_k, request.top_p)
            refine = defaults.refine if request.refine is None else request.refine
            return cls(TOKENS, 0, defaults.time_shift, parsed, text, sampling, refine)
        solver = defaults.solver if request.solver is None else request.solver
        steps = defaults.steps if request.steps is None else request.steps
        check_solver(solver, steps)
        return cls(solver, steps, defaults.time_shift, parsed, text)

    def check_duration(self, duration_s: float) -> None:
        """ValueError if the guidance speaks of what comes after the end of the clip."""
        self.guidance.check_duration(duration_s)

    @property
    def is_adaptive(self) -> bool:
        """Whether the solver chooses its own steps."""
        return self.sampling is None and SOLVERS.get(self.solver).stages == 0
