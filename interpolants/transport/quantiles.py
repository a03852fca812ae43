r"""W₂ on the line: :math:`W_2^2 = \int_0^1 |F_0^{-1}(u) - F_1^{-1}(u)|^2\,du`, the cost of the monotone map.

Between two mixtures it is :math:`\int(x - S(x))^2 p_0(x)\,dx` with :math:`S = F_1^{-1}\circ F_0` over the continuous
part of the first, and over each of its points y the second moment :math:`\int(y - x)^2p_1(x)\,dx` of the slice of the
second law that goes there.

References: Villani, Topics in Optimal Transportation (2003), theorem 2.18.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from interpolants.transport.line import Line, panels

__all__ = ["line_wasserstein"]

Floats = NDArray[np.float64]
Law = tuple[Floats, Floats, Floats]
"""Weights, centres and deviations of a mixture on the line."""


def line_wasserstein(line: Line) -> float:
    """Return W₂ between the two end marginals, to 1e-9."""
    ends = [
        (line.weights, float(line.clock.schedule.alpha(time)) * line.means, line.clock.rho(time, line.variances))
        for time in (line.clock.lo, line.clock.hi)
    ]
    return math.sqrt(max(0.0, _squared(*ends)))


def _squared(first: Law, second: Law) -> float:
    weights, centres, deviations = first
    points = np.unique(centres[deviations == 0])
    total = sum(_to_point(float(y), first, second) for y in points)
    wide = deviations > 0
    if wide.any():
        x, rule = panels(centres[wide], deviations[wide], points)
        z = (x[:, None] - centres[wide]) / deviations[wide]
        density = (weights[wide] / deviations[wide] * np.exp(-0.5 * z * z) / math.sqrt(2 * math.pi)).sum(1)
        total += float(rule @ ((x - _quantile(second, *_tails(first, x))) ** 2 * density))
    return total


def _to_point(y: float, first: Law, second: Law) -> float:
    """Integrate (y − x)² over the slice of the second law that the monotone map sends to y."""
    places = np.array([np.nextafter(y, -math.inf), y])
    here = float(first[0][(first[2] == 0) & (first[1] == y)].sum())
    below, above = _tails(first, places)
    # A double next to y is not y, but the mass between them may round: build the upper end from the jump.
    below, above = np.array([below[1] - here, below[1]]), np.array([above[1] + here, above[1]])
    a, b = _quantile(second, np.maximum(below, 0.0), np.maximum(above, 0.0))
    weights, centres, deviations = second
    total = 0.0
    for weight, centre, deviation in zip(weights, centres, deviations):
        (lower, upper), shift = ((end - centre) / deviation for end in (a, b)), centre - y
        mass, first_moment, second_moment = _truncated(lower, upper)
        total += weight * (shift**2 * mass + 2 * shift * deviation * first_moment + deviation**2 * second_moment)
    return float(total)


def _truncated(lower: float, upper: float) -> tuple[float, float, float]:
    """Return ∫φ, ∫zφ and ∫z²φ from lower to upper, either infinite."""
    from scipy.special import ndtr

    mass = float(ndtr(upper) - ndtr(lower)) if lower < 0 else float(ndtr(-lower) - ndtr(-upper))
    heights = [math.exp(-0.5 * z * z) / math.sqrt(2 * math.pi) for z in (lower, upper)]
    edges = [0.0 if math.isinf(z) else z * height for z, height in zip((lower, upper), heights)]
    return mass, heights[0] - heights[1], mass + edges[0] - edges[1]


def _tails(law: Law, x: Floats) -> tuple[Floats, Floats]:
    """Return P(X ≤ x) and P(X > x), each to full relative accuracy."""
    from scipy.special import ndtr

    weights, centres, deviations = law
    with np.errstate(divide="ignore", invalid="ignore"):
        z = (x[:, None] - centres) / deviations
    z = np.where(np.isnan(z), math.inf, z)  # 0/0: at a point of the law, which counts as below
    return ndtr(z) @ weights, ndtr(-z) @ weights


def _quantile(law: Law, below: Floats, above: Floats) -> Floats:
    """Invert the distribution by bisection, from below in the lower half and from above in the upper."""
    _, centres, deviations = law
    lo = np.full(below.shape, float((centres - 39 * deviations).min()))
    hi = np.full(below.shape, float((centres + 39 * deviations).max()))
    lower = below < above
    for _ in range(64):
        middle = (lo + hi) / 2
        p, q = _tails(law, middle)
        right = np.where(lower, p < below, q > above)
        lo, hi = np.where(right, middle, lo), np.where(right, hi, middle)
    middle = (lo + hi) / 2
    return np.asarray(np.where(below <= 0, -math.inf, np.where(above <= 0, math.inf, middle)))
