"""Densities of one number: what the laws of times and of log-SNRs are made of.

Every formula is written once, for an array library or sympy, named ``xp``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from sympy import Expr, Float, Rational

from interpolants.symbols import canonical
from solvers.errors import explain

__all__ = ["Box", "Cauchy", "Laplace", "Logistic", "Normal", "Shape", "exact"]


def exact(expression: Expr) -> Expr:
    """Return an expression with rational numbers in place of floats."""
    return expression.xreplace({value: Rational(repr(float(value))) for value in expression.atoms(Float)})


def special(xp: Any) -> Any:
    """Return the library with ``ndtr`` and ``ndtri``, the normal distribution function and its inverse."""
    if xp.__name__ == "torch":
        return xp.special
    if xp is np:
        import scipy.special  # slow to import, and only the normal laws need it

        return scipy.special
    import jax.scipy.special

    return jax.scipy.special


@dataclass(frozen=True)
class Shape:
    """A density on the real line, of a location and a scale > 0."""

    location: float
    scale: float

    def __post_init__(self) -> None:
        number = canonical(self.location, "a location")
        width = canonical(self.scale, "a scale")
        if number.free_symbols or width.free_symbols or not width > 0:
            received = f"location {self.location}, scale {self.scale}"
            raise ValueError(explain("a location and a scale > 0", received, "pass two numbers"))
        object.__setattr__(self, "location", float(number))
        object.__setattr__(self, "scale", float(width))

    @property
    def edges(self) -> tuple[float, float]:
        """The numbers between which it is positive."""
        return -np.inf, np.inf

    def density(self, xp: Any, x: Any) -> Any:
        """Return the density."""
        return self._density(xp, (x - self.location) / self.scale) / self.scale

    def cdf(self, xp: Any, x: Any) -> Any:
        """Return the probability of a smaller number."""
        return self._cdf(xp, (x - self.location) / self.scale)

    def quantile(self, xp: Any, u: Any) -> Any:
        """Return the number below which the probability is u."""
        return self.location + self.scale * self._quantile(xp, u)

    def _density(self, xp: Any, z: Any) -> Any:
        raise NotImplementedError

    def _cdf(self, xp: Any, z: Any) -> Any:
        raise NotImplementedError

    def _quantile(self, xp: Any, u: Any) -> Any:
        raise NotImplementedError


class Normal(Shape):
    r"""The normal density :math:`e^{-z^2/2}/\sqrt{2\pi}`, :math:`z = (x - location)/scale`."""

    def _density(self, xp: Any, z: Any) -> Any:
        return xp.exp(-z * z / 2) / (2 * xp.pi) ** 0.5

    def _cdf(self, xp: Any, z: Any) -> Any:
        return special(xp).ndtr(z)

    def _quantile(self, xp: Any, u: Any) -> Any:
        return special(xp).ndtri(u)


class Laplace(Shape):
    r"""The Laplace density :math:`\tfrac12 e^{-|z|}`: for log-SNRs that of Hang et al. (2024), arXiv 2407.03297."""

    def _density(self, xp: Any, z: Any) -> Any:
        return xp.exp(-abs(z)) / 2

    def _cdf(self, xp: Any, z: Any) -> Any:
        below = xp.exp(-abs(z)) / 2
        return xp.where(z < 0, below, 1 - below)

    def _quantile(self, xp: Any, u: Any) -> Any:
        return xp.where(u < 0.5, xp.log(2 * u), -xp.log(2 * (1 - u)))


class Cauchy(Shape):
    r"""The Cauchy density :math:`1/\pi(1 + z^2)`, whose tails are the heaviest here."""

    def _density(self, xp: Any, z: Any) -> Any:
        return 1 / (xp.pi * (1 + z * z))

    def _cdf(self, xp: Any, z: Any) -> Any:
        return 0.5 + xp.arctan(z) / xp.pi

    def _quantile(self, xp: Any, u: Any) -> Any:
        return xp.tan(xp.pi * (u - 0.5))


class Logistic(Shape):
    r"""The logistic density :math:`1/4\cosh^2(z/2)`; of scale 2 it makes times uniform under ``Linear``."""

    def _density(self, xp: Any, z: Any) -> Any:
        return xp.exp(-abs(z)) / (1 + xp.exp(-abs(z))) ** 2

    def _cdf(self, xp: Any, z: Any) -> Any:
        return 1 / (1 + xp.exp(-z))

    def _quantile(self, xp: Any, u: Any) -> Any:
        return xp.log(u) - xp.log1p(-u)


class Box(Shape):
    """The uniform density, 1/(2 scale) within ``scale`` of the location; zero elsewhere."""

    @property
    def edges(self) -> tuple[float, float]:
        """The numbers between which it is positive."""
        return self.location - self.scale, self.location + self.scale

    def _density(self, xp: Any, z: Any) -> Any:
        if xp.__name__ == "sympy":
            return xp.Rational(1, 2)  # inside; the law's support says where that is
        return xp.where(abs(z) <= 1, 0.5, 0.0)

    def _cdf(self, xp: Any, z: Any) -> Any:
        return xp.clip((z + 1) / 2, 0.0, 1.0)

    def _quantile(self, xp: Any, u: Any) -> Any:
        return 2 * u - 1
