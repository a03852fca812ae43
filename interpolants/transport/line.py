r"""One dimension: mixtures of Gaussians (and points) on the line, by quadrature.

The marginal is :math:`p_t = \sum_k\pi_k N(\alpha m_k, \rho_k^2)`. With :math:`z_k = (x - \alpha m_k)/\rho_k`
its flux is

.. math::
   p_t v = \sum_k\pi_k\,(\dot\alpha m_k + \dot\rho_k z_k)\,\varphi(z_k)/\rho_k = -\partial_t F_t(x), \qquad
   J(x) = \int_{-\infty}^x p_t v = \sum_k\pi_k\bigl[\dot\alpha m_k\Phi(z_k) - \dot\rho_k\varphi(z_k)\bigr],

by the continuity equation. So :math:`\mathbb E|v|^2 = \int(p_tv)^2/p_t`, and :math:`\mathbb E|v|` is the total
variation of J: a sum over the zeros of the flux, with an error of second order in their places. The flow on the line is
monotone and hence the optimal map between its ends.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from interpolants.path import Path
from interpolants.targets import Empirical, GaussianMixture
from interpolants.transport.clock import Clock

__all__ = ["LIMIT", "Line", "line_of"]

Floats = NDArray[np.float64]

LIMIT = 64
"""Above this number of components the quadrature is slower than it is worth, and costs are sampled."""

_SIGMAS = 9.0
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(16)


class Moment(NamedTuple):
    """The components at a time: centres αm, their velocities α̇m, ρ and ρ̇, each of shape (K,)."""

    centre: Floats
    drift: Floats
    rho: Floats
    d_rho: Floats


class Line:
    """A path whose target is a mixture on the line: weights, means and variances of shape (K,)."""

    def __init__(self, path: Path, weights: Floats, means: Floats, variances: Floats):
        self.clock = Clock(path.schedule)
        self.weights, self.means, self.variances = weights, means, variances

    def cost(self) -> float:
        """Return C(v), to 1e-9."""
        if self.clock.infinite_energy(self.variances, bool(self.means.any())):
            return math.inf
        return self.clock.integrate(self._power, self.clock.layers(self.variances), accuracy=1e-11)

    def length(self) -> float:
        """Return ∫E|v|dt, to 1e-9."""
        return self.clock.integrate(self._speed, self.clock.layers(self.variances), accuracy=1e-10)

    def at(self, time: float) -> Moment:
        """Return the components at a time."""
        rho, d_rho = self.clock.spread(time, self.variances)
        alpha, d_alpha = float(self.clock.schedule.alpha(time)), float(self.clock.d_alpha(time))
        return Moment(alpha * self.means, d_alpha * self.means, rho, d_rho)

    def _power(self, time: float) -> float:
        moment = self.at(time)
        x, weights = panels(moment.centre, moment.rho)
        z = (x[:, None] - moment.centre) / moment.rho
        masses = self.weights / moment.rho * _normal(z)
        flux, density = (masses * (moment.drift + moment.d_rho * z)).sum(1), masses.sum(1)
        velocity = np.divide(flux, density, out=np.zeros_like(flux), where=density > 0)
        return float(weights @ (velocity**2 * density))

    def _speed(self, time: float) -> float:
        moment = self.at(time)
        x, _ = panels(moment.centre, moment.rho)
        flux, _ = self._flux(moment, x)
        low = np.abs(flux)
        dips = np.flatnonzero((low[1:-1] < low[:-2]) & (low[1:-1] < low[2:])) + 1
        if len(dips):  # two zeros may hide between two nodes: look where the parabola through three has its top
            x = np.sort(np.concatenate([x, _vertex(x, flux, dips)]))
            flux, _ = self._flux(moment, x)
        changes = np.flatnonzero(np.sign(flux[:-1]) * np.sign(flux[1:]) < 0)
        lower, upper = x[changes], x[changes + 1]
        root = lower - flux[changes] * (upper - lower) / (flux[changes + 1] - flux[changes])
        for _ in range(5):
            value, slope = self._flux(moment, root)
            root = np.clip(root - np.divide(value, slope, out=np.zeros_like(root), where=slope != 0), lower, upper)
        z = (np.concatenate([root, x[flux == 0]])[:, None] - moment.centre) / moment.rho
        turns = (self.weights * (moment.drift * _cdf(z) - moment.d_rho * _normal(z))).sum(1)
        order = np.argsort(np.concatenate([root, x[flux == 0]]))
        ends = np.array([0.0]), np.array([float(self.weights @ moment.drift)])
        return float(np.abs(np.diff(np.concatenate([ends[0], turns[order], ends[1]]))).sum())

    def _flux(self, moment: Moment, x: Floats) -> tuple[Floats, Floats]:
        """Return p_t·v and its derivative in x."""
        z = (x[:, None] - moment.centre) / moment.rho
        masses, rate = self.weights / moment.rho * _normal(z), moment.drift + moment.d_rho * z
        return (masses * rate).sum(1), (masses / moment.rho * (moment.d_rho - z * rate)).sum(1)


def line_of(path: Path) -> Line | None:
    """Return the line of a path whose target has one dimension and not too many components, else None."""
    target = path.target
    if target.dimension != 1:
        return None
    if isinstance(target, GaussianMixture):
        return _line(path, target.weights, target.means[:, 0], np.asarray(target.covs, np.float64).reshape(-1))
    if isinstance(target, Empirical):
        points: Any = target.points
        values = np.asarray(points if isinstance(points, np.ndarray) else points.cpu().numpy(), np.float64)[:, 0]
        means, where = np.unique(values, return_inverse=True)
        return _line(
            path, np.asarray(np.bincount(where.ravel(), target.weights), np.float64), means, np.zeros(len(means))
        )
    return None


def _line(path: Path, weights: Floats, means: Floats, variances: Floats) -> Line | None:
    return Line(path, weights, means, variances) if len(weights) <= LIMIT else None


def panels(centres: Floats, deviations: Floats, jumps: Floats | None = None) -> tuple[Floats, Floats]:
    """Return nodes and weights of a composite Gauss rule that resolves every component to nine deviations."""
    steps = np.arange(-_SIGMAS, _SIGMAS + 1)
    edges = np.sort((centres[:, None] + deviations[:, None] * steps).ravel())
    quantum = 0.5 * float(deviations.min())
    keep = np.ones(len(edges), bool)
    keep[1:] = np.diff(np.floor((edges - edges[0]) / quantum)) > 0
    edges = edges[keep]
    if jumps is not None:
        edges = np.union1d(edges, jumps[(jumps > edges[0]) & (jumps < edges[-1])])
    half = np.diff(edges)[:, None] / 2
    return (edges[:-1, None] + half * (1 + _NODES)).ravel(), (half * _WEIGHTS).ravel()


def _vertex(x: Floats, values: Floats, k: NDArray[np.intp]) -> Floats:
    left, right = x[k] - x[k - 1], x[k + 1] - x[k]
    before, after = (values[k] - values[k - 1]) / left, (values[k + 1] - values[k]) / right
    with np.errstate(divide="ignore", invalid="ignore"):
        top = (x[k] + x[k - 1]) / 2 - before * (x[k + 1] - x[k - 1]) / 2 / (after - before)
    return np.asarray(np.clip(np.where(np.isfinite(top), top, x[k]), x[k - 1], x[k + 1]))


def _normal(z: Floats) -> Floats:
    return np.asarray(np.exp(-0.5 * z * z) / math.sqrt(2 * math.pi))


def _cdf(z: Floats) -> Floats:
    from scipy.special import ndtr

    return np.asarray(ndtr(z))
