r"""Discrete diffusion models in continuous time.

A model with T timesteps and noise rates :math:`\beta_1, \dots, \beta_T` has the signal
:math:`\bar\alpha_n = \prod_{k \le n}(1 - \beta_k)`. Here it is a schedule that passes through every one of them,

.. math:: \alpha_{n/T} = \sqrt{\bar\alpha_n}, \qquad \sigma_{n/T} = \sqrt{1 - \bar\alpha_n}, \qquad n = 0, \dots, T,

with n = 0 the clean data, which the network never sees: its timestep index i stands for n = i + 1.
"""

from __future__ import annotations

from typing import Any

import mpmath
from mpmath import mpf
from sympy import Expr, Piecewise, Rational, cos, exp, pi, sin, sqrt

from interpolants.reparametrise import joined
from interpolants.schedule import Schedule
from interpolants.schedules.betas import DIGITS, PRECISION, Pieces, embed_floats, ramp, read
from interpolants.schedules.parameters import positive
from interpolants.symbols import t
from solvers.errors import explain

__all__ = ["DDPMCosine", "DDPMLinear", "DDPMScaledLinear", "Discrete"]


class Discrete(Schedule):
    r"""A schedule whose values at the times n/T are those of a model with T timesteps.

    Between these times :math:`S_t = \log\alpha_t^2` is a polynomial, or a few where the rates have corners. Build it
    from rates by :meth:`from_betas`; the usual ones are :class:`DDPMLinear`, :class:`DDPMScaledLinear` and
    :class:`DDPMCosine`.

    Args:
        name: what reports and figures call it.
        alpha: :math:`\alpha_t`, a sympy expression of time.
        sigma: :math:`\sigma_t`, likewise.
        num_train_timesteps: T, the number of timesteps that the network was trained with.
    """

    def __init__(self, name: str, alpha: object, sigma: object, num_train_timesteps: int) -> None:
        super().__init__(name, alpha, sigma, check=False)
        self.num_train_timesteps = num_train_timesteps

    @classmethod
    def from_betas(cls, betas: Any, name: str = "discrete") -> Discrete:
        r"""Return the schedule of the rates ``betas``, an array of shape (T,), each between 0 and 1.

        α, σ agree with the products of :math:`1 - \beta` at all n/T to within the rounding of the array's own type:
        float32 rates are taken for the roundings of a smooth curve, and not followed beyond that.

        Raises:
            TypeError, ValueError: not a row of numbers between 0 and 1; rates too rough for a few polynomials.
        """
        values, tolerance = read(betas)
        return Discrete(name, *_signal_and_noise(embed_floats(values, tolerance)), len(values))

    def time_of_timestep(self, timestep: Any) -> Any:
        """Return the time (i + 1)/T of the network's timestep index i: 0 … T − 1, or an array of them."""
        return (timestep + 1) / self.num_train_timesteps

    def timestep_of_time(self, time: Any) -> Any:
        """Return the index T·time − 1, not rounded; −1 at the clean data, which no network was trained on."""
        return time * self.num_train_timesteps - 1


class DDPMLinear(Discrete):
    r"""DDPM's rates: :math:`\beta_k` from ``beta_start`` to ``beta_end`` in equal steps.

    With the defaults σ/α goes from 0.0100 at the first timestep to 157.4 at the last.

    Args:
        num_train_timesteps: T ≥ 1.
        beta_start: β₁, in (0, 1).
        beta_end: β_T, in (0, 1).

    References: Ho, Jain & Abbeel (2020), Denoising Diffusion Probabilistic Models, arXiv 2006.11239, §4.
    """

    def __init__(self, num_train_timesteps: int = 1000, beta_start: float = 1e-4, beta_end: float = 0.02) -> None:
        start, end = _rate(beta_start, "beta_start"), _rate(beta_end, "beta_end")
        pieces = ramp(_count(num_train_timesteps), start, end, 1)
        super().__init__("ddpm-linear", *_signal_and_noise(pieces), num_train_timesteps)


class DDPMScaledLinear(Discrete):
    r"""Stable Diffusion's rates: :math:`\sqrt{\beta_k}` goes from one end to the other in equal steps.

    Args:
        num_train_timesteps: T ≥ 1.
        beta_start: β₁, in (0, 1).
        beta_end: β_T, in (0, 1).

    References: Rombach, Blattmann, Lorenz, Esser & Ommer (2022), Latent Diffusion Models, arXiv 2112.10752, and the
    configuration of its code.
    """

    def __init__(self, num_train_timesteps: int = 1000, beta_start: float = 0.00085, beta_end: float = 0.012) -> None:
        with mpmath.workdps(DIGITS):
            start, end = (mpmath.sqrt(_rate(b, n)) for b, n in ((beta_start, "beta_start"), (beta_end, "beta_end")))
        pieces = ramp(_count(num_train_timesteps), start, end, 2)
        super().__init__("ddpm-scaled-linear", *_signal_and_noise(pieces), num_train_timesteps)


