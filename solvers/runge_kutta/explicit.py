"""The step that all explicit Runge–Kutta methods share: it reads a tableau."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from solvers.arrays import Array
from solvers.method import Planned
from solvers.problem import ODE
from solvers.runge_kutta.tableau import Tableau, Term


class RungeKutta(Planned):
    """An explicit Runge–Kutta method: a tableau and nothing else.

    On a fixed grid each step evaluates its stages and no more; a slope at the end that only an estimate of the error
    or dense output would need is left out.
    """

    __slots__ = ()
    tableau: ClassVar[Tableau]
    stochastic: ClassVar[bool] = False
    solves: ClassVar[type[ODE]] = ODE

    @property
    def order(self) -> int:
        """Power of the step in the error at a fixed time."""
        return self.tableau.order

    @property
    def evaluations(self) -> int:
        """Evaluations of the problem per step."""
        return len(self.tableau.b)

    @property
    def nodes(self) -> tuple[float, ...]:
        """Fractions of a step at which the problem is evaluated."""
        return self.tableau.nodes

    def init(self, problem: ODE, t0: float, x0: Array) -> None:
        """Carry nothing between steps."""

    def step(self, problem: ODE, t0: float, t1: float, x: Array, state: None, noise: None) -> tuple[Array, None]:
        """Go from ``x`` at t0 to t1."""
        h, tableau, drift = t1 - t0, self.tableau, problem.drift
        slopes = [drift(t0, x)]
        for node, row in tableau.stages:
            slopes.append(drift(t1 if node == 1.0 else t0 + node * h, x + combine(h, row, slopes)))
        return x + combine(h, tableau.step, slopes), None


def combine(h: Any, row: Sequence[Term], slopes: Sequence[Array]) -> Array:
    r"""Return :math:`h\sum_i w_i k_i`; ``h`` is a float, or an array with a step for each row."""
    increment = None
    for weight, first, others in row:
        total = slopes[first]
        for index in others:
            total = total + slopes[index]
        total = (h * weight) * total
        increment = total if increment is None else increment + total
    return increment
