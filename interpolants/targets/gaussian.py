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
from interpolants.targets.mixture import GaussianMixture
from solvers.errors import explain

__all__ = ["Gaussian"]


class Gaussian(GaussianMixture):
    r"""The target :math:`N(m, C)`.

    Args:
        mean: :math:`m`, shape (d,).
        cov: :math:`C`: a variance for all directions, variances of shape (d,), or a matrix of shape (d, d).

    Raises:
        ValueError: shapes that do not fit, or a covariance that is not symmetric positive definite.
    """

    def __init__(self, mean: ArrayLike, cov: ArrayLike):
        centre = np.atleast_1d(np.asarray(mean, np.float64))
        matrix = np.asarray(cov, np.float64)
        if centre.ndim != 1 or matrix.shape not in ((), centre.shape, 2 * centre.shape):
            d = centre.shape[0]
            received = f"{np.shape(mean)} and {np.shape(cov)}"
            remedy = "give one variance, d variances or a d × d matrix"
            raise ValueError(explain(f"mean (d,) and cov (), ({d},) or ({d}, {d})", received, remedy))
        if matrix.ndim < 2:
            matrix = np.diag(np.broadcast_to(matrix, centre.shape))
        super().__init__([1.0], centre[None], matrix[None])

    @property
    def mean(self) -> NDArray[np.float64]:
        """The mean, shape (d,)."""
        return np.asarray(self.means[0])

    @property
    def cov(self) -> NDArray[np.float64]:
        """The covariance, shape (d, d)."""
        return np.asarray(self.covs[0])

    def flow(self, x: Array, start: tuple[float, float], stop: tuple[float, float]) -> Array:
        """Move points along the probability flow between (α, σ) at two times."""
        means, values, vectors = (array[0] for array in self._arrays(x))
        (alpha_0, sigma_0), (alpha_1, sigma_1) = start, stop
        growth = ((alpha_1**2 * values + sigma_1**2) / (alpha_0**2 * values + sigma_0**2)) ** 0.5
        return alpha_1 * means + (((x - alpha_0 * means) @ vectors) * growth) @ vectors.swapaxes(-1, -2)

    def __repr__(self) -> str:
        return f"Gaussian(d={self.dimension}, eigenvalues {_range(self.eigenvalues)})"


def _range(values: Any) -> str:
    return f"{np.min(values):.3g} to {np.max(values):.3g}"
