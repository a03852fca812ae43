"""How a network becomes a model of time under the schedule of a solve: its own schedule, or another."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from backbone.field import Field
from interpolants import DiscreteDiffusion, transfer
from interpolants.prediction import Prediction
from interpolants.schedule import Schedule
from interpolants.schedules import Discrete
from solvers.errors import explain

__all__ = ["Route", "discrete", "route_of"]


@dataclass(frozen=True)
class Route:
    """From a network to what is solved.

    Attributes:
        schedule: of the solve.
        carry: the network with its labels fixed → ``model(time, x)`` of that schedule.
        ends: the times, of data and of noise, between which that model answers.
    """

    schedule: Schedule
    carry: Callable[[Field], Any]
    ends: tuple[float, float]


def route_of(schedule: Schedule, timesteps: int | None, onto: Schedule | None, prediction: Prediction) -> Route:
    """Return the route of a network.

    A network of timesteps is asked between them as well, for it embeds them by sines; below its first timestep, where
    it was never trained, it is asked at the first.

    Args:
        schedule: of the training, :class:`~interpolants.schedules.Discrete` for a network of timesteps.
        timesteps: of the network, None for continuous time.
        onto: the schedule to solve under; None is that of the training.
        prediction: what the network predicts.

    Raises:
        ValueError: the schedules have no log-SNR in common.
    """
    own = (lambda field: field) if timesteps is None else _of_timesteps(schedule)
    if onto is None:
        return Route(schedule, own, schedule.domain)
    low, high = transfer(lambda time, x: x, schedule, onto, prediction).valid
    ends = max(low, onto.domain[0]), min(high, onto.domain[1])
    return Route(onto, lambda field: transfer(own(field), schedule, onto, prediction), ends)


def _of_timesteps(schedule: Schedule) -> Callable[[Field], Any]:
    chain = DiscreteDiffusion(schedule)

    def carry(field: Field) -> Any:
        def network(index: Tensor, x: Tensor) -> Tensor:
            return field(index.clamp(min=0.0), x)

        return chain.model_of_time(network, fractional=True)

    return carry


def discrete(schedule: Schedule, timesteps: int, named: bool) -> Discrete:
    """Return the schedule of a network of timesteps, which a checkpoint keeps as two expressions.

    Args:
        schedule: as it was found.
        timesteps: T.
        named: the caller named it.

    Raises:
        ValueError: a name of a schedule of continuous time, or of another number of timesteps.
    """
    if isinstance(schedule, Discrete) and schedule.num_train_timesteps == timesteps:
        return schedule
    if named:
        remedy = "pass ddpm-linear, which DiT was trained with, ddpm-scaled-linear or ddpm-cosine"
        raise ValueError(explain(f"a schedule of {timesteps} timesteps", repr(schedule), remedy))
    return Discrete(schedule.name, schedule.expressions["alpha"], schedule.expressions["sigma"], timesteps)
