r"""Weights of the training loss.

The loss of a network that predicts :math:`p` is :math:`L_p = \mathbb E|p_\theta - p|^2`, but for the score
:math:`L_s = \mathbb E|\sigma s_\theta + \varepsilon|^2`, which is finite where σ = 0. On one :math:`x_t` all five
predictions are straight lines of one another, so that each of their losses is a function of time times any other:

.. math::
   L_v = \lambda^2 L_\varepsilon = \lambda^2 L_s = \frac{W^2}{\sigma^2} L_{\mathrm{data}}
       = \frac{W^2}{(\alpha^2 + \sigma^2)^2} L_{\mathrm{v\text{-}pred}}

with :math:`\lambda = W/\alpha`. A weight names a loss, :math:`\int w(t) L_q(t)\,dt` for a fixed quantity q, and
:meth:`Weight.of` turns it into the factor of the loss that a network really has. The factors come from the 2×2 solve of
:func:`interpolants.convert`, as expressions. :func:`Uniform` alone means another loss for every prediction.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sympy import Abs, Expr, Integer

from interpolants import prediction as predictions
from interpolants.coefficient import Coefficient
from interpolants.prediction import Data, Noise, Prediction, Score, conversion, expect_prediction
from interpolants.rate import expect_non_negative
from interpolants.schedule import Schedule
from interpolants.symbols import canonical
from solvers.errors import explain

__all__ = [
    "EDM",
    "P2",
    "Custom",
    "LambdaSquared",
    "Likelihood",
    "MinSNR",
    "Of",
    "Uniform",
    "Velocity",
    "Weight",
    "expect_weight",
    "factor",
    "scale",
]


@dataclass(frozen=True)
class Weight:
    """A weight of the loss: its name, and its factor of the loss of a prediction under a schedule."""

    name: str
    expression: Callable[[Schedule, Prediction], Expr]

    def __repr__(self) -> str:
        return self.name

    def __mul__(self, function: object) -> Weight:
        """Multiply by a number ≥ 0, or by a function of time as an expression or its text."""
        other = canonical(function, "a factor of a weight")
        return Weight(f"{other} * {self.name}", lambda schedule, source: other * self.expression(schedule, source))

    __rmul__ = __mul__

    def __add__(self, other: Weight) -> Weight:
        """Add the two losses."""
        second = expect_weight(other)
        return Weight(
            f"{self.name} + {second.name}",
            lambda schedule, source: self.expression(schedule, source) + second.expression(schedule, source),
        )

    def of(self, schedule: Schedule, prediction: Prediction) -> Coefficient:
        """Return the factor of the loss of ``prediction`` as a function of time.

        Raises:
            ValueError: it is negative somewhere; the message says where.
        """
        expression = self.expression(schedule, expect_prediction(prediction, "prediction"))
        expect_non_negative(expression, schedule, f"the weight {self.name}")
        return schedule.coefficient(expression, f"the weight {self.name} of the loss of {prediction}")


def expect_weight(weight: object) -> Weight:
    """Return ``weight`` if it is a choice of this module."""
    if not isinstance(weight, Weight):
        remedy = "pass a choice from interpolants.weights, such as Uniform() or MinSNR(5) (or Custom(expression))"
        raise TypeError(explain("a weight", repr(weight), remedy))
    return weight


def scale(schedule: Schedule, prediction: Prediction) -> Expr:
    r"""Return the factor of the errors in the loss of ``prediction``: σ for the score, 1 for the others."""
    return schedule.expressions["sigma"] if prediction == Score else Integer(1)


def factor(schedule: Schedule, source: Prediction, to: Prediction) -> Expr:
    r"""Return :math:`L_{to}/L_{source}`, the square of what turns an error of one prediction into one of another."""
    if source == to:
        return Integer(1)
    ratio = conversion(schedule, source, to).B * scale(schedule, to) / scale(schedule, source)
    return ratio**2


def _of(name: str, reference: Prediction, formula: Callable[[Schedule], Expr]) -> Weight:
    """Return the weight that multiplies the loss of ``reference`` by ``formula``, whatever a network predicts."""
    return Weight(name, lambda schedule, source: formula(schedule) * factor(schedule, source, reference))


def _snr(schedule: Schedule) -> Expr:
    return (schedule.expressions["alpha"] / schedule.expressions["sigma"]) ** 2


def Uniform() -> Weight:  # noqa: N802
    """Return the weight 1 of the network's own loss: a different loss for every prediction. Never infinite.

    With ``Noise`` it is the simple loss of Ho et al. (2020), arXiv 2006.11239, eq. 14; with ``Velocity`` that of SiT
    (Ma et al. 2024, arXiv 2401.08740, eq. 5); with ``Score`` its :math:`L_s` (``loss_weight=None`` in SiT's code).
    """
    return Weight("Uniform()", lambda schedule, source: Integer(1))


def Of(prediction: Prediction) -> Weight:  # noqa: N802
    """Return the loss of ``prediction``, whatever the network predicts; infinite where the conversion is singular."""
    reference = expect_prediction(prediction, "prediction")
    return _of(f"Of({reference})", reference, lambda schedule: Integer(1))


def Velocity() -> Weight:  # noqa: N802
    r"""Return the velocity's loss :math:`L_v`.

    For a noise or score model :math:`\lambda^2` (infinite where α = 0, and at t = 0 under VP), for a data model
    :math:`(W/\sigma)^2` (infinite at t = 0). SiT's code: ``loss_weight="velocity"``. References: Ma et al. (2024),
    arXiv 2401.08740, §2.2.
    """
    return _of("Velocity()", predictions.Velocity, lambda schedule: Integer(1))


def LambdaSquared() -> Weight:  # noqa: N802
    r"""Return :math:`L_{s,\lambda} = \lambda^2\,\mathbb E|\sigma s_\theta + \varepsilon|^2`, which is :math:`L_v`.

    Infinite where α = 0 and, under VP, at t = 0, for a score or noise model. References: Ma et al. (2024), arXiv
    2401.08740, §2.2.
    """
    return _of("LambdaSquared()", Score, lambda schedule: schedule.expressions["lambda"] ** 2)


def Likelihood() -> Weight:  # noqa: N802
    r"""Return the loss that bounds the likelihood.

    .. math:: \frac{L_v}{\kappa} = \frac{\kappa}{\sigma^2} L_\varepsilon
              = -\tfrac12 \frac{d\,\log\mathrm{SNR}}{dt}\,L_\varepsilon

    The integrand of the KL bound at its least, where :math:`w = 2\kappa`, and the continuous variational bound of
    Kingma et al. are the same. A velocity model has 1/κ: infinite at t = 0 where κ₀ = 0 (Linear, GVP), not under VP; a
    noise model has κ/σ², infinite at t = 0 always and where α = 0. SiT's code: ``loss_weight="likelihood"``.

    References: Kingma, Salimans, Poole & Ho (2021), arXiv 2107.00630, §4; Song, Durkan, Murray & Ermon (2021),
    arXiv 2101.09258; Ma et al. (2024), arXiv 2401.08740, §2.4.
    """
    return _of("Likelihood()", predictions.Velocity, lambda schedule: 1 / schedule.expressions["kappa"])


def MinSNR(gamma: float = 5) -> Weight:  # noqa: N802
    r"""Return the min-SNR-γ loss :math:`\min(\mathrm{SNR}, \gamma)\,L_{\mathrm{data}}`.

    For a noise model :math:`\min(\mathrm{SNR}, \gamma)/\mathrm{SNR}`, for a v-prediction where α² + σ² = 1
    :math:`\min(\mathrm{SNR}, \gamma)/(\mathrm{SNR} + 1)`. Bounded for these and for data; a velocity model has σ²/W²
    times it, bounded wherever W > 0.

    Raises:
        ValueError: γ is not a number > 0.

    References: Hang et al. (2023), arXiv 2303.09556, §3.4.
    """
    limit = _positive(gamma, "gamma")

    def formula(schedule: Schedule) -> Expr:
        # min(a, b) = 2ab/(a + b + |a - b|) loses no digits, and its kink follows a schedule that is trained.
        signal, noise = schedule.expressions["alpha"] ** 2, limit * schedule.expressions["sigma"] ** 2
        return 2 * limit * signal / (signal + noise + Abs(signal - noise))

    return _of(f"MinSNR({gamma})", Data, formula)


def EDM(sigma_data: float = 0.5) -> Weight:  # noqa: N802
    r"""Return EDM's loss :math:`\frac{r^2 + \sigma_d^2}{(r\sigma_d)^2} L_{\mathrm{data}}`.

    :math:`r = \sigma/\alpha` is the noise level that EDM calls σ. Infinite at t = 0 for a data model, finite there for
    a noise model; where α = 0 infinite for a noise model only.

    Raises:
        ValueError: σ_d is not a number > 0.

    References: Karras, Aittala, Aila & Laine (2022), arXiv 2206.00364, table 1 (λ(σ)).
    """
    spread = _positive(sigma_data, "sigma_data")
    return _of(f"EDM({sigma_data})", Data, lambda schedule: _snr(schedule) + 1 / spread**2)


def P2(gamma: float = 1, k: float = 1) -> Weight:  # noqa: N802
    r"""Return the perception-prioritised loss :math:`(k + \mathrm{SNR})^{-\gamma} L_\varepsilon`; bounded for noise.

    Raises:
        ValueError: γ or k is not a number > 0.

    References: Choi et al. (2022), arXiv 2204.00227, §3.
    """
    power, offset = _positive(gamma, "gamma"), _positive(k, "k")

    def formula(schedule: Schedule) -> Expr:
        alpha, sigma = schedule.expressions["alpha"], schedule.expressions["sigma"]
        return (sigma**2 / (offset * sigma**2 + alpha**2)) ** power

    return _of(f"P2({gamma}, {k})", Noise, formula)


def Custom(expression: object, of: Prediction | None = None) -> Weight:  # noqa: N802
    """Return a function of time times the loss of the prediction ``of``; without it, of what the network predicts."""
    formula = canonical(expression, "a weight")
    if of is None:
        return Weight(f"Custom({formula})", lambda schedule, source: formula)
    return _of(f"Custom({formula}, {of})", expect_prediction(of, "of"), lambda schedule: formula)


def _positive(value: object, what: str) -> Expr:
    number = canonical(value, what)
    if number.free_symbols or not number > 0:
        raise ValueError(explain(f"a number {what} > 0", str(value), "pass a positive number"))
    return number
