r"""Finite data: the target of which every training set is an example, exact under any schedule.

.. math::
   p_t = \sum_k w_k N(\alpha y_k, \sigma^2 I), \quad
   \gamma_k(x) \propto w_k e^{-|x - \alpha y_k|^2/2\sigma^2}, \quad
   \hat x = \sum_k \gamma_k y_k, \quad
   \mathbb E[c\,x_{\mathrm{data}} + d\,\varepsilon\,|\,x] = c\,\hat x + \tfrac d\sigma(x - \alpha\hat x).

The velocity is :math:`v = (\dot\sigma/\sigma)x - (W/\sigma)\hat x`, which memorises the data. As
:math:`\nabla\hat x = (\alpha/\sigma^2)\operatorname{Cov}_\gamma(y)`,

.. math:: \nabla v = \frac{\dot\sigma}{\sigma} I - \frac{W\alpha}{\sigma^3}\operatorname{Cov}_\gamma(y).

The data are read in blocks, once: the softmax keeps the least distance so far, the mass of the weights relative to it
and their mean, and rescales both when a nearer point comes (Milakov & Gimelshein 2018, arXiv 1805.02867, Algorithm 3).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sympy import Expr

from interpolants.coefficient import Array, namespace
from interpolants.targets.checks import INFINITE, check_block, check_labels, check_points, check_weights, finite_points
from interpolants.targets.classes import Labelled
from interpolants.targets.distances import boltzmann, half_squares
from interpolants.targets.limits import cast, check_batch, constant, dominated, times
from interpolants.targets.posterior import EmpiricalPosterior
from solvers.errors import explain

__all__ = ["Empirical"]


class Empirical(Labelled):
    r"""The target :math:`\sum_k w_k \delta_{y_k}` of N data points in d dimensions.

    Args:
        points: :math:`y_k`, real and finite, shape (N, d): a numpy array, a memory map or a torch tensor. Floating
            points are kept as they are, without a copy; others become float64.
        weights: :math:`w_k > 0` that sum to one, shape (N,); equal if absent.
        labels: the class of every point, shape (N,), for :meth:`restrict`.
        block: how many float64 numbers a step may hold beside the data, at least 1; 2²² is 32 MB.

    A :class:`Path` with this target gives velocity, score, noise, data, v-prediction, log-density, Jacobian and
    divergence. Everything is computed in float64 and returned in the type of x. At σ = 0 the posterior is the nearest
    point (ties share by weight): a number as time is a PoleError where the prediction is infinite; an array of times
    gives ±inf there, with zero noise at the data themselves (the limit along :math:`x = \alpha_t y_k`). Gradients flow
    in torch; their graph keeps all blocks, O((B + d)N) numbers, where :meth:`Path.jacobian` needs O(Bd²).

    Raises:
        TypeError: points that are not real numbers.
        ValueError: shapes that do not fit, no points, NaN or infinity, weights that are no distribution, block < 1.

    References: Karras et al. (2022), arXiv 2206.00364, B.3, eq. 57, for the denoiser; Gu et al. (2023),
    arXiv 2310.02664, for networks that come to it.
    """

    def __init__(self, points: Any, weights: Any = None, labels: Any = None, *, block: int = 2**22):
        self.points = check_points(points)
        count = self.points.shape[0]
        self.block = check_block(block)
        self.weights = np.full(count, 1.0 / count) if weights is None else check_weights(weights, count)
        self.labels = None if labels is None else check_labels(labels, count)
        self._centre = finite_points(self.points, max(1, self.block // self.dimension))

    @property
    def dimension(self) -> int:
        """The dimension d."""
        return int(self.points.shape[1])

    def restrict(self, label: object) -> Empirical:
        """Return the points of one class, as :meth:`given` does."""
        return self.given(label)

    def given(self, label: object) -> Empirical:
        r"""Return the target :math:`p(x_{\mathrm{data}}|\mathrm{label})`: the points of one class, for guidance.

        Their weights are divided by their sum. Raises ValueError without labels or for a label that no point has.
        """
        return self._part(*self._chosen(label))

    def products(self, c: Expr, d: Expr, alpha: Expr, sigma: Expr) -> dict[str, Expr]:
        """Return α, σ, c and the gain d/σ."""
        return {"alpha": alpha, "sigma": sigma, "c": c, "gain": d / sigma}

    def slopes(self, c: Expr, d: Expr, alpha: Expr, sigma: Expr) -> dict[str, Expr]:
        """Return α, σ, the gain d/σ and the factor (c − αd/σ)α/σ² of the covariance."""
        factor = (c * sigma - alpha * d) * alpha / sigma**3
        return {"alpha": alpha, "sigma": sigma, "gain": d / sigma, "factor": factor}

    @INFINITE
    def expectation(self, x: Array, *, alpha: Any, sigma: Any, c: Any, gain: Any) -> Array:
        """Return c·x̂ + gain·(x − αx̂), shape (B, d), from c and gain = d/σ (numbers, or of shape (B, 1))."""
        point, alpha, sigma, c, gain = self._doubles(x, alpha, sigma, c, gain)
        nearest, _, mean = self._summary(point, alpha, sigma)
        xp: Any = namespace(x)
        # At σ = 0 rounding must not move the mean of equal points off x: their residual is 0.
        residual = xp.where((sigma == 0) & (nearest == 0), 0.0, point - alpha * mean)
        return cast(times(c, mean) + times(gain, residual), x)

    @INFINITE
    def jacobian(self, x: Array, *, alpha: Any, sigma: Any, gain: Any, factor: Any) -> Array:
        r"""Return :math:`(d/\sigma)I + (c - \alpha d/\sigma)(\alpha/\sigma^2)\operatorname{Cov}_\gamma(y)`."""
        point, alpha, sigma, gain, factor = self._doubles(x, alpha, sigma, gain, factor)
        nearest, mass, mean = self._summary(point, alpha, sigma)
        xp: Any = namespace(x)
        cov: Any = 0.0
        for y, gamma in self._posterior(point, alpha, sigma, nearest, mass):
            parts = [((y - m) * g[:, None]).T @ (y - m) for m, g in zip(mean, gamma)]
            cov = cov + xp.stack(parts)
        identity = constant(np.eye(self.dimension), x)
        return cast(dominated(times(_matrix(gain), identity), times(_matrix(factor), cov)), x)

    @INFINITE
    def divergence(self, x: Array, *, alpha: Any, sigma: Any, gain: Any, factor: Any) -> Array:
        r"""Return :math:`(d/\sigma)\dim + (c - \alpha d/\sigma)(\alpha/\sigma^2)\sum_k\gamma_k|y_k - \hat x|^2`."""
        point, alpha, sigma, gain, factor = self._doubles(x, alpha, sigma, gain, factor)
        nearest, mass, mean = self._summary(point, alpha, sigma)
        one, centre = constant(1.0, x), constant(self._centre, x)
        spread: Any = 0.0
        for y, gamma in self._posterior(point, alpha, sigma, nearest, mass):
            spread = spread + (gamma * 2 * half_squares(mean, one, y, centre, self.block)).sum(1)[:, None]
        return cast(dominated(self.dimension * gain, times(factor, spread))[:, 0], x)

    @INFINITE
    def posterior(self, x: Array, *, alpha: Any, sigma: Any) -> Array:
        r"""Return the responsibilities :math:`\gamma_k(x)`, shape (B, N): the probability that x came from y_k.

        Args:
            x: points, shape (B, d).
            alpha: α, a number or of shape (B, 1).
            sigma: σ ≥ 0, likewise; at 0 the nearest points share by weight.
        """
        point, alpha, sigma = self._doubles(x, alpha, sigma)
        nearest, mass, _ = self._summary(point, alpha, sigma)
        xp: Any = namespace(x)
        parts = [gamma for _, gamma in self._posterior(point, alpha, sigma, nearest, mass)]
        return cast(xp.concatenate(parts, 1), x)

    def condition(self, x: Array, *, alpha: Any, sigma: Any) -> EmpiricalPosterior:
        """Return the law of x_data given x_t = x: the points with other weights."""
        return EmpiricalPosterior(self, x, alpha, sigma)

    @INFINITE
    def class_probabilities(self, x: Array, *, alpha: Any, sigma: Any) -> Array:
        """Return p(label | x), shape (B, classes), in the order of ``classes``."""
        members = self.membership()
        point, alpha, sigma = self._doubles(x, alpha, sigma)
        nearest, mass, _ = self._summary(point, alpha, sigma)
        total: Any = 0.0
        first = 0
        for _, gamma in self._posterior(point, alpha, sigma, nearest, mass):
            stop = first + gamma.shape[1]
            total, first = total + gamma @ constant(members[first:stop], x), stop
        return cast(total, x)

    @INFINITE
    def log_density(self, x: Array, *, alpha: Any, sigma: Any) -> Array:
        """Return log p_t(x), shape (B,); at σ = 0 it is +inf at the data and −inf elsewhere."""
        point, alpha, sigma = self._doubles(x, alpha, sigma)
        nearest, mass, _ = self._summary(point, alpha, sigma)
        xp: Any = namespace(x)
        safe = xp.where(sigma > 0, sigma, 1.0)
        constant = self.dimension * (xp.log(safe) + 0.5 * math.log(2 * math.pi))
        inside = xp.log(mass) - nearest / safe / safe - constant
        return cast(xp.where(sigma > 0, inside, xp.where(nearest > 0, -math.inf, math.inf))[:, 0], x)

    def sample(self, n: int, rng: Any) -> Array:
        """Draw n of the points by their weights, shape (n, d), in float64, with a numpy or torch generator."""
        if isinstance(rng, np.random.Generator):
            chosen = rng.choice(len(self.weights), size=n, p=self.weights)
            return self.rows(chosen, np.empty(0))
        if type(rng).__module__.partition(".")[0] != "torch":
            remedy = "pass numpy.random.default_rng(seed) or torch.Generator().manual_seed(seed)"
            raise TypeError(explain("a numpy or torch generator", type(rng).__name__, remedy))
        import torch

        weights = torch.as_tensor(self.weights, device=rng.device)
        drawn = torch.multinomial(weights, n, replacement=True, generator=rng)
        return self.rows(drawn.cpu().numpy(), weights)

    def least_deviation(self, alpha: float, sigma: float) -> float:
        """Return the smallest standard deviation of a point's part of p_t: σ."""
        return sigma

    def __repr__(self) -> str:
        kinds = "" if self.labels is None else f", {len(self.classes)} classes"
        return f"Empirical(N={len(self.weights)}, d={self.dimension}{kinds})"

    def _part(self, rows: NDArray[np.intp], weights: NDArray[np.float64]) -> Empirical:
        return Empirical(self.points[rows], weights, block=self.block)

    def rows(self, rows: Any, x: Array) -> Array:
        """Return the chosen points as float64 of x's library and device."""
        part = self.points[rows]
        if namespace(x) is np:
            return np.asarray(part if isinstance(part, np.ndarray) else part.cpu().numpy(), np.float64)
        return constant(np.array(part, np.float64) if isinstance(part, np.ndarray) else part, x)

    def _doubles(self, x: Array, *coefficients: Any) -> list[Array]:
        check_batch(x, self.dimension)
        return [constant(value, x) for value in (x, *coefficients)]

    def _blocks(self, x: Array) -> Iterator[tuple[Array, Array]]:
        """Yield the data and their weights in blocks of n points, with nd and nB below the limit."""
        step = max(1, self.block // max(x.shape))
        for first in range(0, len(self.weights), step):
            part = slice(first, first + step)
            yield self.rows(part, x), constant(self.weights[part], x)

    def _summary(self, x: Array, alpha: Array, sigma: Array) -> tuple[Array, Array, Array]:
        r"""Return the least ½|x − αy|², the mass :math:`\sum w e^{-\mathrm{excess}/\sigma^2}` over it, and x̂."""
        xp: Any = namespace(x)
        centre = constant(self._centre, x)
        nearest, mass, mean = xp.full_like(x[:, :1], math.inf), xp.zeros_like(x[:, :1]), xp.zeros_like(x)
        for y, weights in self._blocks(x):
            halves = half_squares(x, alpha, y, centre, self.block)
            least = xp.minimum(nearest, xp.amin(halves, 1)[:, None])
            new = weights * boltzmann(halves - least, sigma)
            old = mass * boltzmann(nearest - least, sigma)
            nearest, mass = least, old + new.sum(1)[:, None]
            mean = (old / mass) * mean + (new / mass) @ y
        return nearest, mass, mean

    def _posterior(
        self, x: Array, alpha: Array, sigma: Array, nearest: Array, mass: Array
    ) -> Iterator[tuple[Array, Array]]:
        """Yield the data and their responsibilities (B, n) in blocks."""
        centre = constant(self._centre, x)
        for y, weights in self._blocks(x):
            halves = half_squares(x, alpha, y, centre, self.block)
            yield y, weights * boltzmann(halves - nearest, sigma) / mass


def _matrix(coefficient: Array) -> Array:
    return coefficient if coefficient.ndim == 0 else coefficient[:, :, None]
