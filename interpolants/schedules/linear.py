"""Straight lines between data and noise."""

from sympy import exp

from interpolants.schedule import Schedule
from interpolants.schedules.parameters import positive
from interpolants.symbols import L, t

__all__ = ["FlowMatching", "Linear"]


class Linear(Schedule):
    r"""Linear interpolant: :math:`\alpha_t = 1 - t`, :math:`\sigma_t = t`.

    :math:`W = 1`, :math:`\kappa = t/(1-t)`, :math:`w^{KL} = 2t/(1-t)`: velocity to score is singular at t = 0
    (κ₀ = 0) and the reverse SDE with wKL at t = 1. Also called rectified flow and conditional OT path.

    References: Ma et al. (2024), arXiv 2401.08740, §2.2; Lipman et al. (2022), arXiv 2210.02747; Liu, Gong & Liu
    (2022), arXiv 2209.03003.
    """

    def __init__(self) -> None:
        super().__init__("linear", alpha=1 - t, sigma=t, time_of_log_snr=1 / (1 + exp(L / 2)))


class FlowMatching(Schedule):
    r"""Conditional optimal transport with a floor of noise.

    :math:`\alpha_t = 1 - t`, :math:`\sigma_t = \sigma_{\min} + (1 - \sigma_{\min}) t`.

    The data end is N(x, σ_min²), not x itself, so :math:`\sigma_0 \ne 0`.

    Args:
        sigma_min: σ at t = 0, in (0, 1).

    References: Lipman et al. (2022), arXiv 2210.02747, eq. 20 (their time runs from noise to data).
    """

    def __init__(self, sigma_min: float = 1e-4) -> None:
        floor = positive(sigma_min, "sigma_min", below=1)
        ratio = exp(-L / 2)
        inverse = (ratio - floor) / (1 - floor + ratio)
        super().__init__(
            "flow-matching", alpha=1 - t, sigma=floor + (1 - floor) * t, time_of_log_snr=inverse, check=False
        )
