"""Powers, superellipses and Föllmer's process."""

from sympy import exp, sqrt

from interpolants.schedule import Schedule
from interpolants.schedules.parameters import positive
from interpolants.symbols import L, t

__all__ = ["Follmer", "Power", "Superellipse"]


class Power(Schedule):
    r"""Powers: :math:`\alpha_t = (1-t)^p`, :math:`\sigma_t = t^q`. p = q = 1 is :class:`~interpolants.Linear`.

    Args:
        p: exponent of α, > 0; below 1, :math:`\dot\alpha_1 = -\infty`.
        q: exponent of σ, > 0; below 1, :math:`\dot\sigma_0 = \infty`; above 1, :math:`\dot\sigma_0 = 0`.
    """

    def __init__(self, p: float = 1.0, q: float = 2.0) -> None:
        a, b = positive(p, "p"), positive(q, "q")
        super().__init__("power", alpha=(1 - t) ** a, sigma=t**b)


class Superellipse(Schedule):
    r"""Superellipse: :math:`\alpha_t = (1 - t^p)^{1/p}`, :math:`\sigma_t = t`, so :math:`\alpha^p + \sigma^p = 1`.

    p = 1 is :class:`~interpolants.Linear`; p = 2 is variance preserving; p → ∞ keeps the data until the last moment.

    Args:
        p: the exponent, ≥ 1.
    """

    def __init__(self, p: float = 2.0) -> None:
        power = positive(p, "p")
        inverse = (1 + exp(power * L / 2)) ** (-1 / power)
        super().__init__("superellipse", alpha=(1 - t**power) ** (1 / power), sigma=t, time_of_log_snr=inverse)


class Follmer(Schedule):
    r"""Föllmer's process: :math:`\alpha_t = 1 - t`, :math:`\sigma_t = \sqrt{t(2 - t)}`.

    Variance preserving, with :math:`\kappa = 1/(1-t)`: κ₀ = 1, so the score of a velocity model is regular at t = 0.

    References: Chen et al. (2024), Probabilistic Forecasting with Stochastic Interpolants and Föllmer Processes,
    arXiv 2403.13724.
    """

    def __init__(self) -> None:
        inverse = 1 / (sqrt(1 + exp(L)) * (sqrt(1 + exp(L)) + exp(L / 2)))
        super().__init__("follmer", alpha=1 - t, sigma=sqrt(t * (2 - t)), time_of_log_snr=inverse)
