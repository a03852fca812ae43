"""Sigmoids: the interpolant of the SiT summaries, and the noise schedule of image generation with sigmoid gains."""

from sympy import cosh, exp, sinh, sqrt

from interpolants.schedule import Schedule
from interpolants.schedules.parameters import positive
from interpolants.symbols import canonical, t
from solvers.errors import explain

__all__ = ["RawSigmoid", "Sigmoid", "SigmoidVP"]


class Sigmoid(Schedule):
    r"""Normalised sigmoid: :math:`\alpha_t = \frac{s(k(1-2t)) - s(-k)}{s(k) - s(-k)}`, :math:`\sigma_t = 1 - \alpha_t`.

    With :math:`s(z) = 1/(1 + e^{-z})`. Written as

    .. math::
       \alpha_t = \frac{\sinh k(1-t)}{2\sinh(k/2)\cosh k(\tfrac12 - t)}, \qquad
       \sigma_t = \frac{\sinh kt}{2\sinh(k/2)\cosh k(\tfrac12 - t)},

    both ends are exact and no digit is lost. k → 0 is :class:`~interpolants.Linear`.

    Args:
        steepness: k > 0.
    """

    def __init__(self, steepness: float = 5.0) -> None:
        k = positive(steepness, "steepness")
        scale = 2 * sinh(k / 2) * cosh(k * (1 - 2 * t) / 2)
        super().__init__("sigmoid", alpha=sinh(k * (1 - t)) / scale, sigma=sinh(k * t) / scale)


class RawSigmoid(Schedule):
    r"""The sigmoid as summaries of SiT write it, :math:`\alpha_t = s(k(1-2t))`, :math:`\sigma_t = 1 - \alpha_t`.

    It is here to be certified: :math:`\alpha_0 = s(k) < 1` and :math:`\sigma_0 > 0`, so it starts at no data and ends
    at no noise. Use :class:`Sigmoid`.
    """

    def __init__(self, steepness: float = 5.0) -> None:
        k = positive(steepness, "steepness")
        super().__init__(
            "raw-sigmoid", alpha=1 / (1 + exp(-k * (1 - 2 * t))), sigma=1 / (1 + exp(k * (1 - 2 * t))), check=False
        )


class SigmoidVP(Schedule):
    r"""Variance preserving with a sigmoid :math:`\bar\alpha`, for high-resolution images.

    .. math::
       \bar\alpha_t = \frac{s(-z_t) - s(-e)}{s(-b) - s(-e)}
       = \frac{\sinh\frac{e - z}{2}\cosh\frac{b}{2}}{\cosh\frac{z}{2}\sinh\frac{e - b}{2}}, \qquad
       z_t = b + (e - b)t, \qquad \alpha = \sqrt{\bar\alpha}, \ \sigma = \sqrt{1 - \bar\alpha}

    Args:
        start: b, the argument at t = 0.
        end: e > b, the argument at t = 1.
        temperature: τ > 0; both arguments are divided by it.

    References: Jabri, Fleet & Chen (2022), arXiv 2212.11972; Chen (2023), arXiv 2301.10972, alg. 1.
    """

    def __init__(self, start: float = -3.0, end: float = 3.0, temperature: float = 1.0) -> None:
        heat = positive(temperature, "temperature")
        b, e = canonical(start, "start") / heat, canonical(end, "end") / heat
        if not b < e:
            raise ValueError(explain("start < end", f"({start}, {end})", "put the smaller argument first"))
        half = (b + (e - b) * t) / 2
        scale = cosh(half) * sinh((e - b) / 2)
        signal = sinh((e - b) * (1 - t) / 2) * cosh(b / 2) / scale
        noise = sinh((e - b) * t / 2) * cosh(e / 2) / scale
        super().__init__("sigmoid-vp", alpha=sqrt(signal), sigma=sqrt(noise))
