r"""Products of one-dimensional targets: independent coordinates, each exact.

.. math:: p_t(x) = \prod_i p_t^{(i)}(x_i),

so predictions are formed coordinate by coordinate, log-densities add, and Jacobians are diagonal.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sympy import Expr, Symbol

from interpolants.coefficient import Array, namespace
from interpolants.targets.gaussian import Gaussian
from interpolants.targets.limits import cast, check_batch, constant
from interpolants.targets.posterior import Posterior
from interpolants.targets.target import Target
from solvers.errors import explain

__all__ = ["Product"]


class Product(Target):
    r"""The target whose coordinates are independent, the i-th with the law of the i-th factor.

    Args:
        factors: one-dimensional targets (:class:`Gaussian`, :class:`GaussianMixture`, :class:`Empirical`), at least
            one. The same object may stand many times and is then evaluated once for all its coordinates, as are all
            Gaussians together: ``Product([mixture] * 3072)``.

    Raises:
        TypeError: a factor that is no target.
        ValueError: no factor, or one of another dimension.
    """

    def __init__(self, factors: Sequence[Target]):
        self.factors: tuple[Any, ...] = tuple(factors)
        if not self.factors:
            raise ValueError(explain("at least one factor", "none", "pass one target per coordinate"))
        for index, factor in enumerate(self.factors):
            if not isinstance(factor, Target):
                received = f"{factor!r} as factor {index}"
                raise TypeError(explain("one-dimensional targets", received, "pass Gaussian([0.0], 1.0) or the like"))
            if factor.dimension != 1:
                received = f"dimension {factor.dimension} as factor {index}"
                raise ValueError(explain("one-dimensional targets", received, "pass one target per coordinate"))
        self._groups = _group(self.factors)

    @property
    def dimension(self) -> int:
        """The dimension d, the number of factors."""
        return len(self.factors)

    def products(self, c: Expr, d: Expr, alpha: Expr, sigma: Expr) -> dict[str, Expr]:
        """Return what the factors need."""
        return {k: v for group in self._groups for k, v in group.target.products(c, d, alpha, sigma).items()}

    def slopes(self, c: Expr, d: Expr, alpha: Expr, sigma: Expr) -> dict[str, Expr]:
        """Return what the factors need."""
        return {k: v for group in self._groups for k, v in group.target.slopes(c, d, alpha, sigma).items()}

    def expectation(self, x: Array, **coefficients: Any) -> Array:
        """Return E[c·x_data + d·ε | x], shape (B, d)."""
        parts = [group.call("expectation", x, coefficients, group.products) for group in self._checked(x)]
        return self._assemble(x, parts)

    def jacobian(self, x: Array, **coefficients: Any) -> Array:
        """Return the Jacobian of :meth:`expectation`, diagonal, shape (B, d, d)."""
        xp: Any = namespace(x)
        parts = []
        for group in self._checked(x):
            slopes = group.call("jacobian", x, coefficients, group.slopes)
            parts.append(xp.diagonal(slopes, 0, 1, 2) if group.joint else slopes)
        return _diagonal(self._assemble(x, parts))

    def divergence(self, x: Array, **coefficients: Any) -> Array:
        """Return the trace of :meth:`jacobian`, shape (B,).

        At σ = 0, where some terms are +∞ and some −∞, those with a variance in them, of higher order in 1/σ, decide.
        """
        xp: Any = namespace(x)
        terms = xp.concatenate(
            [group.call("divergence", x, coefficients, group.slopes) for group in self._checked(x)], 1
        )
        up, down = (xp.isinf(terms) & (sign * terms > 0) for sign in (1, -1))
        both = up.any(1) & down.any(1)
        gain = constant(coefficients.get("gain", coefficients.get("ratio", 1.0)), terms)
        gain = gain if gain.ndim == 0 else gain[:, 0]
        total = xp.where(both[:, None], 0.0, terms).sum(1)
        return cast(xp.where(both, xp.where(gain > 0, -xp.inf, xp.inf), total), x)

    def log_density(self, x: Array, *, alpha: Any, sigma: Any) -> Array:
        """Return log p_t(x), the sum over the factors, shape (B,); at σ = 0 a density of 0 decides."""
        xp: Any = namespace(x)
        at = {"alpha": alpha, "sigma": sigma}
        terms = xp.concatenate([group.call("log_density", x, at, tuple(at)) for group in self._checked(x)], 1)
        nowhere = xp.isinf(terms) & (terms < 0)
        total = xp.where(nowhere.any(1)[:, None], 0.0, terms).sum(1)
        return cast(xp.where(nowhere.any(1), -xp.inf, total), x)

    def sample(self, n: int, rng: Any) -> Array:
        """Draw n points, shape (n, d), in float64."""
        columns = [group.sample(n, rng) for group in self._groups]
        return self._assemble(columns[0], columns)

    def condition(self, x: Array, *, alpha: Any, sigma: Any) -> Posterior:
        """Return the law of x_data given x_t = x: independent coordinates."""
        return ProductPosterior(self, x, alpha, sigma)

    def flow(self, x: Array, start: tuple[float, float], stop: tuple[float, float]) -> Array:
        """Move points along the probability flow between (α, σ) at two times, coordinate by coordinate."""
        moved = []
        for group in self._checked(x):
            part = group.points(x)
            moved.append(group.target.flow(part, start, stop).reshape(x.shape[0], -1))
        return self._assemble(x, moved)

    def least_deviation(self, alpha: float, sigma: float) -> float:
        """Return the smallest standard deviation of a factor's parts."""
        return min(group.target.least_deviation(alpha, sigma) for group in self._groups)

    def __repr__(self) -> str:
        return f"Product(d={self.dimension}, {len(self._groups)} kinds of factors)"

    def _checked(self, x: Array) -> list[_Group]:
        check_batch(x, self.dimension)
        return self._groups

    def _assemble(self, x: Array, columns: list[Array]) -> Array:
        """Put the columns of the groups in their places."""
        xp: Any = namespace(x)
        order = np.argsort(np.concatenate([group.places for group in self._groups]))
        together = columns[0] if len(columns) == 1 else xp.concatenate(columns, 1)
        return together if (order == np.arange(len(order))).all() else together[:, order]


