r"""Continuous-time consistency models: where a trajectory ends, kept constant along it.

The consistency function is the data prediction that belongs to a velocity prediction F,

.. math:: f(x, t) = \frac{\dot\sigma x - \sigma F(x, t)}{W}, \qquad W = \alpha\dot\sigma - \dot\alpha\sigma,

so f(x, 0) = x by construction under every schedule, and training makes :math:`(\partial_t + v\cdot\nabla)f` vanish.
Under :class:`~interpolants.schedules.TrigFlow` this is :math:`f = \cos t\,x - \sin t\,F`, the published case. At 1 of
``Linear`` it is the naive step :math:`x - F(x, 1)`, of which training makes the right one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from backbone.draws import Draws
from backbone.few_step.along import Velocity, along
from backbone.few_step.intervals import at_least_float32, expect_exact_ends
from backbone.few_step.network import expect_forward_mode, velocity_field
from backbone.losses import dropped
from backbone.model import SiT
from interpolants import Data, Objective, Schedule
from interpolants import Velocity as VelocityPrediction
from interpolants.coefficient import Coefficient, pad
from interpolants.prediction import conversion
from interpolants.symbols import derivative
from interpolants.times import LogNormalSigma, Times
from solvers.errors import explain

if TYPE_CHECKING:
    from interpolants.guidance import Guidance

__all__ = ["Consistency", "consistency_tangent"]


def consistency_tangent(
    schedule: Schedule, velocity: Velocity, time: Tensor, x: Tensor, direction: Tensor, warm: Tensor | float = 1.0
) -> tuple[Tensor, Tensor]:
    r"""Return F(x, t) and the tangent, :math:`g = \frac{\alpha}{W}(\partial_t + \dot x\cdot\nabla)f`.

    With f = A x + B F, :math:`A = \dot\sigma/W`, :math:`B = -\sigma/W`, the derivative of f is

    .. math:: A(\dot x - F) + \rho\,\bigl[\dot A x + (\dot B + A)F + B\,(\partial_t + \dot x\cdot\nabla)F\bigr]

    at ρ = 1. The first term is flow matching and ρ, the warm-up, brings in the others, which for TrigFlow are
    :math:`-\sin t\,(x + dF/dt)`. The factor α/W is the prior weight α/σ of f in units of F; for TrigFlow
    :math:`\cos t/\sigma_d`. Coefficients are differentiated symbolically, F by forward mode.

    Args:
        schedule: any with exact ends.
        velocity: ``F(time, x)``.
        time: t, (N,), inside the domain.
        x: :math:`x_t`, (N, …).
        direction: :math:`\dot x`: the velocity of a sample, or of a teacher; the marginal one for the identity.
        warm: ρ in [0, 1], a number or (N,).

    References: Lu & Song (2024), arXiv 2410.11081, §4.1 and eq. 6.
    """
    value, slope = along(velocity, time, x, direction)
    flat, of_x, of_value, of_slope = (pad(factor(time), x) for factor in _factors(schedule))
    rest = of_x * x + of_value * value + of_slope * slope
    ramp = pad(warm, x) if isinstance(warm, Tensor) else warm
    return value, flat * (direction - value) + ramp * rest


@lru_cache(maxsize=64)
def _factors(schedule: Schedule) -> tuple[Coefficient, ...]:
    """Return α/W times A, Ȧ, Ḃ + A and B."""
    data = conversion(schedule, VelocityPrediction, Data)
    weight = schedule.expressions["alpha"] / schedule.expressions["wronskian"]
    parts = (data.A, derivative(data.A), derivative(data.B) + data.A, data.B)
    return tuple(schedule.coefficient(weight * part, "the tangent of a consistency function") for part in parts)


@dataclass(frozen=True)
class Consistency:
    r"""The loss of sCM: :math:`\frac1d|F_\theta - \mathrm{sg}[F_\theta + \hat g]|^2` with :math:`\hat g = g/(|g| + c)`.

    Its value says little; without the normalisation its gradient is twice that of
    :math:`\frac{\alpha}{\sigma}\langle f_\theta, \mathrm{sg}\,df/dt\rangle/d`, with d pixels. The network is an
    ordinary velocity network. Without ``teacher`` this is consistency training: :math:`\dot x` is the velocity of the
    sample. The learned weight of times of the paper is left out: with ĝ of length about 1 there is little to even out.

    Args:
        schedule: any with exact ends; published for :class:`~interpolants.schedules.TrigFlow`.
        times: published are those with :math:`\log(\sigma/\alpha)` normal, of mean −1 and deviation 1.4 for training
            from data; −0.8 and 1.6 for distillation.
        offset: c > 0 of the normalisation, with :math:`|g|` the root of the mean square over the pixels; None does not
            normalise.
        warmup: samples over which ρ rises from 0 to 1.
        teacher: a velocity network under the same schedule, in the place of the samples' velocities; it is not trained.
        guidance: of the teacher, as :func:`backbone.bind` takes it.

    Raises:
        TypeError, ValueError: no schedule, one without exact ends, or an option out of range. When called: a network
            with fused attention.

    References: Lu & Song, Simplifying, Stabilizing & Scaling Continuous-Time Consistency Models (2024), arXiv
    2410.11081, algorithm 1.
    """

    schedule: Schedule
    times: Times = field(default_factory=lambda: LogNormalSigma(-1.0, 1.4))
    offset: float | None = 0.1
    warmup: int = 0
    teacher: SiT | None = None
    guidance: Guidance | float | None = None

    def __post_init__(self) -> None:
        self.objective  # noqa: B018 - refuses what is no schedule, no times, and times of infinite loss
        expect_exact_ends(self.schedule)
        if self.offset is not None and not self.offset > 0:
            raise ValueError(explain("an offset > 0, or None", str(self.offset), "the published one is 0.1"))
        if not isinstance(self.warmup, int) or self.warmup < 0:
            raise ValueError(explain("warmup: samples, an integer ≥ 0", repr(self.warmup), "steps × batch_size"))
        if self.teacher is None and self.guidance is not None:
            raise ValueError(explain("guidance of a teacher", "no teacher", "pass teacher=, a velocity network"))

    @cached_property
    def objective(self) -> Objective:
        """The points and velocities that the loss is made of."""
        return Objective(self.schedule, times=self.times)

    def __call__(self, model: SiT, x_data: Tensor, y: Tensor | None, draws: Draws) -> Tensor:
        """Return the loss of each sample, (N,)."""
        expect_forward_mode(model)
        time = self.objective.law.at(draws.uniform("time"), x_data.dtype)
        batch = self.objective.at(x_data, draws.normal("noise", tuple(x_data.shape[1:])), time)
        drop = dropped(model, draws)
        direction = batch.target if self.teacher is None else self._taught(self.teacher, time, batch.x_t, y, drop)
        velocity = velocity_field(model, y, drop)
        value, tangent = consistency_tangent(self.schedule, velocity, time, batch.x_t, direction, self._warm(draws))
        value, tangent = at_least_float32(value), at_least_float32(tangent.detach())
        if self.offset is not None:
            size = tangent.square().flatten(1).mean(dim=1).sqrt()
            tangent = tangent / pad(size + self.offset, tangent)
        return (value - value.detach() - tangent).square().flatten(1).mean(dim=1)

    @torch.no_grad()
    def _taught(self, teacher: SiT, time: Tensor, x: Tensor, y: Tensor | None, drop: Tensor) -> Tensor:
        """Return the velocity of the teacher, guided where the label is kept."""
        from backbone.field import bind

        null = teacher.config.null_class
        labels = torch.full_like(drop, null, dtype=torch.int64) if y is None else torch.where(drop, null, y)
        return at_least_float32(bind(teacher, labels, self.guidance)(time, x))

    def _warm(self, draws: Draws) -> Tensor | float:
        """Return ρ of each sample: its number over ``warmup``, at most 1."""
        if not self.warmup:
            return 1.0
        ids = torch.as_tensor(draws.ids, dtype=torch.float32, device=draws.device)
        return (ids / self.warmup).clamp(max=1.0)
