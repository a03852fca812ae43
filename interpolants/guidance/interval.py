"""Guidance in a limited interval of noise levels."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any

from interpolants.coefficient import Array, pad
from interpolants.guidance.rule import Guidance, is_number
from interpolants.schedule import Schedule
from solvers.arrays import namespace
from solvers.errors import explain

__all__ = ["Interval"]


@dataclass(frozen=True)
class Interval(Guidance):
    r"""Another guidance where :math:`\ell_{\min} \le \log(\alpha_t^2/\sigma_t^2) \le \ell_{\max}`, none elsewhere.

    Outside, only the conditional prediction is evaluated. The interval is one of log-SNR, so that it means the same
    under every schedule; a noise level σ of a variance-exploding schedule is :math:`\ell = -2\log\sigma`, the larger σ
    being the lower ℓ. The prediction jumps at both ends, ``times``: a method keeps its order if both are times of its
    grid and it does not evaluate at the ends of its steps.

    For zero-mean Gaussians with marginal variances :math:`c_c(t), c_u(t)` the variance of the flow changes between the
    two times by the factor by which :math:`c_c^\zeta c_u^{1-\zeta}` does, and outside as :math:`c_c` does.

    Args:
        guidance: what to do inside.
        schedule: the schedule of the model, which turns log-SNR into times.
        low: :math:`\ell_{\min}`, -inf for guidance from the noise on.
        high: :math:`\ell_{\max}`, inf for guidance down to the data.

    Attributes:
        times: the first and the last time of the interval, the nearer to the data first.

    Raises:
        TypeError: not a guidance, or not a schedule.
        ValueError: not numbers with low < high.

    References: Kynkäänniemi, Aittala, Karras, Laine, Aila & Lehtinen (2024), Applying Guidance in a Limited Interval
    Improves Sample and Distribution Quality in Diffusion Models, arXiv 2404.07724.
    """

    guidance: Guidance
    schedule: Schedule
    low: float = -math.inf
    high: float = math.inf
    times: tuple[float, float] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not isinstance(self.guidance, Guidance):
            raise TypeError(explain("a guidance", repr(self.guidance), "write Interval(ClassifierFree(2.0), ...)"))
        if not isinstance(self.schedule, Schedule):
            raise TypeError(explain("a Schedule", repr(self.schedule), "pass that with which the model was trained"))
        if not all(map(is_number, (self.low, self.high))) or not self.low < self.high:
            received = f"low={self.low!r}, high={self.high!r}"
            remedy = "log-SNR is high near the data, and -2 log σ for a noise level σ"
            raise ValueError(explain("two log-SNR with low < high", received, remedy))
        first, last = (float(self.schedule.time_of_log_snr(bound)) for bound in (self.high, self.low))
        object.__setattr__(self, "times", (first, last))

    def active(self, time: Any) -> bool:
        """Whether a time is in the interval, and the guidance inside is active."""
        if not is_number(time):
            return True
        first, last = self.times
        return bool(first <= time <= last) and self.guidance.active(time)

    def started(self) -> Guidance:
        """Return the guidance for one solve."""
        return replace(self, guidance=self.guidance.started())

    def _mix(self, time: Any, x: Array, conditional: Array, unconditional: Array) -> Array:
        if is_number(time):
            mixing = self.active(time)
            return self.guidance.combine(time, x, conditional, unconditional) if mixing else conditional
        first, last = self.times
        inside = pad((time >= first) & (time <= last), x)
        mixed = self.guidance.combine(time, x, conditional, unconditional)
        return namespace(x).where(inside, mixed, conditional)
