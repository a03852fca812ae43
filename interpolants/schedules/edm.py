"""The schedule of EDM: time is the noise level."""

from sympy import Integer, exp

from interpolants.schedule import Schedule
from interpolants.schedules.parameters import positive
from interpolants.symbols import L, t

__all__ = ["EDM"]


class EDM(Schedule):
    r"""EDM: :math:`\alpha_t = 1`, :math:`\sigma_t = t` for t from 0 to :math:`\sigma_{\max}`.

    The prior is N(0, σ_max²); :math:`w^{KL} = 2t`.

    Args:
        sigma_max: the last time and noise level, > 0.

    References: Karras et al. (2022), arXiv 2206.00364, table 1.
    """

    def __init__(self, sigma_max: float = 80.0) -> None:
        top = positive(sigma_max, "sigma_max")
        super().__init__("edm", alpha=Integer(1), sigma=t, domain=(0, top), time_of_log_snr=exp(-L / 2))
