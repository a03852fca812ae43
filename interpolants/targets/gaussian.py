r"""One Gaussian, :math:`N(m, C)`: the target under which everything has a closed form.

With :math:`\rho_t^2 = \alpha_t^2 c + \sigma_t^2` per eigenvalue :math:`c` of :math:`C`, the marginal is
:math:`N(\alpha_t m, \rho_t^2)` and the probability flow is
:math:`\Psi_{t\to u}(x) = \alpha_u m + (\rho_u/\rho_t)(x - \alpha_t m)`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from interpolants.coefficient import Array
from interpolants.targets.covariance import LowRank
from interpolants.targets.limits import cast, check_batch, constant
from interpolants.targets.mixture import GaussianMixture
from solvers.errors import PoleError, explain

__all__ = ["Gaussian"]

REMEDY = "start at a later time: one point cannot be spread by a flow"


class Gaussian(GaussianMixture):
    r"""The target :math:`N(m, C)`.

    Args:
        mean: :math:`m`, shape (d,).
        cov: :math:`C`: a variance for all directions, variances of shape (d,), a matrix of shape (d, d), or
            :class:`~interpolants.LowRank` of factors (d, r). Zero eigenvalues are allowed (0 is a point mass); at
            σ = 0 see :class:`~interpolants.GaussianMixture`.

    Raises:
        ValueError: shapes that do not fit, or a covariance that is not symmetric or has a negative eigenvalue.
    """

    def __init__(self, mean: ArrayLike, cov: Any):
        centre = np.atleast_1d(np.asarray(mean, np.float64))
        factors = isinstance(cov, LowRank)
        shape = cov.factors.shape[:-1] if isinstance(cov, LowRank) else np.shape(cov)
        fitting = (centre.shape, (1, *centre.shape)) if factors else ((), centre.shape, 2 * centre.shape)
        if centre.ndim != 1 or shape not in fitting:
            d = centre.shape[0]
            received = f"{np.shape(mean)} and {cov if factors else shape}"
            remedy = "give one variance, d variances, a d × d matrix or LowRank factors of d rows"
            raise ValueError(explain(f"mean (d,) and cov (), ({d},) or ({d}, {d})", received, remedy))
        one = cov if isinstance(cov, LowRank) else np.asarray(cov, np.float64)
        super().__init__([1.0], centre[None], one if isinstance(one, LowRank) or not one.ndim else one[None])

    @property
    def mean(self) -> NDArray[np.float64]:
        """The mean, shape (d,)."""
        return np.asarray(self.means[0])

    @property
    def cov(self) -> NDArray[np.float64]:
        """The covariance, shape (d, d), made when asked for."""
        return np.asarray(self.covs[0])

    def flow(self, x: Array, start: tuple[float, float], stop: tuple[float, float]) -> Array:
        """Move points along the probability flow between (α, σ) at two times, in closed form."""
        check_batch(x, self.dimension)
        (alpha_0, sigma_0), (alpha_1, sigma_1) = start, stop
        if sigma_0 == 0 and sigma_1 != 0 and self.covariances.singular:
            raise PoleError(explain("a start where the law has a density", "σ = 0 and a singular covariance", REMEDY))
        return cast(self._move(constant(x, x), alpha_0, sigma_0, alpha_1, sigma_1), x)

    def _move(self, x: Array, alpha_0: float, sigma_0: float, alpha_1: float, sigma_1: float) -> Array:
        means, covs = constant(self.means[0], x), self.covariances
        z = x - alpha_0 * means
        growth = [constant(_growth(part.values[0], alpha_0, sigma_0, alpha_1, sigma_1), x) for part in covs.parts]
        if covs.basis is None:
            return alpha_1 * means + growth[0] * z
        basis = constant(covs.basis[0], x)
        along = z @ basis
        moved = (growth[0] * along) @ basis.T
        rest = 0.0 if len(covs.parts) == 1 else growth[1] * (z - along @ basis.T)
        return alpha_1 * means + moved + rest

    def __repr__(self) -> str:
        return f"Gaussian(d={self.dimension}, eigenvalues {_range(self.eigenvalues)})"


def _growth(values: NDArray[np.float64], alpha_0: float, sigma_0: float, alpha_1: float, sigma_1: float) -> Any:
    """Return ρ₁/ρ₀ per eigenvalue; 1 where both are zero, which is where nothing moves."""
    roots = np.sqrt(values)
    before, after = np.hypot(alpha_0 * roots, sigma_0), np.hypot(alpha_1 * roots, sigma_1)
    return np.where(before > 0, after / np.where(before > 0, before, 1.0), 1.0)


def _range(values: Any) -> str:
    return f"{np.min(values):.3g} to {np.max(values):.3g}"
