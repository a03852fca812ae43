r"""The largest slope of a velocity on the line: :math:`\sup_{t,x}|\partial_x v|` of a mixture.

.. math::
   \partial_x v = \sum_k\gamma_k\Bigl[\frac{\dot\rho_k}{\rho_k} + u_k(s_k - s)\Bigr], \qquad
   u_k = \dot\alpha m_k + \dot\rho_k z_k, \qquad s_k = -z_k/\rho_k, \qquad s = \sum_k\gamma_k s_k,

also where nothing lies, in the gaps between components. There the largest slopes are, of order
:math:`(\alpha\Delta m)^2/\rho^3`.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from interpolants.transport.line import Line, Moment

__all__ = ["line_slope"]

Floats = NDArray[np.float64]

_STARTS = 6


def line_slope(line: Line) -> float:
    """Return the supremum, from a grid over times and places that is refined around its highest points."""
    from scipy.optimize import minimize

    clock = line.clock
    starts_at_zero = float(clock.schedule.sigma(clock.lo)) == 0
    if ((line.variances == 0).any() and starts_at_zero) or clock.growth.poles or clock.noise.poles:
        return math.inf
    times = clock.times(per_decade=6)
    if clock.d_alpha.poles:
        times = times[1:-1]
    rows = []
    for time in times:
        moment = line.at(float(time))
        x = _places(line, moment)
        slopes = np.abs(_slope(line, moment, x))
        k = int(slopes.argmax())
        rows.append((slopes[k], float(time), (x[k] - moment.centre[0]) / moment.rho[0], _far(moment)))
    found = np.asarray(rows)
    best = float(found[:, [0, 3]].max())
    heights = np.concatenate([[0.0], found[:, 0], [0.0]])
    tops = np.flatnonzero((heights[1:-1] >= heights[:-2]) & (heights[1:-1] >= heights[2:]))
    lo, hi = float(times[0]), float(times[-1])

    def height(point: Floats) -> float:
        moment = line.at(min(max(float(point[0]), lo), hi))
        return -float(np.abs(_slope(line, moment, moment.centre[0] + point[1:] * moment.rho[0]))[0])

    for k in tops[np.argsort(found[tops, 0])][-_STARTS:]:
        time, place = found[k, 1:3]
        dt = max(float(times[min(k + 1, len(times) - 1)] - times[max(k - 1, 0)]) / 2, 1e-14)
        corners = np.array([[time, place], [time + (dt if time < hi else -dt), place], [time, place + 0.05]])
        options = {"initial_simplex": corners, "xatol": 1e-12, "fatol": 1e-15, "maxiter": 2000}
        best = max(best, -float(minimize(height, corners[0], method="Nelder-Mead", options=options).fun))
    return best


def _slope(line: Line, moment: Moment, x: Floats) -> Floats:
    z = (x[:, None] - moment.centre) / moment.rho
    logits = np.log(line.weights / moment.rho) - 0.5 * z * z
    gamma = np.exp(logits - logits.max(1, keepdims=True))
    gamma /= gamma.sum(1, keepdims=True)
    scores = -z / moment.rho
    pull = scores - (gamma * scores).sum(1, keepdims=True)
    return np.asarray((gamma * (moment.d_rho / moment.rho + (moment.drift + moment.d_rho * z) * pull)).sum(1))


def _far(moment: Moment) -> float:
    """Return the slope at infinity, that of the widest component."""
    widest = moment.rho.argmax()
    return abs(float(moment.d_rho[widest] / moment.rho[widest]))


def _places(line: Line, moment: Moment) -> Floats:
    """Return places around every component, and around those where two components weigh the same."""
    centre, rho = moment.centre, moment.rho
    around = [(centre[:, None] + rho[:, None] * np.linspace(-8.0, 8.0, 33)).ravel()]
    j, k = np.triu_indices(len(centre), 1)
    curve = 0.5 / rho[j] ** 2 - 0.5 / rho[k] ** 2
    middle = centre[k] / rho[k] ** 2 - centre[j] / rho[j] ** 2
    level = np.log(line.weights[k] / rho[k] * rho[j] / line.weights[j])
    level = level + 0.5 * (centre[j] / rho[j]) ** 2 - 0.5 * (centre[k] / rho[k]) ** 2
    root = np.sqrt(np.maximum(middle**2 - 4 * curve * level, 0.0))
    half = -0.5 * (middle + np.copysign(root, middle))  # the form without cancellation
    with np.errstate(divide="ignore", invalid="ignore"):
        roots = np.concatenate([half / curve, level / half])
        width = 1 / np.concatenate([root, root])  # of the logistic step between the two
    good = np.isfinite(roots) & np.isfinite(width) & (np.abs(roots) < 1e6 * (1 + np.abs(centre).max() + rho.max()))
    around.append((roots[good, None] + width[good, None] * np.linspace(-4.0, 4.0, 17)).ravel())
    return np.concatenate(around)
