"""Quarter circles between data and noise."""

from sympy import atan, cos, exp, pi, sin, sqrt

from interpolants.schedule import Schedule
from interpolants.schedules.parameters import positive
from interpolants.symbols import L, t

__all__ = ["GVP", "Cosine", "TrigFlow"]


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


class TrigFlow(Schedule):
    r"""TrigFlow: :math:`\alpha_t = \cos t`, :math:`\sigma_t = \sigma_d\sin t` for t from 0 to π/2.

    The schedule of simplified continuous-time consistency models; the noise carries the data's standard deviation.

    Args:
        sigma_data: σ_d > 0.

    References: Lu & Song (2024), arXiv 2410.11081, §3.
    """

    def __init__(self, sigma_data: float = 0.5) -> None:
        scale = positive(sigma_data, "sigma_data")
        inverse = atan(exp(-L / 2) / scale)
        super().__init__("trigflow", alpha=cos(t), sigma=scale * sin(t), domain=(0, pi / 2), time_of_log_snr=inverse)


class Cosine(Schedule):
    r"""Cosine schedule of improved DDPM, in continuous time.

    .. math::
       \alpha_t = \frac{\cos\varphi}{\cos\varphi_0}, \qquad
       \sigma_t^2 = 1 - \alpha_t^2 = \frac{\sin(\varphi - \varphi_0)\sin(\varphi + \varphi_0)}{\cos^2\varphi_0}, \qquad
       \varphi = \frac{\pi}{2}\,\frac{t + s}{1 + s}

    The product keeps the digits of σ near the data; :math:`\alpha_1 = 0`.

    Args:
        offset: s > 0, the published value is 0.008.

    References: Nichol & Dhariwal (2021), arXiv 2102.09672, eq. 17.
    """

    def __init__(self, offset: float = 0.008) -> None:
        s = positive(offset, "offset")
        turn, start = pi * (t + s) / (2 * (1 + s)), pi * s / (2 * (1 + s))
        rise = sin(pi * t / (2 * (1 + s))) * sin(pi * (t + 2 * s) / (2 * (1 + s)))
        super().__init__("cosine", alpha=cos(turn) / cos(start), sigma=sqrt(rise) / cos(start))
