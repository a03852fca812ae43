r"""The density of a sampler's result on the line, step by step, without Monte Carlo.

A step whose noise is added to a map of x, as in Euler–Maruyama and its exponential relative, takes a density p to

.. math:: p^+(y) = \int \tilde p(y - s z)\,\varphi(z)\,dz, \qquad \tilde p(m(x)) = p(x) / m'(x),

with m the step without noise and s the standard deviation of its noise. The map is read off the method itself, so it
may be any model. Between grid points log p̃ is a spline of degree 5, beyond them a parabola; the integral is
Gauss–Hermite's with 32 nodes. Steps without noise are included, and m must rise.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import BSpline, PchipInterpolator, make_interp_spline

__all__ = ["kl", "propagate", "wasserstein2"]

Floats = NDArray[np.float64]
_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(32)
_LOG_WEIGHTS = np.log(_WEIGHTS / math.sqrt(2 * math.pi))
_DEGREE = 5


def propagate(problem: Any, method: Any, ts: Any, x: Floats, log_p: Floats) -> Floats:
    """Return log p at the last time on the points x, from log p at the first; what the sampler draws has that density.

    Raises:
        ValueError: a step whose map does not rise.
    """
    for t0, t1 in zip(ts[:-1].tolist(), ts[1:].tolist()):
        image, spread = _step(problem, method, t0, t1, x)
        slope = make_interp_spline(x, image, _DEGREE).derivative()(x)
        if not (slope > 0).all():
            raise ValueError(f"the map of the step from {t0} to {t1} does not rise: take shorter steps")
        pushed = _extended(image, log_p - np.log(slope))
        if spread == 0.0:
            log_p = pushed(x)
        else:
            values = pushed(x[:, None] - spread * _NODES) + _LOG_WEIGHTS
            top = values.max(1)
            log_p = top + np.log(np.exp(values - top[:, None]).sum(1))
    return log_p


def _step(problem: Any, method: Any, t0: float, t1: float, x: Floats) -> tuple[Floats, float]:
    """Return where a step goes without noise, and the standard deviation of the noise that it adds."""
    rows = x[:, None]
    still, moved = (
        method.step(problem, t0, t1, rows, method.init(problem, t0, rows), lambda a, b, z=z: np.full_like(rows, z))[0]
        for z in (0.0, math.sqrt(abs(t1 - t0)))
    )
    difference = moved - still
    spread = float(difference[len(x) // 2, 0])
    if abs(difference - spread).max() > 1e-12 + 1e-9 * abs(spread):
        raise ValueError("the noise of a step depends on the state")
    return still[:, 0], abs(spread)


def _extended(x: Floats, values: Floats) -> Callable[[Floats], Floats]:
    """Return the spline through values, continued beyond its ends by the parabolas that touch it there."""
    spline = make_interp_spline(x, values, _DEGREE)
    ends = [_parabola(spline, float(end)) for end in (x[0], x[-1])]

    def function(y: Floats) -> Floats:
        inside = spline(np.clip(y, x[0], x[-1]))
        for beyond, (end, slope, bend) in zip((y < x[0], y > x[-1]), ends):
            offset = np.where(beyond, y - end, 0.0)
            inside = inside + offset * (slope + 0.5 * bend * offset)
        return np.asarray(inside)

    return function


def _parabola(spline: BSpline, end: float) -> tuple[float, float, float]:
    return end, float(spline.derivative()(end)), min(float(spline.derivative(2)(end)), 0.0)


def kl(x: Floats, log_p: Floats, log_q: Floats) -> float:
    """Return KL(p‖q) of densities on equally spaced points."""
    p, ratio = np.exp(log_p), log_p - log_q
    # p − q adds nothing to the integral, and leaves a sum of terms that are not negative.
    return float(np.sum(p * (ratio + np.expm1(-ratio))) * (x[1] - x[0]))


def wasserstein2(x: Floats, log_p: Floats, log_q: Floats) -> float:
    """Return W₂ of densities on equally spaced points, by the monotone map between them."""
    levels = [make_interp_spline(x, np.exp(each), _DEGREE).antiderivative()(x) for each in (log_p, log_q)]
    below, others = (level / level[-1] for level in levels)
    known = np.concatenate([[True], np.diff(np.maximum.accumulate(others)) > 0])
    inside = (below > 1e-13) & (below < 1 - 1e-13)  # beyond, the levels are rounding
    image = PchipInterpolator(others[known], x[known])(below[inside])
    return math.sqrt(float(np.sum(np.exp(log_p[inside]) * (x[inside] - image) ** 2) * (x[1] - x[0])))
