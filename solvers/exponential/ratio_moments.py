r"""Moments of a step in time against the measure dr, :math:`r = \sigma/\alpha`, by adaptive Gauss quadrature."""

from __future__ import annotations

import sys

import numpy as np

from solvers.denoising import Denoising
from solvers.exponential.place import Place

_NODES, _WEIGHTS = (array.tolist() for array in np.polynomial.legendre.leggauss(6))
_ACCURACY = 1e-13
_ROUNDING = 4.0 * sys.float_info.epsilon
_DEEPEST = 12


def ratio_moments(problem: Denoising, start: Place, end: Place, count: int) -> list[float]:
    r"""Return :math:`\mu_k = \int_{r_t}^{r_s} u^k\,dr`, k = 1 … ``count``, u the fraction of the step in time.

    By parts :math:`\mu_k = -k\int_0^1 u^{k-1}(r_u - r_s)\,du`, which needs no derivative. Towards σ = 0 the fraction is
    :math:`1 - v^2`, for there r may grow like a root of time. α must not vanish at the start.

    Args:
        problem: whose α and σ are evaluated inside the step.
        start: the place t.
        end: the place s.
        count: how many moments, at most 3.
    """
    last = end.sigma / end.alpha
    squared = end.sigma == 0.0

    def integrand(v: float) -> list[float]:
        u, width = (1.0 - v * v, 2.0 * v) if squared else (v, 1.0)
        time = start.time + u * (end.time - start.time)
        above = width * (problem.sigma(time) / problem.alpha(time) - last)
        return [-k * u ** (k - 1) * above for k in range(1, count + 1)]

    def gauss(low: float, high: float) -> list[float]:
        middle, half = 0.5 * (low + high), 0.5 * (high - low)
        values = [integrand(middle + half * node) for node in _NODES]
        return [half * sum(w * value[k] for w, value in zip(_WEIGHTS, values)) for k in range(count)]

    def refine(low: float, high: float, whole: list[float], depth: int) -> list[float]:
        middle = 0.5 * (low + high)
        left, right = gauss(low, middle), gauss(middle, high)
        both = [a + b for a, b in zip(left, right)]
        if depth == 0 or all(abs(a - b) <= accuracy for a, b in zip(whole, both)):
            return both
        halves = refine(low, middle, left, depth - 1), refine(middle, high, right, depth - 1)
        return [a + b for a, b in zip(*halves)]

    first = start.sigma / start.alpha
    size = abs(last - first)
    # A short step cannot do better than the rounding of r: without this floor it would be halved to the end.
    accuracy = max(_ACCURACY * size, _ROUNDING * max(first, last))
    return refine(0.0, 1.0, gauss(0.0, 1.0), _DEEPEST)
