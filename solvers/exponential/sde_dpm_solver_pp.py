"""SDE-DPM-Solver++: exponential multistep methods for the reverse SDE that follow the data prediction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from solvers.exponential.dpm_solver_pp import multistep_weights
from solvers.exponential.form import DATA, Form
from solvers.exponential.remembering import Remembering, Variant


@dataclass(frozen=True, slots=True)
class SDEDPMSolverPP(Remembering):
    r"""SDE-DPM-Solver++."""

    order: int = 2
    variant: ClassVar[Variant] = "multistep"
    form: ClassVar[Form] = DATA
    stochastic: ClassVar[bool] = True
    reads_clock: ClassVar[bool] = True
    strong_order: ClassVar[float] = 1.0

    @property
    def deterministic_order(self) -> int:
        """The order without noise, or where x̂ depends on time alone."""
        return self.order

    @property
    def weak_order(self) -> int:
        """Order of expectations."""
        return min(self.order, 2)

    def weights(self, ratios: Sequence[float], length: float) -> Sequence[float]:
        """Return the published weights of 2M and the exact ones of the quadratic for 3M."""
        return multistep_weights(self.order, ratios, length)
