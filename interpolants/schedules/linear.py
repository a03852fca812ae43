"""The linear interpolant."""

from sympy import exp

from interpolants.schedule import Schedule
from interpolants.symbols import L, t

__all__ = ["Linear"]


class Linear(Schedule):
    r"""Linear interpolant: :math:`\alpha_t = 1 - t`, :math:`\sigma_t = t`.

    :math:`W = 1`, :math:`\kappa = t/(1-t)`, :math:`w^{KL} = 2t/(1-t)`: velocity to score is singular at t = 0
    (κ₀ = 0) and the reverse SDE with wKL at t = 1. Also called rectified flow and conditional OT path.

    References: Ma et al. (2024), arXiv 2401.08740, §2.2; Lipman et al. (2022), arXiv 2210.02747; Liu, Gong & Liu
    (2022), arXiv 2209.03003.
    """

    def __init__(self) -> None:
        super().__init__("linear", alpha=1 - t, sigma=t, time_of_log_snr=1 / (1 + exp(L / 2)))
