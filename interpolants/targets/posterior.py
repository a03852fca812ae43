r"""The exact law of the data given a noisy point, :math:`p(x_{\mathrm{data}}\,|\,x_t = x)`.

For a mixture it is again a mixture, :math:`\sum_k\gamma_k N(m_k + \alpha C_kS_k^{-1}(x - \alpha m_k),\
\sigma^2 C_kS_k^{-1})` with :math:`S_k = \alpha^2C_k + \sigma^2I`; for finite data the weights move to the points near
:math:`x/\alpha`; for a product it is the product of its factors' posteriors.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

import numpy as np

from interpolants.coefficient import Array, namespace
from interpolants.prior import standard_normal
from interpolants.targets.checks import INFINITE
from interpolants.targets.components import Components, covariance
from interpolants.targets.limits import blocked, cast, check_batch, constant, doubles
from solvers.errors import explain

if TYPE_CHECKING:
    from interpolants.targets.empirical import Empirical
    from interpolants.targets.mixture import GaussianMixture

__all__ = ["EmpiricalPosterior", "MixturePosterior", "Posterior"]


class Posterior(ABC):
    """The law of x_data for each of B points; arrays are of the library and type of the points."""

    @property
    @abstractmethod
    def mean(self) -> Array:
        """The posterior mean, which is the data prediction, shape (B, d)."""

    @property
    @abstractmethod
    def covariance(self) -> Array:
        """The posterior covariance, shape (B, d, d)."""

    @abstractmethod
    def sample(self, rng: Any) -> Array:
        """Draw one x_data for each point, shape (B, d), with a generator of the library of the points."""


class MixturePosterior(Posterior):
    """The posterior under a Gaussian or a mixture, a mixture of K Gaussians for each point."""

    def __init__(self, target: GaussianMixture, x: Array, alpha: Any, sigma: Any):
        check_batch(x, target.dimension)
        self._target, self._x, self._points = target, x, constant(x, x)
        self._at = doubles({"alpha": alpha, "sigma": sigma}, x)

    @property
    def weights(self) -> Array:
        """The responsibilities of the components, shape (B, K)."""
        return cast(self._target.responsibilities(self._points, **self._at), self._x)

    @property
    def means(self) -> Array:
        """The mean of each component's posterior, shape (B, K, d)."""
        return self._map(lambda seen: _swap(_centres(seen)) + 0 * self._points[:, None, :])

    @property
    def covariances(self) -> Array:
        """The covariance of each component's posterior, shape (B, K, d, d)."""
        xp: Any = namespace(self._x)
        d = self._target.dimension
        parts = [self._of(k, lambda seen: seen.matrix(_spread(seen), None, False)) for k in range(len(self._means))]
        shape = (self._x.shape[0], d, d)
        return cast(xp.stack([xp.broadcast_to(part, shape) for part in parts], 1), self._x)

    @property
    def mean(self) -> Array:
        """The posterior mean, which is the data prediction, shape (B, d)."""
        step = max(1, self._target.block // self._means.size)
        return self._map(lambda seen: seen.expectation(1.0, seen.alpha, 0.0, 0.0), step)

    @property
    def covariance(self) -> Array:
        r"""The posterior covariance, σ²Σγ C_kS_k⁻¹ and the spread of the components' means, shape (B, d, d)."""

        def total(seen: Components) -> Array:
            gamma = seen.responsibilities()
            centres = _centres(seen)
            own = seen.matrix(_spread(seen), gamma, False)
            return own + covariance(centres + 0 * seen.x, centres, gamma, False)

        return self._map(total, max(1, self._target.block // self._means.size))

    def sample(self, rng: Any) -> Array:
        """Draw one x_data for each point, shape (B, d), with a generator of the library of the points."""
        xp: Any = namespace(self._x)
        chosen = choose(constant(self.weights, self._points), rng)
        standard = constant(standard_normal(tuple(self._x.shape), rng), self._points)
        drawn = xp.zeros_like(self._points)
        for k in range(len(self._means)):
            rows = chosen == k
            if rows.any():
                drawn[rows] = self._of(k, lambda seen, own=standard[rows]: _draw(seen, own), rows)
        return cast(drawn, self._x)

    @property
    def _means(self) -> Any:
        return self._target.means

    def _of(self, k: int, function: Any, rows: Any = slice(None)) -> Array:
        """Evaluate one component at some of the points."""
        part = self._target.component(k)
        at = {name: v if isinstance(v, float) or v.ndim == 0 else v[rows] for name, v in self._at.items()}
        return function(Components(part.weights, part.means, part.covariances, self._points[rows], **at))

    @INFINITE
    def _map(self, function: Any, step: int | None = None) -> Array:
        target = self._target

        def evaluate(points: Array, alpha: Any, sigma: Any) -> Array:
            return function(Components(target.weights, target.means, target.covariances, points, alpha, sigma))

        return cast(blocked(evaluate, self._points, self._at, step or self._x.shape[0]), self._x)


def _centres(seen: Components) -> Array:
    return seen.centres(1.0, seen.alpha, 0.0)


def _swap(array: Array) -> Array:
    xp: Any = namespace(array)
    return xp.moveaxis(array, 0, 1)


def _spread(seen: Components) -> list[Array]:
    """Return the eigenvalues σ²λ/(α²λ + σ²) of each component's posterior covariance."""
    return [seen.sigma * seen.sigma * (part.values / part.variance) for part in seen.directions]


def _draw(seen: Components, standard: Array) -> Array:
    """Draw from the posterior of the one component seen."""
    along = [standard @ seen.basis[0]] if seen.basis is not None else [standard]
    if seen.basis is not None:
        along = [along[0], standard - along[0] @ seen.basis[0].T]
    own = []
    for part, spread in zip(seen.directions, _spread(seen)):
        own.append((part.counts > 0) * spread**0.5 * (along[0] if part.rotated or seen.basis is None else along[1]))
    return (_centres(seen) + seen.back(own))[0]


class EmpiricalPosterior(Posterior):
    """The posterior under finite data: weights on the N points."""

    def __init__(self, target: Empirical, x: Array, alpha: Any, sigma: Any):
        check_batch(x, target.dimension)
        self._target, self._x, self._at = target, x, {"alpha": alpha, "sigma": sigma}

    @property
    def weights(self) -> Array:
        """The responsibilities of the points, shape (B, N), made when asked for."""
        return self._target.posterior(self._x, **self._at)

    @property
    def mean(self) -> Array:
        """The posterior mean, which is the data prediction, shape (B, d)."""
        return self._target.expectation(self._x, c=1.0, gain=0.0, **self._at)

    @property
    def covariance(self) -> Array:
        """The posterior covariance, shape (B, d, d)."""
        return self._target.jacobian(self._x, gain=0.0, factor=1.0, **self._at)

    def sample(self, rng: Any) -> Array:
        """Draw one of the points for each x, shape (B, d), with a generator of the library of x."""
        points = constant(self._x, self._x)
        step = max(1, self._target.block // len(self._target.weights))

        def draw(part: Array, **at: Any) -> Array:
            return choose(self._target.posterior(part, **at), rng)

        chosen = blocked(draw, points, doubles(self._at, self._x), step)
        rows = chosen if isinstance(chosen, np.ndarray) else chosen.cpu().numpy()
        return cast(self._target.rows(rows, points), self._x)


def choose(weights: Array, rng: Any) -> Array:
    """Draw an index for each row of weights (B, n), with a numpy generator for numpy arrays and torch's for torch's."""
    numpy = isinstance(rng, np.random.Generator)
    if numpy != isinstance(weights, np.ndarray):
        remedy = "pass numpy.random.default_rng(seed) with arrays, torch.Generator().manual_seed(seed) with tensors"
        raise TypeError(explain("a generator of the library of x", type(rng).__name__, remedy))
    if not numpy:
        import torch

        return torch.multinomial(weights, 1, generator=rng)[:, 0]
    cumulative = np.cumsum(weights, 1)
    marks = rng.random(len(weights)) * cumulative[:, -1]
    return (cumulative <= marks[:, None]).sum(1)
