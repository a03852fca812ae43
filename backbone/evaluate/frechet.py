r"""Fréchet distance of two sets of features, and how much of it their sizes make."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from backbone.evaluate.moments import Moments
from backbone.evaluate.rows import rows_of
from solvers.errors import explain

__all__ = ["frechet_bias", "frechet_distance", "gaussian_frechet_distance"]


def frechet_distance(a: ArrayLike, b: ArrayLike) -> float:
    r"""Squared Fréchet distance of the Gaussians fitted to two sets of features.

    .. math:: |\mu_a - \mu_b|^2 + \mathrm{tr}\,\Sigma_a + \mathrm{tr}\,\Sigma_b
              - 2\,\mathrm{tr}\,(\Sigma_a^{1/2} \Sigma_b \Sigma_a^{1/2})^{1/2}

    With Inception features this is FID. It is biased upwards by about 1/n, see
    :func:`backbone.evaluate.frechet_bias`, so compare sets of the same size.

    Args:
        a: features (n, d), or anything that reshapes to it along the first axis.
        b: features (m, d).

    Raises:
        ValueError: fewer than two rows, different d, or values that are not finite.

    References: Dowson & Landau (1982); Heusel et al. (2017), arXiv:1706.08500.
    """
    one, other = Moments.of(rows_of("a", a, least=2)), Moments.of(rows_of("b", b, least=2))
    return gaussian_frechet_distance(one.mean, one.covariance, other.mean, other.covariance)


def gaussian_frechet_distance(mean_a: ArrayLike, cov_a: ArrayLike, mean_b: ArrayLike, cov_b: ArrayLike) -> float:
    r"""Squared Fréchet distance of two Gaussians, the formula of :func:`frechet_distance`, for stored statistics.

    The trace is the nuclear norm of :math:`\Sigma_a^{1/2}\Sigma_b^{1/2}`: real by construction, and accurate for
    singular covariances, where a general matrix square root returns complex values.

    Args:
        mean_a: (d,).
        cov_a: (d, d), symmetric and positive semi-definite.
        mean_b: (d,).
        cov_b: (d, d).

    Raises:
        ValueError: shapes do not fit, a value is not finite, or a covariance is not symmetric positive semi-definite.
    """
    mu_a, mu_b = (np.asarray(mean, dtype=np.float64) for mean in (mean_a, mean_b))
    sigma_a, sigma_b = (np.asarray(cov) for cov in (cov_a, cov_b))
    d = mu_a.size
    shapes = [mu_a.shape, sigma_a.shape, mu_b.shape, sigma_b.shape]
    if shapes != [(d,), (d, d), (d,), (d, d)]:
        raise ValueError(
            explain(
                "means (d,) and covariances (d, d) of one d", str(shapes), "compute both sets with the same features"
            )
        )
    cross = np.linalg.svd(_square_root(sigma_a) @ _square_root(sigma_b), compute_uv=False).sum()
    shift = float(np.sum((mu_a - mu_b) ** 2))
    # Rounding can leave a tiny negative number between equal Gaussians; a distance is not negative.
    return max(0.0, shift + float(np.trace(sigma_a) + np.trace(sigma_b) - 2 * cross))


def frechet_bias(cov: ArrayLike, count_a: float, count_b: float) -> float:
    r"""Expected squared Fréchet distance of two finite sets drawn from one Gaussian, to first order.

    .. math:: \Bigl(\frac1n + \frac1m\Bigr) \Bigl[\tfrac54\,\mathrm{tr}\,\Sigma
              + \tfrac12 \sum_{ij} \frac{\lambda_i\lambda_j}{\lambda_i + \lambda_j}\Bigr]

    Of an FID this is the part that sizes of n and m make, as far as the features are Gaussian and the sets are larger
    than d. The means contribute :math:`\mathrm{tr}\,\Sigma`. For the covariances the distance to second order is
    :math:`\tfrac12 \sum \Delta_{ij}^2 / (\lambda_i + \lambda_j)`, and a Wishart entry has
    :math:`\mathbb E\Delta_{ij}^2 = (1 + \delta_{ij}) \lambda_i \lambda_j (1/n + 1/m)`.

    Args:
        cov: (d, d), the covariance of the reference, with eigenvalues λ.
        count_a: n; infinity for a set that is known exactly.
        count_b: m.

    References: Chong & Forsyth, Effectively unbiased FID (2020), arXiv:1911.07023, for the 1/n.
    """
    values = np.clip(np.linalg.eigvalsh(np.asarray(cov, dtype=np.float64)), 0.0, None)
    sums = values[:, None] + values
    pairs = np.divide(np.outer(values, values), sums, out=np.zeros_like(sums), where=sums > 0)
    return float((1 / count_a + 1 / count_b) * (1.25 * values.sum() + 0.5 * pairs.sum()))


def _square_root(given: NDArray[np.floating]) -> NDArray[np.float64]:
    cov = given.astype(np.float64)
    if not np.isfinite(cov).all():
        raise ValueError(explain("finite covariances", "values that are not finite", "check the features"))
    # Statistics that were stored in float32 have eigenvalues off by their rounding.
    stored = np.finfo(given.dtype).eps if given.dtype.kind == "f" else 0.0
    tolerance = max(1e-8, len(cov) * float(stored)) * float(np.abs(cov).max(initial=0.0))
    values, vectors = np.linalg.eigh((cov + cov.T) / 2)
    if np.abs(cov - cov.T).max(initial=0.0) > tolerance or values.min(initial=0.0) < -tolerance:
        raise ValueError(
            explain(
                "symmetric positive semi-definite covariances",
                f"smallest eigenvalue {values.min():.3g}, asymmetry {np.abs(cov - cov.T).max():.3g}",
                "compute them with numpy.cov in float64",
            )
        )
    # Negative eigenvalues within the tolerance are rounding of zeros.
    root: NDArray[np.float64] = (vectors * np.sqrt(np.clip(values, 0.0, None))) @ vectors.T
    return root
