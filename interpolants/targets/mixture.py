r"""Mixtures of Gaussians, exact under any schedule.

.. math::
   S_k = \alpha^2 C_k + \sigma^2 I, \quad
   \gamma = \operatorname{softmax}_k\bigl(\log\pi_k + \log N(x; \alpha m_k, S_k)\bigr), \quad
   \mathbb E[c\,x_{\mathrm{data}} + d\,\varepsilon\,|\,x]
   = \sum_k \gamma_k\bigl[c\,m_k + (c\,\alpha C_k + d\,\sigma I) S_k^{-1}(x - \alpha m_k)\bigr]

in the eigenbasis of each :math:`C_k`, with responsibilities in log space. The products :math:`c\alpha` and
:math:`d\sigma` arrive simplified: for VP :math:`\dot\sigma_0 = \infty` but :math:`\sigma\dot\sigma` is finite.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sympy import Expr

from interpolants.coefficient import Array, namespace
from interpolants.prior import standard_normal
from interpolants.targets.target import Target
from solvers.errors import explain

__all__ = ["GaussianMixture"]


class GaussianMixture(Target):
    r"""The target :math:`\sum_k \pi_k N(m_k, C_k)`.

    Args:
        weights: :math:`\pi_k > 0` that sum to one, shape (K,).
        means: :math:`m_k`, shape (K, d).
        covs: :math:`C_k`, symmetric positive definite, shape (K, d, d).

    Raises:
        ValueError: shapes that do not fit, weights that are not a distribution, a covariance that is not symmetric
            positive definite, values that are not finite.
    """

    def __init__(self, weights: ArrayLike, means: ArrayLike, covs: ArrayLike):
        self.weights = np.asarray(weights, np.float64)
        self.means = np.asarray(means, np.float64)
        self.covs = np.asarray(covs, np.float64)
        _check_shapes(self.weights, self.means, self.covs)
        _check_values(self.weights, self.covs)
        self.eigenvalues, self.eigenvectors = np.linalg.eigh(self.covs)
        _check_positive(self.eigenvalues)

    @property
    def dimension(self) -> int:
        """The dimension d."""
        return int(self.means.shape[1])

    def products(self, c: Expr, d: Expr, alpha: Expr, sigma: Expr) -> dict[str, Expr]:
        """Return α, σ, c and the products cα and dσ."""
        return {"alpha": alpha, "sigma": sigma, "c": c, "c_alpha": c * alpha, "d_sigma": d * sigma}

    def expectation(self, x: Array, *, alpha: Any, sigma: Any, c: Any, c_alpha: Any, d_sigma: Any) -> Array:
        """Return E[c·x_data + d·ε | x], shape (B, d), from c, c·α and d·σ (numbers, or of shape (B, 1))."""
        z, variances, _, per_component = self._components(x, alpha, sigma, c, c_alpha, d_sigma)
        if len(self.weights) == 1:
            return per_component[:, 0]
        return (self._responsibilities(x, z, variances)[..., None] * per_component).sum(1)

    def jacobian(self, x: Array, *, alpha: Any, sigma: Any, c: Any, c_alpha: Any, d_sigma: Any) -> Array:
        r"""Return :math:`\sum_k\gamma_k[G_k + e_k(g_k - s)^\top]` of :math:`\sum_k\gamma_k e_k`, shape (B, d, d).

        Here :math:`G_k = (c\alpha C_k + d\sigma I)S_k^{-1}`, :math:`g_k = -S_k^{-1}(x - \alpha m_k)` and
        :math:`s = \sum_k\gamma_k g_k`.
        """
        _, _, vectors = self._arrays(x)
        transposed = vectors.swapaxes(-1, -2)
        z, variances, gain, per_component = self._components(x, alpha, sigma, c, c_alpha, d_sigma)
        gamma = self._responsibilities(x, z, variances)[..., None]
        scores = -_rotate(z / variances, transposed)
        slopes = (vectors * gain[..., None, :]) @ transposed
        pulls = scores - (gamma * scores).sum(1)[:, None]
        return (gamma[..., None] * (slopes + per_component[..., None] * pulls[..., None, :])).sum(1)

    def log_density(self, x: Array, *, alpha: Any, sigma: Any) -> Array:
        """Return log p_t(x), shape (B,)."""
        logits = self._logits(x, *self._whiten(x, alpha, sigma))
        peak = logits.max(1)
        peak = peak if isinstance(peak, np.ndarray) else peak.values
        xp: Any = namespace(x)
        return peak + xp.log(xp.exp(logits - peak[:, None]).sum(1))

    def sample(self, n: int, rng: Any) -> Array:
        """Draw n points, shape (n, d), in float64."""
        roots = self.eigenvectors * np.sqrt(self.eigenvalues)[:, None, :]
        if isinstance(rng, np.random.Generator):
            component = rng.choice(len(self.weights), size=n, p=self.weights)
            standard = rng.standard_normal((n, self.dimension))
            return self.means[component] + (roots[component] @ standard[..., None])[..., 0]
        standard = standard_normal((n, self.dimension), rng).double()
        import torch

        weights = torch.as_tensor(self.weights, device=standard.device)
        drawn = torch.multinomial(weights, n, replacement=True, generator=rng)
        spread = torch.as_tensor(roots, device=standard.device)[drawn]
        means = torch.as_tensor(self.means, device=standard.device)[drawn]
        return means + (spread @ standard[..., None])[..., 0]

    def flow(self, x: Array, start: tuple[float, float], stop: tuple[float, float]) -> Array:
        """Closed form for one Gaussian only; integrate the velocity of a mixture with :func:`solvers.solve`."""
        remedy = "solve(probability_flow(schedule, path.velocity), x, uniform(n), RK4())"
        raise ValueError(explain("a Gaussian target for a closed-form flow", "a mixture", remedy))

    def _arrays(self, x: Array) -> tuple[Array, Array, Array]:
        """Means, eigenvalues and eigenvectors as arrays of x's library, dtype and device."""
        if x.ndim != 2 or x.shape[1] != self.dimension:
            remedy = "pass a batch of points"
            raise ValueError(explain(f"x of shape (B, {self.dimension})", f"shape {tuple(x.shape)}", remedy))
        arrays = (self.means, self.eigenvalues, self.eigenvectors)
        xp: Any = namespace(x)
        if xp is np:
            means, values, vectors = (array.astype(x.dtype, copy=False) for array in arrays)
        else:
            means, values, vectors = (xp.asarray(array, dtype=x.dtype, device=x.device) for array in arrays)
        return means, values, vectors

    def _whiten(self, x: Array, alpha: Any, sigma: Any) -> tuple[Array, Array]:
        """Return x − αm_k and the variances α²c + σ² in each eigenbasis, shapes (B, K, d) and (B or 1, K, d)."""
        means, values, vectors = self._arrays(x)
        centred = x[:, None, :] - _component(alpha) * means
        return _rotate(centred, vectors), _component(alpha) ** 2 * values + _component(sigma) ** 2

    def _components(
        self, x: Array, alpha: Any, sigma: Any, c: Any, c_alpha: Any, d_sigma: Any
    ) -> tuple[Array, Array, Array, Array]:
        """Return z and the variances of :meth:`_whiten`, the gain of z, and each component's expectation (B, K, d)."""
        means, values, vectors = self._arrays(x)
        z, variances = self._whiten(x, alpha, sigma)
        gain = (_component(c_alpha) * values + _component(d_sigma)) / variances
        return z, variances, gain, _component(c) * means + _rotate(gain * z, vectors.swapaxes(-1, -2))

    def _logits(self, x: Array, z: Array, variances: Array) -> Array:
        """Return log π_k + log N(x; αm_k, S_k), shape (B, K)."""
        xp: Any = namespace(x)
        weights = self.weights.astype(x.dtype) if xp is np else xp.asarray(self.weights, dtype=x.dtype, device=x.device)
        quadratic = (z * z / variances + xp.log(variances)).sum(-1)
        return xp.log(weights) - 0.5 * (quadratic + self.dimension * math.log(2 * math.pi))

    def _responsibilities(self, x: Array, z: Array, variances: Array) -> Array:
        logits = self._logits(x, z, variances)
        peak = logits.max(1)
        peak = peak if isinstance(peak, np.ndarray) else peak.values
        xp: Any = namespace(x)
        unnormalised = xp.exp(logits - peak[:, None])
        return unnormalised / unnormalised.sum(1)[:, None]


