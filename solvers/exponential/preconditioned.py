"""Gaussian preconditioning: the linear part of a step is the flow of a Gaussian, not that of a point."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from solvers.arrays import Array
from solvers.denoising import Denoising
from solvers.errors import explain
from solvers.exponential.dpm_solver_pp import DPMSolverPP
from solvers.method import Holding, Method, Planned, check_fits, visited

_METHOD = DPMSolverPP()


@dataclass(frozen=True, slots=True, eq=False)
class Preconditioned(Planned, Holding):
    r"""An exponential method in the coordinates of :math:`N(m, cI)`, whose flow it then follows exactly.

    With :math:`\varrho^2 = \alpha^2 c + \sigma^2`, the variance of :math:`x_t` for that Gaussian, the probability flow
    of :math:`z = x - \alpha m` is again a denoising flow, under the schedule :math:`(\alpha, \varrho)` and with

    .. math:: \hat z(t, z) = \frac{\varrho^2(\hat x - m) - \alpha c\,z}{\sigma^2}
              = \frac{\varrho^2}{\sigma^2}\bigl(\hat x - \hat x_{N(m, cI)}\bigr).

    For Gaussian data it is zero, and every step is exact; for other data only the difference to the Gaussian is
    approximated. ϱ does not vanish at the data end, so the last step, too, has a finite length in log(α/ϱ) and the
    order of the others. c = 0 is no preconditioning but for the mean.

    Order and evaluations are those of ``method``. Next to σ = 0 the bracket loses digits like
    :math:`u\varrho^2/\sigma^2`, and at σ = 0 it is not defined: a method that evaluates at the end of a step is
    refused.

    Args:
        method: a deterministic method for :class:`Denoising` problems.
        mean: m, a number or an array that broadcasts to the state, in its library and dtype.
        variance: :math:`c \ge 0`.

    Raises:
        TypeError, ValueError: a method of another kind; a variance that is no such number.

    References: Hochbruck, Ostermann & Schweitzer (2009), Exponential Rosenbrock-type methods, SIAM J. Numer. Anal. 47,
    for the idea of moving the linear part of the field into the exponential.
    """

    method: Method = _METHOD
    mean: Any = 0.0
    variance: float = 1.0
    stochastic: ClassVar[bool] = False
    reads_clock: ClassVar[bool] = False
    solves: ClassVar[type[Denoising]] = Denoising

    def __post_init__(self) -> None:
        name = type(self.method).__name__
        if getattr(self.method, "solves", None) is not Denoising or self.method.stochastic:
            remedy = "pass DPMSolverPP(), UniPC() or another of its kind"
            raise TypeError(explain("method: a deterministic one for denoising problems", name, remedy))
        if 1.0 in self.method.nodes:
            wanted = "method: one that does not evaluate at the end of a step"
            raise ValueError(explain(wanted, name, "pass DPMSolverPP() or UniPC()"))
        if not isinstance(self.variance, (int, float)) or not 0.0 <= self.variance < math.inf:
            remedy = "pass the variance of the data per coordinate"
            raise ValueError(explain("variance: a number, at least 0", repr(self.variance), remedy))

    def whitened(self, problem: Denoising) -> Denoising:
        """Return the problem in the coordinates z."""
        c, mean = float(self.variance), self._mean

        def rho(time: float) -> float:
            return math.hypot(math.sqrt(c) * problem.alpha(time), problem.sigma(time))

        def data(time: float, z: Array) -> Array:
            alpha, variance = problem.alpha(time), problem.sigma(time) ** 2
            shifted = problem.data(time, z + alpha * mean) - mean
            return (1.0 + alpha * alpha * c / variance) * shifted - (alpha * c / variance) * z

        def log_snr(time: float) -> float:
            alpha = problem.alpha(time)
            return 2.0 * (math.log(alpha) - math.log(rho(time))) if alpha else -math.inf

        def time_of_log_snr(value: float) -> float:
            ratio = math.exp(-value) - c
            return problem.time_of_log_snr(-math.log(ratio) if ratio > 0.0 else math.inf)

        parts = (problem.alpha, rho, log_snr, time_of_log_snr, problem.clock)
        return Denoising(data, *parts, poles=problem.poles, domain=problem.domain)

    @property
    def _mean(self) -> Any:
        # A numpy scalar would promote a float32 state; a Python float does not.
        return float(self.mean) if isinstance(self.mean, (int, float, np.generic)) else self.mean

    def fits(self, problem: Denoising, times: list[float]) -> None:
        """Refuse what the method inside refuses."""
        check_fits(self.method, self.whitened(problem), times)

    def init(self, problem: Denoising, t0: float, x0: Array) -> tuple[Denoising, Any]:
        """Carry the problem in z and what the method inside carries."""
        whitened = self.whitened(problem)
        return whitened, self.method.init(whitened, t0, x0 - problem.alpha(t0) * self._mean)

    def step(
        self, problem: Denoising, t0: float, t1: float, x: Array, state: tuple[Denoising, Any], noise: None
    ) -> tuple[Array, tuple[Denoising, Any]]:
        """Go from ``x`` at t0 to t1."""
        whitened, inner = state
        z, inner = self.method.step(whitened, t0, t1, x - problem.alpha(t0) * self._mean, inner, None)
        return z + problem.alpha(t1) * self._mean, (whitened, inner)

    def visits(self, problem: Denoising, ts: list[float]) -> list[list[float]]:
        """Return the times at which each step evaluates."""
        return visited(self.method, ts, self.whitened(problem))
