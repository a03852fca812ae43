r"""What every component of a mixture says about a batch of points, with the limits at σ = 0.

In the eigenbasis of :math:`C_k`, with :math:`z = x - \alpha m_k` and :math:`S_k = \alpha^2C_k + \sigma^2I`, z splits
into the directions of positive eigenvalues, where everything is finite for every σ, and :math:`q = P_0z` where
:math:`C_k` is zero:

.. math::
   c\,m + (c\alpha C + d\sigma I)S^{-1}z
   = \Bigl[c\,m + \frac{c\alpha\Lambda + d\sigma}{\alpha^2\Lambda + \sigma^2}z_+\Bigr] + \frac d\sigma q, \qquad
   \log N = F - n_0\log\sigma - \frac{|q|^2}{2\sigma^2},

:math:`n_0` the number of zero eigenvalues. As σ → 0 the component with the nearest support
:math:`\alpha m_k + \operatorname{range}C_k` has all the responsibility; among equally near ones that with the largest
:math:`n_0`; among those, by F. Arrays are of shape (K, B, d).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from interpolants.coefficient import Array, namespace
from interpolants.targets.covariance import Covariances
from interpolants.targets.limits import constant, dominated, times

__all__ = ["Components"]

ROUNDING = 64 * np.finfo(np.float64).eps
"""At σ = 0 a distance from a rotated support below this multiple of |x| + α|m| is not told from none."""


@dataclass
class _Directions:
    """Coordinates along positive eigenvalues, the variances α²λ + σ² there, and whether they are along the columns."""

    z: Array
    values: Array
    variance: Array
    counts: Array
    rotated: bool


class Components:
    """The components of a mixture at float64 points x of shape (B, d), under α and σ (numbers, or (B, 1))."""

    def __init__(
        self,
        weights: NDArray[np.float64],
        means: NDArray[np.float64],
        covs: Covariances,
        x: Array,
        alpha: Any,
        sigma: Any,
    ):
        self.covs, self.x, self.alpha, self.sigma = covs, x, alpha, sigma
        self.xp: Any = namespace(x)
        self.single = len(weights) == 1
        self.log_weights = constant(np.log(weights), x)[:, None]
        self.means = constant(means, x)
        self.basis = None if covs.basis is None else constant(covs.basis, x)
        self.null: Any = None
        self.null_mask: Any = None
        self.directions: list[_Directions] = []
        z = x - alpha * self.means[:, None, :]
        for index, (part, along) in enumerate(zip(covs.parts, self._coordinates(z))):
            self._split(part, along, alpha, rotated=self.basis is not None and index == 0)
        self._round(x, alpha)

    def _coordinates(self, z: Array) -> list[Array]:
        if self.basis is None:
            return [z]
        along = z @ self.basis
        if self.covs.thin is None:
            return [along]
        return [along, (z - along @ self.basis.swapaxes(1, 2)) * constant(self.covs.thin, z)]

    def _split(self, part: Any, z: Array, alpha: Any, rotated: bool) -> None:
        """Add the directions of positive eigenvalues, and the zero ones to what is null."""
        values, counts = (constant(array, z)[:, None, :] for array in (part.values, part.counts))
        variance = alpha * alpha * values + self.sigma * self.sigma
        if part.positive.all():
            self.directions.append(_Directions(z, values, variance, counts, rotated))
            return
        mask = constant(part.positive, z)[:, None, :]
        self.null_mask = 1 - mask
        self.null = z * self.null_mask
        if part.positive.any():
            variance = self.xp.where(mask > 0, variance, 1.0)
            self.directions.append(_Directions(z * mask, values, variance, counts * mask, rotated))

    def _round(self, x: Array, alpha: Any) -> None:
        """At σ = 0 take for zero what is the rounding of a rotation."""
        if self.null is None or self.basis is None:
            return
        size = abs(x).sum(1)[:, None] + abs(alpha * abs(self.means).sum(1)[:, None, None])
        lost = (abs(self.null) <= ROUNDING * size) & (constant(self.sigma, x) == 0)
        self.null = self.xp.where(lost, 0.0, self.null)

    def back(self, values: list[Array], null: Array | None = None) -> Array:
        """Turn coordinates along the directions, and null ones, into vectors (K, B, d)."""
        total = null
        for direction, value in zip(self.directions, values):
            vector = value @ self.basis.swapaxes(1, 2) if direction.rotated and self.basis is not None else value
            total = vector if total is None else total + vector
        return self.means[:, None, :] * 0.0 if total is None else total

    def logits(self) -> tuple[Array, Array]:
        """Return log π_k + log N_k less a shift, shape (K, B), and the shift, shape (B,)."""
        finite = self.log_weights - 0.5 * self.covs.dimension * math.log(2 * math.pi)
        for part in self.directions:
            quadratic = (part.z * part.z / part.variance).sum(-1)
            finite = finite - 0.5 * (quadratic + (part.counts * self.xp.log(part.variance)).sum(-1))
        if self.null is None:
            return finite, finite[0] * 0.0
        sigma = constant(self.sigma, self.null)
        sigma = sigma if sigma.ndim == 0 else sigma[:, 0]
        missing = constant(self.covs.zeros, self.null)[:, None]
        distance = 0.5 * (self.null * self.null).sum(-1)
        nearest = self.xp.amin(distance, 0)
        safe = self.xp.where(sigma > 0, sigma, 1.0)
        inside = finite - missing * self.xp.log(safe) - (distance - nearest) / safe / safe
        thinnest = self.xp.where(distance == nearest, missing, -1.0)
        on_support = thinnest == self.xp.amax(thinnest, 0)
        limit = self.xp.where(on_support, finite, -math.inf)
        density = self.xp.where(self.xp.amax(thinnest, 0) > 0, math.inf, 0.0)
        end = self.xp.where(nearest > 0, -math.inf, density)
        shift = self.xp.where(sigma > 0, -nearest / safe / safe, end)
        return self.xp.where(sigma > 0, inside, limit), shift

    def log_density(self) -> Array:
        """Return log p, shape (B,)."""
        logits, shift = self.logits()
        peak = self.xp.amax(logits, 0)
        return peak + self.xp.log(self.xp.exp(logits - peak).sum(0)) + shift

    def responsibilities(self) -> Array:
        """Return γ, shape (K, B)."""
        logits, _ = self.logits()
        unnormalised = self.xp.exp(logits - self.xp.amax(logits, 0))
        return unnormalised / unnormalised.sum(0)

    def _gains(self, c_alpha: Any, d_sigma: Any) -> list[Array]:
        return [(c_alpha * part.values + d_sigma) / part.variance for part in self.directions]

    def _average(self, vectors: Array, gamma: Array | None) -> Array:
        return vectors[0] if gamma is None else (gamma[:, :, None] * vectors).sum(0)

    def _gamma(self) -> Array | None:
        return None if self.single else self.responsibilities()

    def expectation(self, c: Any, c_alpha: Any, d_sigma: Any, ratio: Any = None) -> Array:
        """Return E[c·x_data + d·ε | x], shape (B, d); ``ratio`` is d/σ."""
        gamma = self._gamma()
        gains = self._gains(c_alpha, d_sigma)
        moved = self.back([gain * part.z for gain, part in zip(gains, self.directions)])
        centre = self.means[0] if gamma is None else gamma.T @ self.means
        total = times(c, centre) + self._average(moved, gamma)
        return total if self.null is None else total + times(ratio, self._average(self.null, gamma))

    def centres(self, c: Any, c_alpha: Any, d_sigma: Any) -> Array:
        """Return each component's expectation without the null directions, shape (K, B, d)."""
        moved = [gain * part.z for gain, part in zip(self._gains(c_alpha, d_sigma), self.directions)]
        return times(c, self.means[:, None, :]) + self.back(moved)

    def matrix(self, weights: list[Array], gamma: Array | None, trace: bool) -> Array:
        """Return Σγ_k U_k diag(weights) U_kᵀ, 0 on zero eigenvalues, shape (B or 1, d, d), or its trace (B or 1,)."""
        parts = [(w * (part.counts > 0), part.rotated, part.counts) for w, part in zip(weights, self.directions)]
        return self._sum(parts, gamma, trace)

    def projection(self, gamma: Array | None, trace: bool) -> Array:
        """Return Σγ_k P_k, the projections onto the zero eigenvalues, likewise."""
        return self._sum([(self.null_mask, False, self._null_counts())], gamma, trace)

    def _sum(self, parts: list[tuple[Any, bool, Array]], gamma: Array | None, trace: bool) -> Array:
        total: Any = self.means[:1, :1] * 0.0
        total = total[0] if trace else total[:, :, None]
        for weight, rotated, counts in parts:
            if trace:
                value = (counts * weight).sum(-1)
                total = total + (value[0] if gamma is None else (gamma * value).sum(0))
                continue
            scaled = weight if gamma is None else gamma[:, :, None] * weight
            if self.basis is not None:
                total = total + self._rotated(scaled, rotated)
            else:
                total = total + scaled.sum(0)[:, None, :] * constant(np.eye(self.covs.dimension), self.means)
        return total

    def _null_counts(self) -> Array:
        part = self.covs.parts[-1]
        return constant(part.counts * ~part.positive, self.means)[:, None, :]

    def _rotated(self, weight: Array, along: bool) -> Array:
        """Return Σ_k of U diag(w) Uᵀ, or of w (I − UUᵀ) on what the columns leave."""
        identity = constant(np.eye(self.covs.dimension), self.means)
        thin = np.ones((len(self.covs), 1, 1)) if self.covs.thin is None else self.covs.thin
        total: Any = 0.0
        for k in range(len(self.covs)):
            basis = self.basis[k]  # type: ignore[index]
            if along:
                total = total + (basis * weight[k][:, None, :]) @ basis.T
            elif thin[k, 0, 0]:
                total = total + weight[k][:, :, None] * (identity - basis @ basis.T)
        return total

    def slope(self, trace: bool, c: Any, c_alpha: Any, d_sigma: Any, ratio: Any = None, pull: Any = None) -> Array:
        r"""Return the Jacobian of :meth:`expectation`, (B, d, d), or its trace (B,); ``pull`` is 1/σ².

        With F the finite part, :math:`H = S_+^{-1}z_+` and q it is
        :math:`E[G] - \operatorname{Cov}(F, H) + (d/\sigma)[E[P_0] - \operatorname{Cov}(q, H)]
        - \sigma^{-2}\operatorname{Cov}(F, q) - d\sigma^{-3}\operatorname{Cov}(q, q)`, covariances over γ; at σ = 0 the
        highest order decides.
        """
        gamma = self._gamma()
        total = self.matrix(self._gains(c_alpha, d_sigma), gamma, trace)
        if gamma is None:
            return (
                total
                if self.null is None
                else dominated(total, times(_fit(ratio, trace), self.projection(gamma, trace)))
            )
        finite = self.centres(c, c_alpha, d_sigma)
        whitened = self.back([part.z / part.variance for part in self.directions])
        total = total - covariance(finite, whitened, gamma, trace)
        if self.null is None:
            return total
        own = self.projection(gamma, trace) - covariance(self.null, whitened, gamma, trace)
        total = dominated(total, times(_fit(ratio, trace), own))
        total = dominated(total, -times(_fit(pull, trace), covariance(finite, self.null, gamma, trace)))
        steep = _fit(times(pull, constant(ratio, self.means)), trace)
        return dominated(total, -times(steep, covariance(self.null, self.null, gamma, trace)))


def covariance(a: Array, b: Array, gamma: Array, trace: bool) -> Array:
    """Return Σγ(a − ā)(b − b̄)ᵀ over the components, (B, d, d), or its trace (B,)."""
    weights = gamma[:, :, None]
    a, b = a - (weights * a).sum(0), b - (weights * b).sum(0)
    if trace:
        return (weights * a * b).sum((0, 2))
    rows = namespace(a).moveaxis(weights * a, 0, 2)  # type: ignore[union-attr]
    return rows @ namespace(b).moveaxis(b, 0, 1)  # type: ignore[union-attr]


def _fit(coefficient: Any, trace: bool) -> Any:
    """Shape a coefficient (B, 1) for (B,) or (B, d, d)."""
    if isinstance(coefficient, float) or coefficient.ndim == 0:
        return coefficient
    return coefficient[:, 0] if trace else coefficient[:, :, None]