class _Group:
    """Coordinates with one law; or all that are Gaussian, as one Gaussian in their dimension."""

    def __init__(self, places: list[int], target: Target):
        self.places, self.target = np.asarray(places), target
        symbols = [Symbol(name) for name in ("c", "d", "alpha", "sigma")]
        self.products = tuple(target.products(*symbols))
        self.slopes = tuple(target.slopes(*symbols))
        self.joint = isinstance(target, Gaussian)

    def points(self, x: Array) -> Array:
        """Return this group's coordinates of x as points of its target: (B, n), or (Bn, 1)."""
        part = x if len(self.places) == x.shape[1] else x[:, self.places]
        return part if self.joint else part.reshape(-1, 1)

    def call(self, method: str, x: Array, coefficients: dict[str, Any], names: tuple[str, ...]) -> Array:
        """Return what a method of the target gives with some of the coefficients, a row for each point of x."""
        found = getattr(self.target, method)(self.points(x), **self.own(coefficients, names, x))
        return found if self.joint and found.ndim > 1 else found.reshape(x.shape[0], -1)

    def own(self, coefficients: dict[str, Any], names: tuple[str, ...], x: Array) -> dict[str, Any]:
        """Return some coefficients, one for each of the target's points."""
        if self.joint:
            return {name: coefficients[name] for name in names}
        xp: Any = namespace(x)
        repeated = {}
        for name in names:
            value = coefficients[name]
            single = isinstance(value, float) or value.ndim == 0
            repeated[name] = value if single else xp.tile(value, (1, len(self.places))).reshape(-1, 1)
        return repeated

    def sample(self, n: int, rng: Any) -> Array:
        """Draw the coordinates of n points, shape (n, their number)."""
        drawn = self.target.sample(n if self.joint else n * len(self.places), rng)
        return drawn.reshape(n, -1)


class ProductPosterior(Posterior):
    """The posterior under a product: independent coordinates."""

    def __init__(self, target: Product, x: Array, alpha: Any, sigma: Any):
        check_batch(x, target.dimension)
        self._target, self._x, self._at = target, x, {"alpha": alpha, "sigma": sigma}
        self._parts = [self._part(group) for group in target._groups]

    @property
    def mean(self) -> Array:
        """The posterior mean, which is the data prediction, shape (B, d)."""
        return self._gather([part.mean for part in self._parts])

    @property
    def covariance(self) -> Array:
        """The posterior covariance, diagonal, shape (B, d, d)."""
        xp: Any = namespace(self._x)
        variances = [xp.diagonal(part.covariance, 0, 1, 2) for part in self._parts]
        return _diagonal(self._gather(variances))

    def sample(self, rng: Any) -> Array:
        """Draw one x_data for each point, shape (B, d), with a generator of the library of the points."""
        return self._gather([part.sample(rng) for part in self._parts])

    def _part(self, group: _Group) -> Posterior:
        return group.target.condition(group.points(self._x), **group.own(self._at, tuple(self._at), self._x))

    def _gather(self, values: list[Array]) -> Array:
        rows = self._x.shape[0]
        return self._target._assemble(self._x, [value.reshape(rows, -1) for value in values])


def _group(factors: Sequence[Target]) -> list[_Group]:
    """Collect the coordinates of every object, and those of all Gaussians."""
    gaussian = [k for k, factor in enumerate(factors) if isinstance(factor, Gaussian)]
    groups = []
    if gaussian:
        means = np.array([factors[k].mean[0] for k in gaussian])  # type: ignore[attr-defined]
        variances = np.array([factors[k].eigenvalues[0, 0] for k in gaussian])  # type: ignore[attr-defined]
        groups.append(_Group(gaussian, Gaussian(means, variances)))
    places: dict[int, list[int]] = {}
    for k, factor in enumerate(factors):
        if not isinstance(factor, Gaussian):
            places.setdefault(id(factor), []).append(k)
    return groups + [_Group(own, factors[own[0]]) for own in places.values()]


def _diagonal(values: Array) -> Array:
    """Return diagonal matrices (B, d, d), zero beside the diagonal also where it is infinite."""
    xp: Any = namespace(values)
    identity: NDArray[np.float64] = np.eye(values.shape[1])
    return xp.where(constant(identity, values) > 0, values[:, None, :], 0.0)
