"""Euler–Maruyama: Euler's step plus the noise of the step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from solvers.arrays import Array
from solvers.method import Planned
from solvers.noise import Increment
from solvers.problem import SDE


@dataclass(frozen=True, slots=True)
class EulerMaruyama(Planned):
    r"""Euler–Maruyama for :math:`dX = f(t, X)\,dt + g(t)\,dW`.

    .. math:: x_1 = x + h f(t_0, x) + g(t_0)\,\Delta W, \quad \Delta W \sim N(0, |h| I)

    Weak order 1, strong order 1 (additive noise, for which it is Milstein's method), one evaluation per step, never at
    the last time of the grid: ``f`` may diverge there.

    References: Maruyama, Continuous Markov processes and stochastic equations, Rend. Circ. Mat. Palermo 4 (1955);
    Kloeden & Platen, Numerical Solution of Stochastic Differential Equations (1992), 10.2 and 14.1.
    """

    order: ClassVar[int] = 1
    weak_order: ClassVar[int] = 1
    strong_order: ClassVar[float] = 1.0
    evaluations: ClassVar[int] = 1
    nodes: ClassVar[tuple[float, ...]] = (0.0,)
    stochastic: ClassVar[bool] = True
    solves: ClassVar[type[SDE]] = SDE

    def init(self, problem: SDE, t0: float, x0: Array) -> None:
        """Carry nothing between steps."""

    def step(self, problem: SDE, t0: float, t1: float, x: Array, state: None, noise: Increment) -> tuple[Array, None]:
        """Go from ``x`` at t0 to t1."""
        kick = problem.diffusion(t0) * noise(t0, t1)
        return x + (t1 - t0) * problem.drift(t0, x) + kick, None
