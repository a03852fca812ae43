"""What a path asks of a target: posterior means, densities and samples of its data under any schedule."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from sympy import Expr

from interpolants.coefficient import Array
from interpolants.targets.posterior import Posterior
from solvers.errors import explain

__all__ = ["Target"]


class Target(ABC):
    r"""A law of data in d dimensions whose :math:`\mathbb E[c\,x_{\mathrm{data}} + d\,\varepsilon\,|\,x]` is known.

    A target names the products of :math:`c, d, \alpha, \sigma` that it needs as expressions (:meth:`products`,
    :meth:`slopes`), so that what is infinite in a factor and finite in a product is simplified before it is evaluated;
    the path evaluates them, each to a number or an array of shape (B, 1), and passes them on by name.
    """

    @property
    @abstractmethod
    def dimension(self) -> int:
        """The dimension d."""

    @abstractmethod
    def products(self, c: Expr, d: Expr, alpha: Expr, sigma: Expr) -> dict[str, Expr]:
        """Return the keyword arguments of :meth:`expectation` as expressions of time."""

    @abstractmethod
    def expectation(self, *args: Any, **coefficients: Any) -> Array:
        """Return E[c·x_data + d·ε | x], shape (B, d), for x of shape (B, d)."""

    @abstractmethod
    def log_density(self, x: Array, *, alpha: Any, sigma: Any) -> Array:
        """Return log p_t(x), shape (B,)."""

    @abstractmethod
    def sample(self, n: int, rng: Any) -> Array:
        """Draw n points with a numpy or torch generator, shape (n, d), in float64."""

    def slopes(self, c: Expr, d: Expr, alpha: Expr, sigma: Expr) -> dict[str, Expr]:
        """Return the keyword arguments of :meth:`jacobian` and :meth:`divergence` as expressions of time."""
        return self.products(c, d, alpha, sigma)

    @abstractmethod
    def jacobian(self, *args: Any, **coefficients: Any) -> Array:
        """Return the Jacobian of :meth:`expectation` in x, shape (B, d, d): rows are components."""

    def divergence(self, *args: Any, **coefficients: Any) -> Array:
        """Return the trace of :meth:`jacobian`, shape (B,)."""
        jacobian = self.jacobian(*args, **coefficients)
        return sum(jacobian[:, k, k] for k in range(self.dimension))

    def flow(self, x: Array, start: tuple[float, float], stop: tuple[float, float]) -> Array:
        """Move points along the probability flow between (α, σ) at two times, integrated to about 1e-10."""
        from interpolants.targets.flow import integrate

        return integrate(self, x, start, stop)

    def least_deviation(self, alpha: float, sigma: float) -> float:
        """Return the smallest scale of p_t: the least standard deviation of its parts, 0 where there is no density."""
        return sigma

    def condition(self, x: Array, *, alpha: Any, sigma: Any) -> Posterior:
        """Return the law of x_data given x_t = x."""
        raise TypeError(explain("a target whose posterior is known", type(self).__name__, "use one of the library"))

    def given(self, label: object) -> Target:
        """Return the target of one class."""
        raise TypeError(explain("a target with labels", type(self).__name__, "use GaussianMixture or Empirical"))

    def class_probabilities(self, x: Array, *, alpha: Any, sigma: Any) -> Array:
        """Return p(label | x), shape (B, classes)."""
        raise TypeError(explain("a target with labels", type(self).__name__, "use GaussianMixture or Empirical"))
