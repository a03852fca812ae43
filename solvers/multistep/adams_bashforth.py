"""Adams–Bashforth methods on any grid."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

from solvers.arrays import Array
from solvers.errors import expect_order
from solvers.method import Method, Planned, at_node
from solvers.multistep.lagrange import difference_weights
from solvers.problem import ODE
from solvers.runge_kutta import RK4, Euler, Midpoint

Past = tuple[tuple[float, Array], ...]


@dataclass(frozen=True, slots=True)
class AdamsBashforth(Planned):
    r"""The polynomial through the last ``order`` slopes, integrated over the step, for :math:`\dot x = f(t, x)`.

    .. math:: x_1 = x + \int_{t_0}^{t_1} P(u)\,du, \qquad P(t_{-j}) = f(t_{-j}, x_{-j}), \quad j = 0 \dots p - 1

    The steps may differ: the weights are those of the times at hand. One evaluation per step, at its start, but for
    the first p − 1 steps: a lower order there would lower the order of the whole, so they are steps of
    :class:`Midpoint` for p = 2 and of :class:`RK4` for p = 3 and 4. That costs 1, 6 or 9 evaluations more.

    Args:
        order: p, from 1 to 4; 1 is Euler's method.

    Raises:
        TypeError, ValueError: an order that is no whole number from 1 to 4.

    References: Bashforth & Adams, An Attempt to Test the Theories of Capillary Action (1883); Hairer, Nørsett &
    Wanner, Solving Ordinary Differential Equations I (1993), III.1 and III.5 for variable steps.
    """

    order: int = 2
    evaluations: ClassVar[int] = 1
    nodes: ClassVar[tuple[float, ...]] = (0.0,)
    stochastic: ClassVar[bool] = False
    solves: ClassVar[type[ODE]] = ODE

    def __post_init__(self) -> None:
        expect_order(self.order, (1, 2, 3, 4), "AdamsBashforth")

    def init(self, problem: ODE, t0: float, x0: Array) -> Past:
        """Start without a past."""
        return ()

    def step(self, problem: ODE, t0: float, t1: float, x: Array, state: Past, noise: None) -> tuple[Array, Past]:
        """Go from ``x`` at t0 to t1."""
        if len(state) < self.order - 1:
            return self._start(problem, t0, t1, x, state)
        f0, h = problem.drift(t0, x), t1 - t0
        weights = difference_weights([(time - t0) / h for time, _ in state], [h / 2.0, h / 3.0, h / 4.0])
        moved = x + h * f0
        for weight, (_, f) in zip(weights, state):
            moved = moved + weight * (f - f0)
        return moved, ((t0, f0), *state)[: self.order - 1]

    def _start(self, problem: ODE, t0: float, t1: float, x: Array, state: Past) -> tuple[Array, Past]:
        """Take a step of one of the first p − 1, and keep the slope at its start: the starter's first evaluation."""
        slopes: list[Array] = []

        def recorded(time: float, y: Array) -> Array:
            slopes.append(problem.drift(time, y))
            return slopes[-1]

        moved, _ = self.starter.step(ODE(recorded), t0, t1, x, None, None)
        return moved, ((t0, slopes[0]), *state)

    @property
    def starter(self) -> Method:
        """The one-step method that makes the first steps."""
        return (Euler(), Midpoint(), RK4(), RK4())[self.order - 1]

    def visits(self, problem: ODE, ts: list[float]) -> list[list[float]]:
        """Return the times at which each step evaluates."""
        found = []
        for k, (t0, t1) in enumerate(pairwise(ts)):
            nodes = self.starter.nodes if k < self.order - 1 else self.nodes
            found.append([at_node(node, t0, t1) for node in nodes])
        return found
