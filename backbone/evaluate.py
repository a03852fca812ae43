r"""Numbers that say how good samples are: Fréchet distance of features and accuracy of the label asked for."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from solvers.errors import explain

__all__ = ["Classifier", "conditional_accuracy", "frechet_distance", "gaussian_frechet_distance"]


class Classifier(Protocol):
    """Anything with scikit-learn's ``predict``."""

    def predict(self, images: NDArray[np.float64], /) -> ArrayLike:
        """Return the labels (N,) of images."""
        ...


def frechet_distance(a: ArrayLike, b: ArrayLike) -> float:
    r"""Squared Fréchet distance of the Gaussians fitted to two sets of features.

    .. math:: |\mu_a - \mu_b|^2 + \mathrm{tr}\,\Sigma_a + \mathrm{tr}\,\Sigma_b
              - 2\,\mathrm{tr}\,(\Sigma_a^{1/2} \Sigma_b \Sigma_a^{1/2})^{1/2}

    With Inception features this is FID. It is biased upwards by about 1/n, so compare sets of the same size.

    Args:
        a: features (n, d), or anything that reshapes to it along the first axis.
        b: features (m, d).

    Raises:
        ValueError: fewer than two rows, different d, or values that are not finite.

    References: Dowson & Landau (1982); Heusel et al. (2017), arXiv:1706.08500.
    """
    rows_a, rows_b = _features("a", a), _features("b", b)
    return gaussian_frechet_distance(
        rows_a.mean(axis=0), np.atleast_2d(np.cov(rows_a.T)), rows_b.mean(axis=0), np.atleast_2d(np.cov(rows_b.T))
    )


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
    sigma_a, sigma_b = (np.asarray(cov, dtype=np.float64) for cov in (cov_a, cov_b))
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


def conditional_accuracy(classifier: Classifier, samples: ArrayLike, labels: ArrayLike) -> float:
    """Return the share of samples in which the classifier sees the label that was asked for.

    Args:
        classifier: fitted on real images that the network was not trained on.
        samples: (N, …), passed to ``classifier.predict`` as rows (N, d).
        labels: (N,).

    Raises:
        ValueError: no samples, lengths that differ, or samples that are not finite.
    """
    rows, wanted = _rows("samples", samples, least=1), _host(labels)
    if wanted.shape != (len(rows),):
        raise ValueError(explain(f"labels of shape ({len(rows)},)", str(wanted.shape), "one label per sample"))
    return float(np.mean(np.asarray(classifier.predict(rows)) == wanted))


def _host(values: ArrayLike) -> NDArray[np.float64]:
    cpu = getattr(values, "detach", None)
    return np.asarray(cpu().cpu() if cpu else values)


def _rows(name: str, values: ArrayLike, least: int) -> NDArray[np.float64]:
    array = _host(values).astype(np.float64)
    if array.ndim < 1 or len(array) < least:
        raise ValueError(explain(f"{name} with at least {least} rows", f"shape {array.shape}", "give more samples"))
    if not np.isfinite(array).all():
        raise ValueError(
            explain(
                f"finite {name}", f"{np.sum(~np.isfinite(array))} values that are not", "find where they arise first"
            )
        )
    return array.reshape(len(array), -1)


def _features(name: str, values: ArrayLike) -> NDArray[np.float64]:
    return _rows(name, values, least=2)


def _square_root(cov: NDArray[np.float64]) -> NDArray[np.float64]:
    if not np.isfinite(cov).all():
        raise ValueError(explain("finite covariances", "values that are not finite", "check the features"))
    scale = float(np.abs(cov).max(initial=0.0))
    tolerance = 1e-8 * scale
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
