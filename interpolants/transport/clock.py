r"""How a Gaussian moves in time, and integrals over it.

Of one component :math:`N(m, c)` the path makes :math:`N(\alpha m, \rho^2)` with :math:`\rho^2 = \alpha^2 c + \sigma^2`
and :math:`\rho\dot\rho = \alpha\dot\alpha\,c + \sigma\dot\sigma`. The two products stay finite where a factor does not.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from sympy import Rational

from interpolants.coefficient import Coefficient
from interpolants.schedule import Schedule
from solvers.errors import explain

__all__ = ["BREAKS", "Clock", "graded"]

Floats = NDArray[np.float64]

BREAKS = np.array([0, 1e-12, 1e-10, 1e-8, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 0.05, 0.2, 0.5, 0.8, 0.95, 0.99, 1 - 1e-4, 1])
"""Fractions of the domain between which integrands are smooth enough for adaptive Gauss–Kronrod.

A variance c makes a layer of width √c (Linear) or c (VP) at the data end.
"""


def graded(n: int) -> tuple[Floats, Floats]:
    r"""Return n Gauss–Legendre nodes and weights on [0, 1] in s with :math:`t = \sin^2(\pi s/2)`.

    The change of variable turns square roots at either end into smooth functions.
    """
    nodes, weights = np.polynomial.legendre.leggauss(n)
    angle = np.pi * (nodes + 1) / 4
    return np.sin(angle) ** 2, weights * np.pi / 4 * np.sin(2 * angle)


class Clock:
    """The coefficients of a schedule that move Gaussians."""

    def __init__(self, schedule: Schedule):
        self.schedule = schedule
        self.lo, self.hi = schedule.domain
        found = schedule.expressions
        self.growth = schedule.coefficient(found["alpha"] * found["d_alpha"])
        self.noise = schedule.coefficient(found["sigma"] * found["d_sigma"])
        self.d_alpha = schedule.quantity("d_alpha")
        self.d_sigma = schedule.quantity("d_sigma")

    def rho(self, time: float, variances: Floats) -> Floats:
        """Return ρ for every variance."""
        return np.hypot(float(self.schedule.alpha(time)) * np.sqrt(variances), float(self.schedule.sigma(time)))

    def spread(self, time: float, variances: Floats) -> tuple[Floats, Floats]:
        """Return ρ and ρ̇ for every variance; a variance of 0 has σ and σ̇."""
        rho = self.rho(time, variances)
        positive = variances > 0
        slope = np.zeros_like(rho) if positive.all() else np.full_like(rho, self.d_sigma(time))
        slope[positive] = (self.growth(time) * variances[positive] + self.noise(time)) / rho[positive]
        return rho, slope

    def rate(self, times: Floats, c: float) -> Floats:
        """Return ρρ̇ at many times."""
        return np.asarray(self.growth(times) * c + self.noise(times))

    def times(self, per_decade: int = 16) -> Floats:
        """Return times from end to end, dense towards both."""
        near = np.geomspace(1e-14, 0.1, 13 * per_decade)
        fractions = np.concatenate([[0.0], near, np.linspace(0.1, 0.9, 40 * per_decade), 1 - near[::-1], [1.0]])
        return np.unique(np.clip(self.lo + (self.hi - self.lo) * fractions, self.lo, self.hi))

    def turns(self, c: float) -> list[float]:
        """Return the interior times at which ρ̇ changes its sign; round-off of a ρ that stays is none."""
        from scipy.optimize import brentq

        times = self.times()[1:-1]
        growth, noise = np.asarray(self.growth(times)) * c, np.asarray(self.noise(times))
        real = np.abs(growth + noise) > 16 * np.finfo(np.float64).eps * (np.abs(growth) + np.abs(noise))
        times, rates = times[real], (growth + noise)[real]

        def rate(time: float) -> float:
            return float(self.growth(time) * c + self.noise(time))

        changes = np.flatnonzero(np.sign(rates[:-1]) * np.sign(rates[1:]) < 0)
        return [brentq(rate, times[k], times[k + 1], xtol=1e-15) for k in changes]

    def layers(self, variances: Floats) -> list[float]:
        """Return times below the first of BREAKS, a factor 1e-3 apart, down to the layer of the least variance."""
        least = float(variances[variances > 0].min(initial=1.0))
        count = max(0, math.ceil((-12 - math.log10(least)) / 3) + 2) if least < 1e-11 else 0
        return [self.lo + (self.hi - self.lo) * 10.0 ** (-12 - 3 * (k + 1)) for k in range(count)]

    def infinite_energy(self, variances: Floats, moves: bool) -> bool:
        r"""Whether :math:`\int\dot\rho^2` of a variance diverges, or :math:`\int\dot\alpha^2` where the mean moves."""
        if moves and any(_square_diverges(self.d_alpha, which) for which in (0, 1)):
            return True
        if (variances == 0).any() and _square_diverges(self.d_sigma, 0):
            return True
        return any(self._rate_diverges(float(c)) for c in np.unique(variances[variances > 0]))

    def _rate_diverges(self, c: float) -> bool:
        """Judge ρρ̇ = αα̇c + σσ̇: ρ itself is neither 0 nor infinite at an end. Two poles may cancel in the sum."""
        both = [[_square_diverges(part, which) for part in (self.growth, self.noise)] for which in (0, 1)]
        if any(map(all, both)):
            total = self.schedule.coefficient(self.growth.expression * Rational(c) + self.noise.expression)
            return any(_square_diverges(total, which) for which in (0, 1))
        return any(map(any, both))

    def integrate(
        self, integrand: Callable[[float], float], breaks: Iterable[float] = (), accuracy: float = 1e-12
    ) -> float:
        """Integrate a function of time over the domain by adaptive Gauss–Kronrod.

        Raises ValueError where the estimated error of the result is above 1e-9 of it.
        """
        from scipy import integrate  # half of the import time of the package, and only quadrature needs it

        points = np.unique([*(self.lo + (self.hi - self.lo) * BREAKS), *breaks])
        total = error = 0.0
        for a, b in sorted(pairwise(points), key=lambda pair: pair[0] - pair[1]):
            # The widest first: what they leave of the allowed error is plenty for the others.
            options = {"epsabs": max(1e-15, accuracy * abs(total)), "epsrel": accuracy, "limit": 400}
            part = integrate.quad(integrand, a, b, **options, full_output=1)  # which turns warnings into the error
            total, error = total + float(part[0]), error + float(part[1])
        if not error <= 1e-9 * abs(total) + 1e-12:
            received = f"{total:g} with an error of about {error:.1g}"
            remedy = "check the schedule near the ends of its domain with certify"
            raise ValueError(explain("an integral over time that converges", received, remedy))
        return total


def _square_diverges(coefficient: Coefficient, which: int) -> bool:
    """Whether the integral of the square is infinite at an end; a logarithm is of order 0."""
    ends = coefficient.ends
    return bool(ends) and 2 * ends[which].order <= -1
