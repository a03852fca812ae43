r"""What the losses of intervals share: pairs :math:`r \le t`, schedules with exact ends, a weight, guidance."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

from backbone.draws import Draws
from backbone.few_step.along import AverageVelocity
from backbone.few_step.network import average_field, expect_flow_map, expect_forward_mode
from backbone.losses import dropped
from backbone.model import SiT
from interpolants import Objective, Schedule
from interpolants.coefficient import pad
from interpolants.times import LogitNormal, Times
from solvers.errors import explain

__all__ = [
    "IntervalLoss",
    "adaptively_weighted",
    "at_least_float32",
    "expect_exact_ends",
    "guided_velocity",
    "sum_of_squares",
]


def expect_exact_ends(schedule: Schedule) -> None:
    r"""Refuse a schedule without :math:`\alpha_0 = 1`, :math:`\sigma_0 = 0` and :math:`\alpha_1 = 0`.

    One step from the prior to the data has no other start and end.
    """
    first, last = schedule.domain
    ends = float(schedule.alpha(first)), float(schedule.sigma(first)), float(schedule.alpha(last))
    if max(abs(ends[0] - 1), abs(ends[1]), abs(ends[2])) > 1e-9:
        received = f"{schedule.name} with alpha {ends[0]:.3g}, sigma {ends[1]:.3g} there, alpha {ends[2]:.3g} at noise"
        remedy = "use Linear(), GVP() or TrigFlow(), or interpolants.zero_terminal_snr(schedule)"
        raise ValueError(explain("a schedule from alpha = 1, sigma = 0 at the data to alpha = 0", received, remedy))


def guided_velocity(velocity: Tensor, conditional: Tensor, unconditional: Tensor, omega: float, kappa: float) -> Tensor:
    r"""Return :math:`\omega v + \kappa u_c + (1 - \omega - \kappa)u_\emptyset`, whose fixed point is guided.

    With :math:`u_c = u(x, t, t|y)` and :math:`u_\emptyset` without the label, what is learned is
    :math:`\omega' v_c + (1 - \omega')v_\emptyset` of scale :math:`\omega' = \omega/(1 - \kappa)`.

    References: Geng et al. (2025), arXiv 2505.13447, eq. 20 and appendix B.1.
    """
    return omega * velocity + kappa * conditional + (1 - omega - kappa) * unconditional


def adaptively_weighted(squares: Tensor, power: float, offset: float) -> Tensor:
    r"""Return :math:`\Delta^2/\mathrm{sg}(\Delta^2 + c)^p` for squared errors (N,): p = 1 weighs all samples alike."""
    return squares / (squares.detach() + offset) ** power


@dataclass(frozen=True)
class IntervalLoss(ABC):
    r"""A loss of an average velocity over intervals [r, t]; :class:`MeanFlow` and :class:`ImprovedMeanFlow` are two.

    Of two draws of ``times`` the larger is t and the smaller r; a share ``equal`` of the samples has r = t.
    """

    schedule: Schedule
    times: Times = field(default_factory=lambda: LogitNormal(-0.4, 1.0))
    equal: float = 0.75
    power: float = 1.0
    offset: float = 1e-2
    omega: float = 1.0
    kappa: float = 0.0

    def __post_init__(self) -> None:
        self.objective  # noqa: B018 - refuses what is no schedule, no times, and times of infinite loss
        expect_exact_ends(self.schedule)
        if not 0 <= self.equal <= 1:
            raise ValueError(explain("a share equal in [0, 1]", str(self.equal), "MeanFlow's is 0.75"))
        if not (self.power >= 0 and self.offset > 0):
            received = f"power {self.power}, offset {self.offset}"
            raise ValueError(explain("power ≥ 0 and offset > 0", received, "published: power=1, offset=0.01"))
        if not (self.omega > 0 and 0 <= self.kappa < 1):
            received = f"omega {self.omega}, kappa {self.kappa}"
            raise ValueError(explain("omega > 0 and kappa in [0, 1)", received, "omega=1, kappa=0 is no guidance"))

    @cached_property
    def objective(self) -> Objective:
        """The points and velocities that the loss is made of."""
        return Objective(self.schedule, times=self.times)

    @abstractmethod
    def squares(self, average: AverageVelocity, start: Tensor, time: Tensor, x: Tensor, velocity: Tensor) -> Tensor:
        """Return the squared error of each sample, (N,), for any average velocity and given conditional velocities."""

    def __call__(self, model: SiT, x_data: Tensor, y: Tensor | None, draws: Draws) -> Tensor:
        """Return the weighted loss of each sample, (N,)."""
        expect_flow_map(model)
        expect_forward_mode(model)
        start, time = self._interval(draws, x_data.dtype)
        batch = self.objective.at(x_data, draws.normal("noise", tuple(x_data.shape[1:])), time)
        drop = dropped(model, draws)
        average = average_field(model, y, drop)
        velocity = self._guided(model, y, drop, time, batch.x_t, batch.target)
        return adaptively_weighted(self.squares(average, start, time, batch.x_t, velocity), self.power, self.offset)

    def _interval(self, draws: Draws, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        law = self.objective.law
        one, other = (law.at(draws.uniform(purpose), dtype) for purpose in ("time", "second time"))
        time = torch.maximum(one, other)
        return torch.where(draws.below("choice", self.equal), time, torch.minimum(one, other)), time

    @torch.no_grad()
    def _guided(self, model: SiT, y: Tensor | None, drop: Tensor, time: Tensor, x: Tensor, velocity: Tensor) -> Tensor:
        """Return the velocity to learn: guided where the label is kept, and that of the data where it is dropped."""
        if (self.omega, self.kappa) == (1.0, 0.0):
            return velocity
        if y is None:
            raise ValueError(explain("labels for guidance", "a network without labels", "leave omega=1, kappa=0"))
        unconditional = average_field(model, y, torch.ones_like(drop))(time, time, x)
        conditional = average_field(model, y)(time, time, x) if self.kappa else unconditional
        found = guided_velocity(velocity, conditional, unconditional, self.omega, self.kappa)
        return torch.where(pad(drop, x), velocity, found)


def at_least_float32(x: Tensor) -> Tensor:
    """Return what a network computed in half precision as float32."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def sum_of_squares(error: Tensor) -> Tensor:
    """Return the sum of squares over all axes but the first, (N,), in float32 or better."""
    return at_least_float32(error).square().flatten(1).sum(dim=1)
