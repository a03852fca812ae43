"""The trigonometric interpolant."""

from sympy import atan, cos, exp, pi, sin

from interpolants.schedule import Schedule
from interpolants.symbols import L, t

__all__ = ["GVP"]


class GVP(Schedule):
    r"""Generalised variance-preserving: :math:`\alpha_t = \cos(\pi t/2)`, :math:`\sigma_t = \sin(\pi t/2)`.

    :math:`W = \pi/2`, :math:`\kappa = \tfrac{\pi}{2}\tan(\pi t/2)`, :math:`w^{KL} = \pi\tan(\pi t/2)`;
    :math:`\alpha^2 + \sigma^2 = 1`.

    References: Ma et al. (2024), arXiv 2401.08740, §2.2; Albergo & Vanden-Eijnden (2022), arXiv 2209.15571.
    """

    def __init__(self) -> None:
        super().__init__(
            "gvp", alpha=cos(pi * t / 2), sigma=sin(pi * t / 2), time_of_log_snr=2 * atan(exp(-L / 2)) / pi
        )
