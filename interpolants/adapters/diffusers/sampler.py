"""Which problem a method solves, for a schedule, a prediction and a w."""

from __future__ import annotations

from dataclasses import dataclass

from interpolants.diffusion import Zero
from interpolants.dynamics import pose
from interpolants.prediction import Prediction
from interpolants.rate import DiffusionCoefficient, expect_diffusion
from interpolants.schedule import Schedule
from solvers import SDE
from solvers.errors import explain
from solvers.method import Method
from solvers.problem import Field, Problem

__all__ = ["Sampler"]


@dataclass(frozen=True)
class Sampler:
    """All of a sampler but its network and its grid."""

    schedule: Schedule
    prediction: Prediction
    method: Method
    w: DiffusionCoefficient | None

    def __post_init__(self) -> None:
        name, takes = type(self.method).__name__, self.takes_w
        if takes and self.w is None:
            remedy = "pass w=diffusion.KL() or another from interpolants.diffusion"
            raise TypeError(explain(f"a diffusion coefficient w for {name}", "None", remedy))
        if not takes and self.w is not None and expect_diffusion(self.w).expression(self.schedule) != 0:
            remedy = "leave w out, or choose ExponentialEulerMaruyama() or a method for SDEs"
            raise ValueError(explain(f"no w for {name}, which has none", repr(self.w), remedy))

    @property
    def takes_w(self) -> bool:
        """Whether the method is for any w."""
        return self.method.solves is SDE or bool(getattr(self.method, "reads_clock", False))

    def problem(self, model: Field) -> Problem:
        """Return the problem that the method solves for a network."""
        w = Zero() if self.w is None else self.w
        return pose(self.method.solves, self.schedule, model, self.prediction, w)