def _component(value: Any) -> Any:
    """Give a (B, 1) coefficient the component axis: (B, 1, 1)."""
    return value if isinstance(value, float) or value.ndim == 0 else value[:, :, None]


def _rotate(rows: Array, matrices: Array) -> Array:
    """Multiply rows (B, K, d) by matrices (K, d, d) from the right."""
    return (rows[..., None, :] @ matrices)[..., 0, :]


def _check_shapes(weights: NDArray[np.float64], means: NDArray[np.float64], covs: NDArray[np.float64]) -> None:
    k, d = (*means.shape, 0, 0)[:2]
    if weights.shape != (k,) or means.ndim != 2 or covs.shape != (k, d, d) or not k or not d:
        received = f"{weights.shape}, {means.shape} and {covs.shape}"
        remedy = "give every component its weight, mean and covariance"
        raise ValueError(explain("weights (K,), means (K, d) and covs (K, d, d)", received, remedy))
    for name, array in (("weights", weights), ("means", means), ("covs", covs)):
        if not np.isfinite(array).all():
            raise ValueError(explain(f"finite {name}", "NaN or infinity", "clean the data first"))


def _check_values(weights: NDArray[np.float64], covs: NDArray[np.float64]) -> None:
    if (weights <= 0).any() or abs(weights.sum() - 1) > 1e-9:
        received = f"{weights.tolist()} with sum {weights.sum():.9g}"
        raise ValueError(explain("positive weights that sum to 1", received, "divide them by their sum"))
    asymmetry = float(np.abs(covs - covs.swapaxes(-1, -2)).max())
    if asymmetry > 1e-9 * float(np.abs(covs).max()):
        remedy = "symmetrise it: (C + C.T) / 2"
        raise ValueError(explain("a symmetric covariance", f"an asymmetry of {asymmetry:.3g}", remedy))


def _check_positive(eigenvalues: NDArray[np.float64]) -> None:
    if not eigenvalues.min() > 1e-14 * eigenvalues.max():
        remedy = "add a small multiple of the identity"
        received = f"the eigenvalue {eigenvalues.min():.3g}"
        raise ValueError(explain("a positive definite covariance", received, remedy))