class DDPMCosine(Discrete):
    r"""Improved DDPM's rates: those of the cosine signal, clipped.

    .. math::
       \beta_k = \min\Big(1 - \frac{f(k/T)}{f((k-1)/T)},\ \beta_{\max}\Big), \qquad
       f(t) = \cos^2\Big(\frac{\pi}{2}\,\frac{t + s}{1 + s}\Big)

    The products telescope, so that :math:`\bar\alpha_t = f(t)/f(0)` is exact up to the first clipped step; over the
    clipped ones :math:`\log\bar\alpha` falls in straight lines, by :math:`\log(1 - \beta_{\max})` each. With the
    default clip that is the last step alone, which would otherwise reach :math:`\bar\alpha = 0`.
    ``Cosine`` is the schedule without the clip.

    Args:
        num_train_timesteps: T ≥ 1.
        offset: s > 0.
        max_beta: the largest rate, in (0, 1).

    References: Nichol & Dhariwal (2021), Improved Denoising Diffusion Probabilistic Models, arXiv 2102.09672, eq. 17.
    """

    def __init__(self, num_train_timesteps: int = 1000, offset: float = 0.008, max_beta: float = 0.999) -> None:
        count, s, clip = _count(num_train_timesteps), positive(offset, "offset"), positive(max_beta, "max_beta", 1)
        free = _unclipped(count, mpf(s.p) / s.q, mpf(clip.p) / clip.q)
        turn, start = pi * (t + s) / (2 * (1 + s)), pi * s / (2 * (1 + s))
        rise = sin(pi * t / (2 * (1 + s))) * sin(pi * (t + 2 * s) / (2 * (1 + s)))
        signal, noise = cos(turn) / cos(start), sqrt(rise) / cos(start)
        corner, rate = Rational(free, count), _rate_of(clip, count)
        alpha, sigma = exp(-rate * t / 2), sqrt(1 - exp(-rate * t))
        if free:
            # Counted from t = 1, whose distance floating point knows exactly.
            last = signal.subs(t, corner) * (1 - clip) ** Rational(count - free, 2)
            alpha = Piecewise((signal, t <= corner), (last * exp(rate * (1 - t) / 2), True))
            sigma = Piecewise((noise, t <= corner), (sqrt(1 - last**2 * exp(rate * (1 - t))), True))
        if free == count:
            alpha, sigma = signal, noise
        super().__init__("ddpm-cosine", alpha, sigma, count)


def _unclipped(count: int, offset: mpf, clip: mpf) -> int:
    """Return the number of steps before the clip: the rates of a cosine grow, so all later ones are clipped."""
    with mpmath.workdps(DIGITS):
        quarter = mpmath.pi / 2 / (1 + offset)
        low, high = 0, count
        while low < high:
            k = (low + high) // 2
            angles = (quarter * (mpf(n) / count + offset) for n in (k + 1, k))
            after, before = map(mpmath.cos, angles)
            low, high = (k + 1, high) if 1 - (after / before) ** 2 <= clip else (low, k)
    return low


def _rate_of(clip: Expr, count: int) -> Expr:
    """Return −T log(1 − β_max) to 50 digits, as twice the root of a fraction.

    Sympy would take a logarithm or a fraction in an exponent for a power, of a degree that no memory holds.
    """
    with mpmath.workdps(DIGITS):
        half = -mpmath.log1p(-mpf(clip.p) / clip.q) * count / 2
        square = int(mpmath.nint(mpmath.ldexp(half**2, 2 * PRECISION)))
    return 2 * sqrt(Rational(square | 1, 4**PRECISION))


def _signal_and_noise(pieces: Pieces) -> tuple[Expr, Expr]:
    """Return α and σ of the logarithm of the signal."""
    stops = [*(stop for stop, _ in pieces[:-1]), None]
    logarithms = list(zip((s for _, s in pieces), stops))
    alpha = joined([(exp(s / 2), stop) for s, stop in logarithms])
    return alpha, joined([(sqrt(1 - exp(s)), stop) for s, stop in logarithms])


def _rate(value: object, name: str) -> mpf:
    """Return a rate between 0 and 1 at 60 digits."""
    exact = positive(value, name, below=1)
    with mpmath.workdps(DIGITS):
        return mpmath.mpf(str(exact.evalf(DIGITS)))


def _count(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(explain("num_train_timesteps, an integer >= 1", repr(value), "pass 1000, or what trained it"))
    return value
