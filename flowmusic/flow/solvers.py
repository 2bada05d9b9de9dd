"""The solvers of the ODE by name; importing them does not import torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from features.registry import Registry

if TYPE_CHECKING:
    from torch import Tensor


class Solver(Protocol):
    """A way to follow dx/dt = velocity(t, x) from one time to another.

    Attributes:
        stages: evaluations of the velocity in a step; 0 where the solver chooses its steps itself. Such a
            solver is given one clip at a time, because its choice would couple the clips of a batch.
    """

    @property
    def stages(self) -> int: ...

    def __call__(
        self, velocity: Callable[[Tensor, Tensor], Tensor], x_0: Tensor, times: Tensor, tolerance: float
    ) -> Tensor:
        """x at times[-1].

        Args:
            velocity: (t (), x (B, T, D)) -> (B, T, D).
            x_0: (B, T, D), x at times[0].
            times: (steps + 1,), rising, of the dtype of x_0.
            tolerance: of the error, relative and absolute; fixed steps take no notice of it.
        """
        ...


SOLVERS: Registry[Solver] = Registry(
    "solvers",
    "solver",
    {
        "euler": "flowmusic.flow.solver:EULER",
        "midpoint": "flowmusic.flow.solver:MIDPOINT",
        "heun": "flowmusic.flow.solver:HEUN",
        "rk4": "flowmusic.flow.solver:RK4",
        "dopri5": "flowmusic.flow.solver:DOPRI5",
    },
)
