"""The variance-preserving diffusion with a linear noise rate."""

from sympy import exp, log, sqrt

from interpolants.schedule import Schedule
from interpolants.symbols import L, canonical, t
from solvers.errors import explain

__all__ = ["VP"]


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
        low, high = canonical(beta_min, "beta_min"), canonical(beta_max, "beta_max")
        if low.free_symbols or high.free_symbols or not 0 < low <= high:
            remedy = "choose positive rates in that order"
            raise ValueError(explain("0 < beta_min <= beta_max", f"({beta_min}, {beta_max})", remedy))
        noise = low * t + (high - low) * t**2 / 2
        # The integrated rate of a log-SNR is softplus(-L); the root of the quadratic in the form without cancellation.
        integral = log(1 + exp(-L))
        inverse = 2 * integral / (low + sqrt(low**2 + 2 * (high - low) * integral))
        super().__init__("vp", alpha=exp(-noise / 2), sigma=sqrt(1 - exp(-noise)), time_of_log_snr=inverse)
