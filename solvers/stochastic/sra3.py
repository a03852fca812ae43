"""SRA3: three evaluations, strong order 3/2, and order 3 where there is no noise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from solvers.arrays import Array
from solvers.method import Planned
from solvers.noise import Increment, with_area
from solvers.problem import SDE


@dataclass(frozen=True, slots=True)
class SRA3(Planned):
    r"""Rößler's SRA3 for :math:`dX = f(t, X)\,dt + g(t)\,dW`.

    With :math:`J = \frac1{|h|}\int_0^{|h|} W_u\,du = \tfrac12\Delta W + H`, H the space–time Lévy area of the step,

    .. math::
        k_1 &= f(t_0, x), \qquad k_2 = f(t_1, x + h k_1), \\
        k_3 &= f\bigl(t_0 + \tfrac12 h,\ x + \tfrac h4 (k_1 + k_2) + (g(t_1) + \tfrac12 g(t_0)) J\bigr), \\
        x_1 &= x + \tfrac h6 (k_1 + k_2 + 4 k_3) + g(t_1)\,\Delta W + \bigl(g(t_0) - g(t_1)\bigr) J

    Weak order 2, strong order 3/2, three evaluations per step, one of them at its end: ``f`` must be finite at the last
    time of the grid. Where g = 0 it is a Runge–Kutta method of order 3: next to :class:`SRA1` it pays where the noise
    is small. In a public library the last term has the other sign, which costs the order where ``g`` varies.

    References: Rößler, Runge–Kutta methods for the strong approximation of solutions of stochastic differential
    equations, SIAM J. Numer. Anal. 48 (2010), scheme SRA3.
    """

    order: ClassVar[int] = 2
    weak_order: ClassVar[int] = 2
    strong_order: ClassVar[float] = 1.5
    evaluations: ClassVar[int] = 3
    nodes: ClassVar[tuple[float, ...]] = (0.0, 1.0, 0.5)
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
        k2 = problem.drift(t1, x + h * k1)
        k3 = problem.drift(t0 + 0.5 * h, x + (0.25 * h) * (k1 + k2) + (g1 + 0.5 * g0) * J)
        return x + (h / 6.0) * (k1 + k2 + 4.0 * k3) + g1 * dW + (g0 - g1) * J, None
