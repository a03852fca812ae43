r"""The clock of the noise, :math:`\Theta(t, s) = \int_s^t w_u/\sigma_u^2\,du`, for exponential integrators.

With :math:`w^{KL} = 2\kappa` and :math:`\kappa = \sigma^2\,\tfrac{d}{dt}\log r`, a multiple η of wKL has
:math:`\Theta = 2\eta\log(r_t/r_s)`. From any other w its limit :math:`\eta = \lim w/w^{KL}` at the noise end is taken
out: that part is exact, infinite at t = 1 where :math:`\alpha_1 = 0`, and the rest has no pole there and is integrated
adaptively, in the logarithm of the distance to the data. A quadrature with fixed nodes is wrong on coarse steps.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

from mpmath import mpf
from sympy import Expr

from interpolants.coefficient import Coefficient
from interpolants.diffusion import DiffusionCoefficient
from interpolants.divergence import inside
from interpolants.measure import End, Exact
from interpolants.schedule import Schedule
from interpolants.symbols import t
from solvers.errors import explain

__all__ = ["Clock", "LogSNR"]

_ACCURACY = 1e-9
_NEAREST = 1e-100


@dataclass(frozen=True)
class Clock:
    r"""``clock(t, s)`` is :math:`\int_s^t w_u/\sigma_u^2\,du` for times t ≥ s of the schedule, in :math:`[0, \infty]`.

    Args:
        schedule: the schedule.
        w: the diffusion coefficient.

    Raises:
        ValueError: w is negative somewhere; an integral that does not converge inside the domain.
    """

    schedule: Schedule
    w: DiffusionCoefficient

    @cached_property
    def _rate(self) -> Coefficient:
        return self.w.of(self.schedule)

    @property
    def _variance(self) -> Expr:
        return self._rate.expression

    @cached_property
    def _ends(self) -> tuple[End, ...]:
        """What w/σ² does at the two ends."""
        rate = self._variance / self.schedule.expressions["sigma"] ** 2
        return Exact(rate, t, self.schedule.exact_domain).ends

    @cached_property
    def _share(self) -> Exact:
        return Exact(self._variance / (2 * self.schedule.expressions["kappa"]), t, self.schedule.exact_domain)

    @cached_property
    def is_multiple(self) -> bool:
        """Whether w is η·wKL and nothing else: the share w/wKL is the same at every probe, to half of 200 digits."""
        values = self._share.values(self._share.probes)
        return all(abs(value - values[0]) <= mpf(10) ** -100 * abs(values[0]) for value in values)

    @cached_property
    def multiple(self) -> float:
        """The limit η of w/wKL at the noise end; 0 where it is infinite, for then nothing can be taken out."""
        limit = float(self._share.value(self._share.probes[0])) if self.is_multiple else self._share.ends[1].limit
        return limit if math.isfinite(limit) else 0.0

    def __call__(self, time: float, earlier: float) -> float:
        """Return the integral from ``earlier`` (nearer to the data) to ``time``."""
        if self._variance == 0 or time == earlier:
            return 0.0
        for which, end in ((0, earlier), (1, time)):
            if end == self.schedule.domain[which] and self._ends[which].is_pole and self._ends[which].order <= -1.0:
                return math.inf
        if self.is_multiple or self.multiple == 0.0 or earlier > self.schedule.domain[0]:
            exact = self._kl_part(time, earlier)
            return exact if self.is_multiple else max(0.0, exact + self._rest(self.multiple, time, earlier))
        # wKL's own clock is infinite down to σ = 0, where this one is not.
        return max(0.0, self._rest(0.0, time, earlier))

    def _kl_part(self, time: float, earlier: float) -> float:
        if self.multiple == 0.0:
            return 0.0
        return 2.0 * self.multiple * (self._log_ratio(time) - self._log_ratio(earlier))

    def _log_ratio(self, time: float) -> float:
        """Return log(σ/α) from α and σ, which keep their digits next to the ends under every schedule."""
        alpha, sigma = float(self.schedule.alpha(time)), float(self.schedule.sigma(time))
        return math.log(sigma) - math.log(alpha)

    def _rest(self, multiple: float, time: float, earlier: float) -> float:
        r"""Integrate :math:`(w - 2\eta\kappa)/\sigma^2`."""
        from scipy.integrate import quad  # slow to import, and only quadrature needs it

        schedule, (lo, hi) = self.schedule, self.schedule.domain
        w, kappa = self._rate, schedule.quantity("kappa")

        def integrand(logarithm: float) -> float:
            distance = math.exp(logarithm)
            place = inside(schedule, lo + distance)
            rate = w(place) - 2.0 * multiple * kappa(place) if multiple else w(place)
            sigma = float(schedule.sigma(place))
            return float(rate / sigma / sigma * distance)

        # Where the integral down to σ = 0 is finite, what lies below this distance is far below an ulp of it.
        start, stop = math.log(max(earlier - lo, _NEAREST * (hi - lo))), math.log(time - lo)
        # With full_output doubts are returned, not warned about; what matters is the estimate of the error.
        value, error, *_ = quad(integrand, start, stop, epsabs=1e-14, epsrel=1e-12, limit=500, full_output=1)
        if not error <= _ACCURACY * (1.0 + abs(value)):
            remedy = "choose a w that is finite inside the domain"
            received = f"{value:.3g} ± {error:.1g} from {earlier!r} to {time!r}"
            raise ValueError(explain(f"w/sigma**2 integrable for w = {self.w}", received, remedy))
        return float(value)


@dataclass(frozen=True)
class LogSNR:
    """The log-SNR of one time as a float, ±inf at the ends at which it is infinite."""

    schedule: Schedule

    def __call__(self, time: float) -> float:
        """Evaluate it."""
        quantity = self.schedule.quantity("log_snr")
        if time in quantity.poles:
            return math.inf if time == self.schedule.domain[0] else -math.inf
        return float(quantity(time))
