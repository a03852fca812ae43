"""Adaptive projected guidance: what makes the prediction larger is taken out of the update."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from interpolants.coefficient import Array, pad
from interpolants.guidance.denoised import Denoised
from interpolants.guidance.rule import Guidance, Scale, check_scale, is_number, moves, scale_at
from interpolants.guidance.samples import dot, ratio
from interpolants.prediction import Prediction, Velocity
from interpolants.schedule import Schedule
from solvers.errors import PoleError, explain

__all__ = ["APG"]


@dataclass(frozen=True)
class APG(Guidance):
    r"""Adaptive projected guidance, in the prediction of the data.

    With :math:`\Delta = \hat x_c - \hat x_u`, its part :math:`\Delta_\parallel` along :math:`\hat x_c` and the rest
    :math:`\Delta_\perp`, over all entries of a sample,

    .. math:: \Delta_k \leftarrow \Delta_k + \beta\Delta_{k-1}, \qquad
              \Delta \leftarrow \Delta\min(1, r/\|\Delta\|), \qquad
              \hat x = \hat x_c + (\zeta - 1)(\Delta_\perp + \eta\Delta_\parallel).

    With η = 1, r = ∞ and β = 0 it is :class:`ClassifierFree`.

    Momentum is a memory of earlier evaluations, which a ``model(time, x)`` does not have: :func:`guided` and
    ``backbone.bind`` start one, for one solve, over its evaluations in their order. A time that does not go on in the
    direction of the others, as in the second solve, in an attempt that is rejected or in methods that return to a time
    (``Heun``, ``RK4``), is refused. Where steps evaluate twice at other times (``Midpoint``) it counts evaluations, not
    steps.

    Args:
        scale: :math:`\zeta`, a finite number, or a function of time.
        schedule: the schedule of the models.
        prediction: what the models predict.
        eta: η, the share of the parallel part that is kept.
        threshold: r > 0, the largest length of :math:`\Delta`, which grows with the root of the number of entries.
        momentum: β, within (-1, 1); the paper's are negative.

    Raises:
        TypeError: not a schedule or not a prediction.
        ValueError: a number that is not finite or out of its range; momentum without a start, or where times go back.
        PoleError: momentum at σ = 0, where a difference of data says nothing of one of velocities.

    References: Sadat, Hilliges & Weber (2024), Eliminating Oversaturation and Artifacts of High Guidance Scales in
    Diffusion Models, arXiv 2410.02416.
    """

    scale: Scale
    schedule: Schedule
    prediction: Prediction = Velocity
    eta: float = 0.0
    threshold: float = math.inf
    momentum: float = 0.0
    denoised: Denoised = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_scale(self.scale)
        object.__setattr__(self, "denoised", Denoised(self.schedule, self.prediction))
        numbers = f"eta={self.eta!r}, threshold={self.threshold!r}, momentum={self.momentum!r}"
        right = all(map(is_number, (self.eta, self.threshold, self.momentum))) and math.isfinite(self.eta)
        if not right or not self.threshold > 0.0 or not -1.0 < self.momentum < 1.0:
            wanted = "a finite eta, threshold > 0 and momentum within (-1, 1)"
            raise ValueError(explain(wanted, numbers, "the defaults only project"))

    def active(self, time: Any) -> bool:
        """Whether the scale is not 1 at a time."""
        return moves(self.scale, time)

    def started(self) -> Guidance:
        """Return the guidance for one solve, with a memory where there is momentum."""
        return self if self.momentum == 0.0 else _Remembering(self)

    def _mix(self, time: Any, x: Array, conditional: Array, unconditional: Array) -> Array:
        if self.momentum != 0.0:
            remedy = "make the model with guided(conditional, unconditional, apg), or use apg.started(), for each solve"
            raise ValueError(explain("a guidance that has been started, for its momentum", repr(self), remedy))
        return self.update(time, x, conditional, conditional - unconditional)

    def update(self, time: Any, x: Array, conditional: Array, difference: Array) -> Array:
        """Return the guided prediction for a difference of predictions: Δ/B."""
        data = self.denoised.data(time, x, conditional)
        if self.threshold < math.inf:
            slope = self.denoised.slope(time, x)
            length = dot(slope * difference, slope * difference) ** 0.5
            difference = pad(self.threshold / length.clip(min=self.threshold), x) * difference
        along = pad(ratio(dot(difference, data), dot(data, data)), x) * data
        return conditional + (scale_at(self.scale, time, x) - 1.0) * (difference + (self.eta - 1.0) * along)


class _Remembering(Guidance):
    """APG in one solve."""

    def __init__(self, apg: APG) -> None:
        self._apg = apg
        self._past: Array | None = None
        self._times: list[float] = []

    def active(self, time: Any) -> bool:
        return self._apg.active(time)

    def _mix(self, time: Any, x: Array, conditional: Array, unconditional: Array) -> Array:
        self._go_on_to(time)
        apg = self._apg
        slope = apg.denoised.slope(time, x)
        if slope == 0.0:
            remedy = "evaluate away from there, or predict the data"
            wanted = f"a time at which the data depend on a {apg.prediction} model, for momentum"
            raise PoleError(explain(wanted, repr(time), remedy))
        difference = slope * (conditional - unconditional)
        if self._past is not None:
            difference = difference + apg.momentum * self._past
        self._past = difference
        return apg.update(time, x, conditional, difference / slope)

    def _go_on_to(self, time: Any) -> None:
        """Refuse a time that does not go on in the direction of the last two."""
        times = [*self._times, time][-3:]
        remedy = "use a method of one evaluation per step, such as Euler() or DDIM(), and a new guided() for each solve"
        if not is_number(time):
            raise ValueError(explain("one number as time, for momentum", type(time).__name__, remedy))
        steps = [after - before for before, after in pairwise(times)]
        if 0.0 in steps or (len(steps) == 2 and (steps[0] > 0.0) != (steps[1] > 0.0)):
            raise ValueError(explain("times that go one way, for momentum", ", ".join(map(repr, times)), remedy))
        self._times = times[-2:]
