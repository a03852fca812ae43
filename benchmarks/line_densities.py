r"""The density of a sampler's result on the line, step by step, without Monte Carlo.

A step whose noise is added to a map of x, as in Euler–Maruyama and its exponential relative, takes a density p to

.. math:: p^+(y) = \int N(y;\, m(x), s^2)\,p(x)\,dx = \int\tilde p(y - s z)\,\varphi(z)\,dz, \qquad
          \tilde p(m(x)) = p(x) / m'(x),

with m the step without noise and s the standard deviation of its noise. The map is read off the method itself, so it
may be any model. Where s is small beside the details of p̃, and none included, the second form is Gauss–Hermite's rule
on a spline of log p̃ of degree 5, continued by parabolas; m must rise. Elsewhere the first form is a sum over equally
spaced points, exact to rounding where s is wide beside the images of neighbours.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import PchipInterpolator, make_interp_spline

__all__ = ["kl", "propagate", "wasserstein2"]

Floats = NDArray[np.float64]
_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(24)
_LOG_WEIGHTS = np.log(_WEIGHTS / math.sqrt(2 * math.pi))
_DEGREE, _SMALL, _WIDE, _EDGE, _MASS = 5, 0.2, 1.5, 20, 1e-5


def propagate(problem: Any, method: Any, ts: Any, x: Floats, log_p: Floats) -> Floats:
    """Return log p at the last time on the points x, from log p at the first; what the sampler draws has that density.

    Raises:
        ValueError: a step that neither form can follow, or a density that loses mass.
    """
    for t0, t1 in zip(ts[:-1].tolist(), ts[1:].tolist()):
        image, spread = _step(problem, method, t0, t1, x)
        slope = make_interp_spline(x, image, _DEGREE).derivative()(x)
        if slope.min() > 0.0 and spread <= _SMALL * slope.min():
            pushed = _extended(image, log_p - np.log(slope))
            log_p = _log_sum(pushed(x[:, None] - spread * _NODES) + _LOG_WEIGHTS)
        elif spread > _WIDE * abs(np.diff(image)).max():
            z = (x[:, None] - image) / spread
            log_p = _log_sum(log_p - 0.5 * z * z + math.log((x[1] - x[0]) / (spread * math.sqrt(2 * math.pi))))
        else:
            raise ValueError(
                f"the step from {t0} to {t1} folds the line or is too coarse: take other steps, more points"
            )
    mass = float(np.exp(log_p).sum() * (x[1] - x[0]))
    if not abs(mass - 1.0) < _MASS:
        raise ValueError(f"the density has mass {mass}: its details are finer than the points, or beyond them")
    return log_p


def _log_sum(values: Floats) -> Floats:
    """Return the logarithm of the sum of exponentials along rows."""
    top = values.max(1)
    return np.asarray(top + np.log(np.exp(values - top[:, None]).sum(1)))


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
    """Return the spline through values, continued by parabolas from shortly before its ends.

    At the ends themselves it amplifies rounding errors, which would grow from step to step.
    """
    spline = make_interp_spline(x, values, _DEGREE)
    few = len(x) // _EDGE
    inner = slice(_DEGREE, len(x) - _DEGREE)
    x, values = x[inner], values[inner]
    ends = [_parabola(x[:few], values[:few], 0), _parabola(x[-few:], values[-few:], -1)]

    def function(y: Floats) -> Floats:
        inside = spline(np.clip(y, x[0], x[-1]))
        for beyond, end, (slope, bend) in zip((y < x[0], y > x[-1]), x[[0, -1]], ends):
            offset = np.where(beyond, y - end, 0.0)
            inside = inside + offset * (slope + bend * offset)
        return np.asarray(inside)

    return function


def _parabola(x: Floats, values: Floats, end: int) -> tuple[float, float]:
    """Return slope and curvature of the parabola through the last value that is nearest to its neighbours."""
    offset = x - x[end]
    found = np.linalg.lstsq(np.stack([offset, offset**2], axis=1), values - values[end], rcond=None)[0]
    # Densities fall on both sides.
    return max(float(found[0]), 0.0) if end == 0 else min(float(found[0]), 0.0), min(float(found[1]), 0.0)


def kl(x: Floats, log_p: Floats, log_q: Floats) -> float:
    """Return KL(p‖q) of densities on equally spaced points."""
    p, ratio = np.exp(log_p), log_p - log_q
    # p − q adds nothing to the integral, and leaves a sum of terms that are not negative.
    return float(np.sum(p * (ratio + np.expm1(-ratio))) * (x[1] - x[0]))


def wasserstein2(x: Floats, log_p: Floats, log_q: Floats) -> float:
    """Return W₂ of densities on equally spaced points, by the monotone map between them."""
    levels = [make_interp_spline(x, np.exp(each), _DEGREE).antiderivative()(x) for each in (log_p, log_q)]
    below, others = (level / level[-1] for level in levels)
    known = np.concatenate([[True], np.diff(np.maximum.accumulate(others)) > 1e-14])
    inside = (below > 1e-13) & (below < 1 - 1e-13)  # beyond, the levels are rounding
    image = PchipInterpolator(others[known], x[known])(below[inside])
    return math.sqrt(float(np.sum(np.exp(log_p[inside]) * (x[inside] - image) ** 2) * (x[1] - x[0])))
