r"""Costs, lengths and slopes of Gaussian targets, per eigenvalue c of the covariance.

.. math::
   C(v) = |m|^2\int\dot\alpha^2\,dt + \sum_c \int\dot\rho^2\,dt, \qquad
   v(x_t, t) \sim N\bigl(\dot\alpha m, \operatorname{diag}(\dot\rho^2)\bigr), \qquad
   \nabla v = \operatorname{diag}(\dot\rho/\rho)

in the eigenbasis, with :math:`\rho^2 = \alpha^2 c + \sigma^2`. The length needs the mean norm of a Gaussian vector with
unequal variances D and mean μ, a one-dimensional integral: with :math:`Q = |x|^2`,

.. math::
   \mathbb E|x| = \frac{1}{2\sqrt\pi}\int_0^\infty\bigl(1 - \mathbb E e^{-sQ}\bigr)s^{-3/2}\,ds, \qquad
   \mathbb E e^{-sQ} = \prod_i (1 + 2sD_i)^{-1/2}\exp\Bigl(-\frac{s\mu_i^2}{1 + 2sD_i}\Bigr).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from interpolants.path import Path, expect_path
from interpolants.targets import Gaussian
from interpolants.transport.clock import Clock
from solvers.errors import explain

__all__ = ["cost", "expect_gaussian", "length", "mean_norm", "slope", "wasserstein"]

Floats = NDArray[np.float64]

_STEP, _REACH = 0.3, 66.0


def expect_gaussian(path: Path) -> Gaussian:
    """Return the target of a path that has a Gaussian one."""
    expect_path(path)
    if not isinstance(path.target, Gaussian):
        raise TypeError(explain("a Path with a Gaussian target", type(path.target).__name__, "use Gaussian(mean, cov)"))
    return path.target


def cost(path: Path) -> float:
    """Return C(v), to 1e-9; infinite where a degenerate direction or the schedule makes it so."""
    clock, (values, counts, shifts) = Clock(path.schedule), spectrum(path)
    shift = float(shifts.sum())
    if clock.infinite_energy(values, shift > 0):
        return math.inf
    total = shift * clock.integrate(lambda time: float(clock.d_alpha(time)) ** 2) if shift > 0 else 0.0
    for c, count in zip(values, counts):
        total += float(count) * clock.integrate(_energy(clock, np.array([c])), clock.layers(np.array([c])))
    return total


def _energy(clock: Clock, variance: Floats) -> Callable[[float], float]:
    return lambda time: float(clock.spread(time, variance)[1][0]) ** 2


def length(path: Path) -> float:
    r"""Return :math:`\int\mathbb E|v|\,dt`.

    One variance and no mean: :math:`\sqrt2\,\Gamma(\frac{d+1}2)/\Gamma(\frac d2)` times the total variation of ρ, which
    is a sum over the turning points of ρ. Otherwise the integral over time of :func:`mean_norm`.
    """
    clock, (values, counts, shifts) = Clock(path.schedule), spectrum(path)
    turns = sorted({time for c in values for time in clock.turns(float(c))})
    if len(values) == 1 and shifts[0] == 0:
        points = [clock.lo, *turns, clock.hi]
        rho = [float(clock.rho(time, values)[0]) for time in points]
        d = int(counts[0])
        factor = math.sqrt(2) * math.exp(math.lgamma((d + 1) / 2) - math.lgamma(d / 2))
        return factor * sum(abs(b - a) for a, b in pairwise(rho))

    def speed(time: float) -> float:
        return mean_norm(float(clock.d_alpha(time)) ** 2 * shifts, clock.spread(time, values)[1] ** 2, counts)

    return clock.integrate(speed, [*turns, *clock.layers(values)])


def slope(path: Path) -> float:
    r"""Return :math:`\sup_t\max_c|\dot\rho/\rho|`; infinite where a variance is 0 or the schedule has a pole."""
    from scipy.optimize import minimize_scalar

    clock, (values, _, _) = Clock(path.schedule), spectrum(path)
    starts_at_zero = float(path.schedule.sigma(clock.lo)) == 0
    if ((values == 0).any() and starts_at_zero) or clock.growth.poles or clock.noise.poles:
        return math.inf
    times, best = clock.times(), 0.0
    for c in values:
        rates = np.abs(clock.rate(times, c)) / (path.schedule.alpha(times) ** 2 * c + path.schedule.sigma(times) ** 2)
        best = max(best, float(rates.max()))
        tops = np.flatnonzero((rates[1:-1] >= rates[:-2]) & (rates[1:-1] >= rates[2:])) + 1
        for k in tops[np.argsort(rates[tops])][-3:]:
            width = float(times[k + 1] - times[k - 1])
            found = minimize_scalar(
                _negative_rate(clock, np.array([c])),
                bounds=(times[k - 1], times[k + 1]),
                method="bounded",
                options={"xatol": 1e-9 * width},
            )
            best = max(best, -float(found.fun))
    return best


def _negative_rate(clock: Clock, variance: Floats) -> Callable[[float], float]:
    def rate(time: float) -> float:
        rho, d_rho = clock.spread(time, variance)
        return -abs(float(d_rho[0] / rho[0]))

    return rate


def wasserstein(path: Path) -> float:
    """Return W₂ between the two end marginals, which share their eigenbasis."""
    target = expect_gaussian(path)
    lo, hi = path.schedule.domain
    ends = [(path.schedule.alpha(time), path.schedule.sigma(time)) for time in (lo, hi)]
    spreads = [np.sqrt(alpha**2 * target.eigenvalues[0] + sigma**2) for alpha, sigma in ends]
    shift = (ends[0][0] - ends[1][0]) * target.mean
    return float(np.sqrt(np.sum(shift**2) + np.sum((spreads[0] - spreads[1]) ** 2)))


def spectrum(path: Path) -> tuple[Floats, Floats, Floats]:
    """Return the different eigenvalues, how often each occurs, and the squared mean in each eigenspace."""
    target = expect_gaussian(path)
    values, where, counts = np.unique(target.eigenvalues[0], return_inverse=True, return_counts=True)
    squares = (target.mean @ target.eigenvectors[0]) ** 2
    shifts = np.bincount(where.ravel(), squares, len(values))
    return values, np.asarray(counts, np.float64), np.asarray(shifts, np.float64)


def mean_norm(shifts: Floats, variances: Floats, counts: Floats) -> float:
    r"""Return E|x| of a Gaussian vector: groups of ``counts`` coordinates, each with one variance D and Σμ².

    In one dimension the folded normal has a closed form. Otherwise the trapezoidal rule in log s, where the integrand
    is analytic and bounded for \|Im log s\| < π/2 and decays like :math:`e^{-|\log s|/2}`: its error is below 1e-13.

    References: Trefethen & Weideman (2014), SIAM Review 56(3), theorem 5.1, for the rule.
    """
    size = float(shifts.sum() + counts @ variances)
    if size == 0:
        return 0.0
    if counts.sum() == 1:
        mu, deviation = math.sqrt(float(shifts[0])), math.sqrt(float(variances[0]))
        if deviation == 0:
            return mu
        z = mu / deviation
        return deviation * math.sqrt(2 / math.pi) * math.exp(-z * z / 2) + mu * math.erf(z / math.sqrt(2))
    y = np.arange(-_REACH, _REACH + _STEP, _STEP)
    s = np.exp(y)[:, None]
    stretch = 2 * s * (variances / size)
    exponent = -0.5 * np.log1p(stretch) @ counts - (s * (shifts / size) / (1 + stretch)).sum(1)
    return math.sqrt(size) * _STEP / (2 * math.sqrt(math.pi)) * float(np.sum(-np.expm1(exponent) * np.exp(-y / 2)))
