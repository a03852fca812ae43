"""SRA1: two evaluations, strong order 3/2, by the area under the path of the noise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from solvers.arrays import Array
from solvers.method import Planned
from solvers.noise import Increment, with_area
from solvers.problem import SDE


@dataclass(frozen=True, slots=True)
class SRA1(Planned):
    r"""Rößler's SRA1 for :math:`dX = f(t, X)\,dt + g(t)\,dW`.

    With :math:`J = \frac1{|h|}\int_0^{|h|} W_u\,du = \tfrac12\Delta W + H`, H the space–time Lévy area of the step,

    .. math::
        k_1 &= f(t_0, x), \quad k_2 = f\bigl(t_0 + \tfrac34 h,\ x + \tfrac34 h k_1 + \tfrac32 g(t_1) J\bigr), \\
        x_1 &= x + \tfrac h3 (k_1 + 2 k_2) + g(t_1)\,\Delta W + \bigl(g(t_0) - g(t_1)\bigr) J

    Weak order 2, strong order 3/2, two evaluations per step, never at the last time of the grid; ``g`` is asked there.
    Two normals per step. Needs a smooth ``g``: where :math:`g^2` has a simple zero at an end of the grid, as
    :math:`w_t = \sigma_t` has at t = 0, the orders are a little lower.

    References: Rößler, Runge–Kutta methods for the strong approximation of solutions of stochastic differential
    equations, SIAM J. Numer. Anal. 48 (2010), scheme SRA1.
    """

    order: ClassVar[int] = 2
    weak_order: ClassVar[int] = 2
    strong_order: ClassVar[float] = 1.5
    evaluations: ClassVar[int] = 2
    nodes: ClassVar[tuple[float, ...]] = (0.0, 0.75)
    noise_nodes: ClassVar[tuple[float, ...]] = (0.0, 1.0)
    stochastic: ClassVar[bool] = True
    solves: ClassVar[type[SDE]] = SDE

    def init(self, problem: SDE, t0: float, x0: Array) -> None:
        """Carry nothing between steps."""

    def step(self, problem: SDE, t0: float, t1: float, x: Array, state: None, noise: Increment) -> tuple[Array, None]:
        """Go from ``x`` at t0 to t1."""
        h, g0, g1 = t1 - t0, problem.diffusion(t0), problem.diffusion(t1)
        dW, area = with_area(noise, t0, t1)
        J = 0.5 * dW + area
        k1 = problem.drift(t0, x)
        k2 = problem.drift(t0 + 0.75 * h, x + (0.75 * h) * k1 + (1.5 * g1) * J)
        return x + (h / 3.0) * (k1 + 2.0 * k2) + g1 * dW + (g0 - g1) * J, None
