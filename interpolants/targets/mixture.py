r"""Mixtures of Gaussians, exact under any schedule.

.. math::
   S_k = \alpha^2 C_k + \sigma^2 I, \quad
   \gamma = \operatorname{softmax}_k\bigl(\log\pi_k + \log N(x; \alpha m_k, S_k)\bigr), \quad
   \mathbb E[c\,x_{\mathrm{data}} + d\,\varepsilon\,|\,x]
   = \sum_k \gamma_k\bigl[c\,m_k + (c\,\alpha C_k + d\,\sigma I) S_k^{-1}(x - \alpha m_k)\bigr]

in the eigenbasis of each :math:`C_k`, with responsibilities in log space. The products :math:`c\alpha` and
:math:`d\sigma` arrive simplified: for VP :math:`\dot\sigma_0 = \infty` but :math:`\sigma\dot\sigma` is finite.
Only where :math:`C_k` has a zero eigenvalue the gain is :math:`d/\sigma`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sympy import Expr

from interpolants.coefficient import Array
from interpolants.prior import standard_normal
from interpolants.targets.checks import INFINITE, check_labels, check_mixture
from interpolants.targets.classes import Labelled
from interpolants.targets.components import Components
from interpolants.targets.covariance import Covariances, covariances
from interpolants.targets.limits import blocked, cast, check_batch, constant, doubles
from interpolants.targets.posterior import MixturePosterior

if TYPE_CHECKING:
    from interpolants.prediction import Prediction
    from interpolants.schedule import Schedule

__all__ = ["GaussianMixture"]


class GaussianMixture(Labelled):
    r"""The target :math:`\sum_k \pi_k N(m_k, C_k)`.

    Args:
        weights: :math:`\pi_k > 0` that sum to one, shape (K,).
        means: :math:`m_k`, shape (K, d).
        covs: :math:`C_k`, symmetric positive semidefinite: one variance for all, K variances, variances per direction
            (K, d), matrices (K, d, d), or :class:`~interpolants.LowRank`. Only matrices take K·d² numbers.
        labels: the class of every component, shape (K,), for :meth:`given`.
        block: how many float64 numbers an intermediate array may hold, at least 1; 2²² is 32 MB. The batch is cut to
            fit; one point needs K·d of them (Jacobians B·d²), whatever the limit.

    Everything is computed in float64 and returned in the type of x. Eigenvalues may be zero, down to point masses
    (C = 0): the score at σ > 0 is finite. At σ = 0 the responsibilities are their limits: the component whose support
    :math:`\alpha m_k + \operatorname{range} C_k` is nearest has all, among equally near ones that with the most zero
    eigenvalues. There the noise is ±inf off the supports and 0 on them, the log-density −inf and +inf; a number as time
    is a PoleError where the prediction can be infinite, an array of times gives ±inf, never NaN. The data prediction is
    finite everywhere. A point within rounding (64 ulp of its size) of a support that is not along the axes is on it.

    Raises:
        TypeError: points or covariances of a wrong type.
        ValueError: shapes that do not fit, weights that are not a distribution, a covariance that is not symmetric or
            has a negative eigenvalue, values that are not finite.
    """

    def __init__(
        self,
        weights: ArrayLike,
        means: ArrayLike,
        covs: Any,
        labels: Any = None,
        *,
        block: int = 2**22,
    ):
        self.weights, self.means, self.block = check_mixture(weights, means, block)
        k, d = self.means.shape
        self.covariances: Covariances = covariances(covs, k, d)
        self.labels = None if labels is None else check_labels(labels, k)

    @property
    def dimension(self) -> int:
        """The dimension d."""
        return int(self.means.shape[1])

    @property
    def covs(self) -> NDArray[np.float64]:
        """The covariances as matrices, shape (K, d, d), made when asked for."""
        return self.covariances.matrices

    @property
    def eigenvalues(self) -> NDArray[np.float64]:
        """The eigenvalues of every covariance, shape (K, d)."""
        return self.covariances.eigenvalues

    @property
    def eigenvectors(self) -> NDArray[np.float64]:
        """Their eigenvectors in columns, shape (K, d, d), made when asked for."""
        return self.covariances.eigenvectors

    def products(self, c: Expr, d: Expr, alpha: Expr, sigma: Expr) -> dict[str, Expr]:
        """Return α, σ, c and the products cα and dσ; with a zero eigenvalue also d/σ."""
        found = {"alpha": alpha, "sigma": sigma, "c": c, "c_alpha": c * alpha, "d_sigma": d * sigma}
        return found | {"ratio": d / sigma} if self.covariances.singular else found

    def slopes(self, c: Expr, d: Expr, alpha: Expr, sigma: Expr) -> dict[str, Expr]:
        """Return the products, and 1/σ² for several components of which one has a zero eigenvalue."""
        found = self.products(c, d, alpha, sigma)
        several = self.covariances.singular and len(self.weights) > 1
        return found | {"pull": 1 / sigma**2} if several else found

    def expectation(self, x: Array, **coefficients: Any) -> Array:
        """Return E[c·x_data + d·ε | x], shape (B, d), from :meth:`products` (numbers, or of shape (B, 1))."""
        return self._map(Components.expectation, x, coefficients)

    def jacobian(self, x: Array, **coefficients: Any) -> Array:
        r"""Return :math:`\sum_k\gamma_k[G_k + e_k(g_k - s)^\top]` of :math:`\sum_k\gamma_k e_k`, shape (B, d, d).

        Here :math:`G_k = (c\alpha C_k + d\sigma I)S_k^{-1}`, :math:`g_k = -S_k^{-1}(x - \alpha m_k)` and
        :math:`s = \sum_k\gamma_k g_k`.
        """
        jacobian = self._map(Components.slope, x, coefficients, trace=False)
        return jacobian + 0 * x[:, :, None] if jacobian.shape != (*x.shape, x.shape[1]) else jacobian

    def divergence(self, x: Array, **coefficients: Any) -> Array:
        """Return the trace of :meth:`jacobian`, shape (B,), without a d × d matrix."""
        divergence = self._map(Components.slope, x, coefficients, trace=True)
        return divergence + 0 * x[:, 0] if divergence.shape != x.shape[:1] else divergence

    def log_density(self, x: Array, *, alpha: Any, sigma: Any) -> Array:
        """Return log p_t(x), shape (B,)."""
        return self._map(Components.log_density, x, {"alpha": alpha, "sigma": sigma})

    def responsibilities(self, x: Array, *, alpha: Any, sigma: Any) -> Array:
        r"""Return :math:`\gamma_k(x)`, shape (B, K): the probability that x came from component k."""
        return self._map(lambda seen: seen.responsibilities().T, x, {"alpha": alpha, "sigma": sigma})

    def class_probabilities(self, x: Array, *, alpha: Any, sigma: Any) -> Array:
        """Return p(label | x), shape (B, classes), in the order of ``classes``."""
        members = self.membership()
        gamma = self.responsibilities(constant(x, x), alpha=alpha, sigma=sigma)
        return cast(gamma @ constant(members, gamma), x)

    def given(self, label: object) -> GaussianMixture:
        r"""Return the target :math:`p(x_{\mathrm{data}}|\mathrm{label})`: the components of one class, for guidance.

        Their weights are divided by their sum. Raises ValueError without labels or for a label that none has.
        """
        return self._part(*self._chosen(label))

    def condition(self, x: Array, *, alpha: Any, sigma: Any) -> MixturePosterior:
        """Return the law of x_data given x_t = x: again a mixture."""
        return MixturePosterior(self, x, alpha, sigma)

    def compiled(self, schedule: Schedule, prediction: Prediction | None = None) -> Callable[[float, Any], Any]:
        """Return ``f(t, x)`` compiled by numba: the velocity, or another prediction, without the interpreter.

        t is one float, x of shape (d,) or (B, d) in float64; call it from Python or from other compiled functions.
        Needs the extra ``numba``; compiled at the first call, with the mixture's arrays inside. At a time where a
        coefficient is infinite it gives ±inf.

        Raises:
            TypeError: not a schedule of expressions, or not a prediction.
            ValueError: a covariance with a zero eigenvalue, whose limits at σ = 0 the compiled code does not have.
        """
        from interpolants.targets.compiled import compile_mixture

        return compile_mixture(self, schedule, prediction)

    def sample(self, n: int, rng: Any) -> Array:
        """Draw n points, shape (n, d), in float64."""
        if isinstance(rng, np.random.Generator):
            component = rng.choice(len(self.weights), size=n, p=self.weights)
            standard = rng.standard_normal((n, self.dimension))
            return self._coloured(component, standard)
        standard = standard_normal((n, self.dimension), rng).double()
        import torch

        weights = torch.as_tensor(self.weights, device=standard.device)
        drawn = torch.multinomial(weights, n, replacement=True, generator=rng)
        return self._coloured(drawn, standard)

    def least_deviation(self, alpha: float, sigma: float) -> float:
        """Return the smallest standard deviation of a component of p_t in any direction."""
        return float((alpha**2 * self.covariances.least + sigma**2) ** 0.5)

    def component(self, k: int) -> GaussianMixture:
        """Return one component."""
        return self._part(np.array([k]), np.ones(1))

    def __repr__(self) -> str:
        kinds = "" if self.labels is None else f", {len(self.classes)} classes"
        return f"GaussianMixture(K={len(self.weights)}, d={self.dimension}{kinds})"

    def _part(self, rows: NDArray[np.intp], weights: NDArray[np.float64]) -> GaussianMixture:
        part = GaussianMixture.__new__(GaussianMixture)
        part.weights, part.means, part.block = weights, self.means[rows], self.block
        part.covariances, part.labels = self.covariances.take(rows), None
        return part

    def _coloured(self, component: Array, standard: Array) -> Array:
        """Return m_k + C_k^½ ξ, component after component."""
        points = constant(self.means, standard)[component]
        for k in range(len(self.weights)):
            rows = component == k
            if rows.any():
                points[rows] += self.covariances.take([k]).root(standard[rows])
        return points

    @INFINITE
    def _map(self, function: Callable[..., Array], x: Array, coefficients: dict[str, Any], **options: Any) -> Array:
        """Evaluate a method of :class:`Components` in blocks of the batch, in float64."""
        check_batch(x, self.dimension)

        def evaluate(points: Array, alpha: Any, sigma: Any, **others: Any) -> Array:
            seen = Components(self.weights, self.means, self.covariances, points, alpha, sigma)
            return function(seen, **others, **options)

        step = max(1, self.block // self.means.size)
        return cast(blocked(evaluate, constant(x, x), doubles(coefficients, x), step), x)
