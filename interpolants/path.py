r"""A path is a schedule and a target: exact marginals :math:`p_t`, and what the optimal network predicts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sympy import Expr

from interpolants.coefficient import Array, pad
from interpolants.prediction import Data, Noise, Prediction, Score, Velocity, VPrediction, expect_prediction
from interpolants.prior import standard_normal
from interpolants.schedule import Schedule
from interpolants.targets.posterior import Posterior
from interpolants.targets.target import Target
from solvers.errors import explain

__all__ = ["Path", "expect_path"]

Products = Callable[[Expr, Expr, Expr, Expr], dict[str, Expr]]


def expect_path(path: object) -> None:
    """Refuse what is no path."""
    if not isinstance(path, Path):
        raise TypeError(explain("a Path", repr(path), "pass Path(schedule, Gaussian(mean, cov)), or another target"))


@dataclass(frozen=True)
class Path:
    r"""The law of :math:`x_t = \alpha_t x_{\mathrm{data}} + \sigma_t\varepsilon` with data from a target.

    Args:
        schedule: any :class:`Schedule`.
        target: a :class:`Gaussian`, :class:`GaussianMixture`, :class:`Empirical` or :class:`Product`, dimension d.

    ``time`` is a number or has shape (B,); ``x`` has shape (B, d). numpy in, numpy out; torch in, torch out.

    References: Ma et al. (2024), arXiv 2401.08740, §2 and A.1; closed forms are derived in the documentation.
    """

    schedule: Schedule
    target: Target

    def __post_init__(self) -> None:
        if not isinstance(self.schedule, Schedule):
            raise TypeError(explain("a Schedule", repr(self.schedule), "pass Linear(), GVP(), VP() or Schedule(...)"))
        if not isinstance(self.target, Target):
            raise TypeError(explain("a target", repr(self.target), "pass Gaussian(mean, cov) or Empirical(points)"))

    def _coefficient(self, expression: Expr, time: Any, x: Array) -> Any:
        return pad(self.schedule.coefficient(expression)(time), x)

    def _alpha_sigma(self, time: Any, x: Array) -> tuple[Any, Any]:
        expressions = self.schedule.expressions
        return self._coefficient(expressions["alpha"], time, x), self._coefficient(expressions["sigma"], time, x)

    def _coefficients(self, wanted: Products, prediction: Prediction, time: Any, x: Array) -> dict[str, Any]:
        """Evaluate the products of the row (c, d), α and σ that the target wants."""
        c, d = expect_prediction(prediction, "prediction").row(self.schedule)
        expressions = wanted(c, d, self.schedule.expressions["alpha"], self.schedule.expressions["sigma"])
        return {name: self._coefficient(expression, time, x) for name, expression in expressions.items()}

    def predict(self, prediction: Prediction, time: Any, x: Array) -> Array:
        """Return the conditional expectation of ``prediction`` given x_t = x, shape (B, d)."""
        coefficients = self._coefficients(self.target.products, prediction, time, x)
        return self.target.expectation(x, **coefficients)

    def jacobian(self, time: Any, x: Array, prediction: Prediction = Velocity) -> Array:
        r"""Return the Jacobian of a prediction in x, shape (B, d, d), rows being its components.

        For finite data the velocity's is
        :math:`\nabla v = (\dot\sigma/\sigma)I - (W\alpha/\sigma^3)\operatorname{Cov}_\gamma(y)`, and a number as time
        at which it is infinite raises PoleError.
        """
        coefficients = self._coefficients(self.target.slopes, prediction, time, x)
        return self.target.jacobian(x, **coefficients)

    def divergence(self, time: Any, x: Array, prediction: Prediction = Velocity) -> Array:
        """Return the trace of :meth:`jacobian`, shape (B,); for finite data without a d × d matrix."""
        coefficients = self._coefficients(self.target.slopes, prediction, time, x)
        return self.target.divergence(x, **coefficients)

    def velocity(self, time: Any, x: Array) -> Array:
        r"""Return :math:`v = \dot\alpha\,\mathbb E[x_{\mathrm{data}}|x] + \dot\sigma\,\mathbb E[\varepsilon|x]`."""
        return self.predict(Velocity, time, x)

    def score(self, time: Any, x: Array) -> Array:
        r"""Return :math:`s = \nabla\log p_t(x)`."""
        return self.predict(Score, time, x)

    def noise(self, time: Any, x: Array) -> Array:
        r"""Return :math:`\mathbb E[\varepsilon|x_t = x]`."""
        return self.predict(Noise, time, x)

    def data(self, time: Any, x: Array) -> Array:
        r"""Return :math:`\mathbb E[x_{\mathrm{data}}|x_t = x]`, the denoiser."""
        return self.predict(Data, time, x)

    def v_prediction(self, time: Any, x: Array) -> Array:
        r"""Return :math:`\mathbb E[\alpha\varepsilon - \sigma x_{\mathrm{data}}|x_t = x]`."""
        return self.predict(VPrediction, time, x)

    def log_density(self, time: Any, x: Array) -> Array:
        r"""Return :math:`\log p_t(x)`, shape (B,)."""
        alpha, sigma = self._alpha_sigma(time, x)
        return self.target.log_density(x, alpha=alpha, sigma=sigma)

    def sample_joint(self, time: float, n: int, rng: Any) -> tuple[Array, Array, Array]:
        """Draw n triples (x_t, x_data, noise), each of shape (n, d)."""
        x_data = self.target.sample(n, rng)
        noise = standard_normal((n, self.target.dimension), rng)
        if not isinstance(x_data, type(noise)):  # pragma: no cover - both come from one generator
            raise TypeError(explain("one generator", type(noise).__name__, "pass one generator"))
        noise = noise if noise.dtype == x_data.dtype else noise.to(x_data.dtype)
        return self.schedule.alpha(float(time)) * x_data + self.schedule.sigma(float(time)) * noise, x_data, noise

    def sample(self, time: float, n: int, rng: Any) -> Array:
        """Draw n points from p_t, shape (n, d)."""
        return self.sample_joint(time, n, rng)[0]

    def prior(self, n: int, rng: Any) -> Array:
        """Draw n points from the prior σ₁·N(0, I) that sampling starts from, shape (n, d)."""
        return self.schedule.prior((n, self.target.dimension), rng)

    def flow(self, start: float, stop: float, x: Array) -> Array:
        r"""Move points from time ``start`` to time ``stop`` along the exact probability flow.

        Gaussians, and the Gaussian factors of a product, have a closed form, through which gradients flow. Everything
        else is integrated in float64 on the host by an adaptive method of order 8 in the clock
        :math:`\operatorname{atan2}(\sigma, \alpha)`, in which both ends are smooth, to 1e-10 for every point (times the
        growth of small differences, :math:`\rho_u/\rho_t` for narrow parts); it keeps no gradient.

        Args:
            start: the time of the points, in the domain of the schedule; an end will do.
            stop: the time to go to, before or after.
            x: points, shape (B, d), numpy or torch.

        Raises:
            PoleError: to or from σ = 0 with finite data or a zero variance among the parts; from it for one Gaussian.
            TypeError: a tensor that requires a gradient, where the flow is integrated.
            ValueError: times outside the domain, an integration that fails.
        """
        schedule = self.schedule
        begin = (schedule.alpha(float(start)), schedule.sigma(float(start)))
        end = (schedule.alpha(float(stop)), schedule.sigma(float(stop)))
        return self.target.flow(x, begin, end)

    def posterior(self, time: Any, x: Array) -> Posterior:
        r"""Return the exact law of x_data given x_t = x, with ``mean``, ``covariance`` and ``sample(rng)``.

        For a mixture of K it also has ``weights`` (B, K), ``means`` (B, K, d) and ``covariances`` (B, K, d, d); for
        finite data ``weights`` (B, N). By the second-order Tweedie formula
        :math:`\nabla s = -I/\sigma^2 + (\alpha^2/\sigma^4)\operatorname{Cov}[x_{\mathrm{data}}|x]`.
        """
        alpha, sigma = self._alpha_sigma(time, x)
        return self.target.condition(x, alpha=alpha, sigma=sigma)

    def given(self, label: object) -> Path:
        r"""Return the path of one class: its velocity is the conditional one that guidance needs.

        With the probabilities of :meth:`class_probabilities` :math:`\sum_y p(y|x)\,v_y(x) = v(x)`.
        """
        return Path(self.schedule, self.target.given(label))

    def class_probabilities(self, time: Any, x: Array) -> Array:
        r"""Return :math:`p(y|x_t = x)`, shape (B, classes), in the order of ``target.classes``.

        :math:`\nabla\log p(y|x) = s_y - s`, what classifier guidance adds. Raises ValueError or TypeError for a target
        without labels.

        References: Dhariwal & Nichol (2021), arXiv 2105.05233, §4; Ho & Salimans (2022), arXiv 2207.12598.
        """
        alpha, sigma = self._alpha_sigma(time, x)
        return self.target.class_probabilities(x, alpha=alpha, sigma=sigma)
