"""Diffusions with a noise rate: variance preserving, sub-variance preserving, variance exploding."""

from __future__ import annotations

from sympy import Expr, Integer, exp, log, sqrt

from interpolants.schedule import Schedule
from interpolants.schedules.parameters import positive
from interpolants.symbols import L, t
from solvers.errors import explain

__all__ = ["VE", "VP", "ConstantVP", "SubVP"]


def _rates(beta_min: float, beta_max: float) -> tuple[Expr, Expr]:
    low, high = positive(beta_min, "beta_min"), positive(beta_max, "beta_max")
    if low > high:
        remedy = "put the smaller rate first"
        raise ValueError(explain("beta_min <= beta_max", f"({beta_min}, {beta_max})", remedy))
    return low, low * t + (high - low) * t**2 / 2


class VP(Schedule):
    r"""Variance preserving: :math:`\alpha_t = e^{-B_t/2}`, :math:`\sigma_t = \sqrt{1 - e^{-B_t}}`.

    :math:`B_t = \beta_{\min} t + (\beta_{\max} - \beta_{\min}) t^2/2` is the integrated noise rate.
    :math:`\kappa = \beta_t/2` with :math:`\beta_t = \dot B_t`, so :math:`w^{KL} = \beta_t`. Regular at t = 0 for a
    velocity model (κ₀ = β_min/2 > 0) although :math:`\dot\sigma_0 = \infty`; α₁ = 0.0066 for the default rates, so
    the sampler's prior N(0, I) is not exactly the marginal at t = 1.

    Args:
        beta_min: noise rate at t = 0, > 0.
        beta_max: noise rate at t = 1, ≥ beta_min.

    References: Song et al. (2021), Score-Based Generative Modeling through SDEs, arXiv 2011.13456, eq. 11 and 33.
    """

    def __init__(self, beta_min: float = 0.1, beta_max: float = 20.0) -> None:
        low, noise = _rates(beta_min, beta_max)
        # The integrated rate of a log-SNR is softplus(-L); the root of the quadratic in the form without cancellation.
        integral = log(1 + exp(-L))
        slope = 2 * noise.coeff(t, 2)
        inverse = 2 * integral / (low + sqrt(low**2 + 2 * slope * integral))
        super().__init__("vp", alpha=exp(-noise / 2), sigma=sqrt(1 - exp(-noise)), time_of_log_snr=inverse)


class ConstantVP(Schedule):
    r"""Variance preserving with a constant rate: :math:`\alpha_t = e^{-\beta t/2}`.

    :math:`\sigma_t = \sqrt{1 - e^{-\beta t}}`: the Ornstein–Uhlenbeck process, with :math:`w^{KL} = \beta`. A rate of 1
    gives :math:`\alpha = e^{-t/2}`, not :math:`e^{-t}`.

    Args:
        beta: noise rate, > 0; α₁ = exp(−β/2).
    """

    def __init__(self, beta: float = 10.0) -> None:
        rate = positive(beta, "beta")
        inverse = log(1 + exp(-L)) / rate
        super().__init__(
            "constant-vp", alpha=exp(-rate * t / 2), sigma=sqrt(1 - exp(-rate * t)), time_of_log_snr=inverse
        )


class SubVP(Schedule):
    r"""Sub-variance preserving: :math:`\alpha_t = e^{-B_t/2}`, :math:`\sigma_t = 1 - e^{-B_t}`.

    B is that of :class:`~interpolants.VP`.

    References: Song et al. (2021), arXiv 2011.13456, eq. 29.
    """

    def __init__(self, beta_min: float = 0.1, beta_max: float = 20.0) -> None:
        _, noise = _rates(beta_min, beta_max)
        super().__init__("sub-vp", alpha=exp(-noise / 2), sigma=1 - exp(-noise))


class VE(Schedule):
    r"""Variance exploding: :math:`\alpha_t = 1`, :math:`\sigma_t = \sigma_{\min}(\sigma_{\max}/\sigma_{\min})^t`.

    It starts at σ₀ = σ_min, not 0, so the data end is N(x, σ_min²); the prior is N(0, σ_max²).

    Args:
        sigma_min: σ at t = 0, > 0.
        sigma_max: σ at t = 1, > sigma_min.

    References: Song et al. (2021), arXiv 2011.13456, eq. 9 and 30.
    """

    def __init__(self, sigma_min: float = 0.01, sigma_max: float = 50.0) -> None:
        low, high = positive(sigma_min, "sigma_min"), positive(sigma_max, "sigma_max")
        ratio = log(high / low)
        inverse = (-L / 2 - log(low)) / ratio
        super().__init__("ve", alpha=Integer(1), sigma=low * exp(ratio * t), time_of_log_snr=inverse, check=False)
