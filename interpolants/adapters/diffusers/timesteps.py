r"""What a network is told of the time, and the grids that a scheduler can be asked for by name.

A network of a discrete model is told the index of a timestep, :math:`i = Tt - 1`; every other one :math:`Tt`, with
T = 1000 for those of flow matching and T = 1 for SiT's.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from interpolants.grids import ends
from interpolants.noise_levels import karras, log_snr_uniform, timestep_strides
from interpolants.schedule import Schedule
from interpolants.schedules.discrete import Discrete
from interpolants.symbols import t
from solvers import power, uniform
from solvers.errors import closest, explain
from solvers.grid import Grid, check_count, check_grid

__all__ = ["GRIDS", "Spacing", "Timesteps", "chosen", "shifted"]

_STRIDES = ("trailing", "leading", "linspace")
GRIDS = ("uniform", "quadratic", "log-snr", "karras", *_STRIDES)


@dataclass(frozen=True)
class Timesteps:
    """The timesteps of a schedule: T of them, and whether indices are rounded to the nearest."""

    schedule: Schedule
    total: int
    rounded: bool

    @property
    def discrete(self) -> bool:
        """Whether they are indices."""
        return isinstance(self.schedule, Discrete)

    def of_times(self, times: Sequence[float]) -> list[float]:
        """Return what the network is told at times; an index is at least 0."""
        if not self.discrete:
            return [time * self.total for time in times]
        lowest = self.schedule.domain[0]
        if lowest in times:
            wanted = "a method that does not evaluate at the clean data, where a discrete model has no timestep"
            remedy = "choose a method that does not evaluate at the end of a step, or stop the grid before t = 0"
            raise ValueError(explain(wanted, f"an evaluation at t = {lowest:g}", remedy))
        indices = [time * self.total - 1.0 for time in times]
        return [float(max(0, round(index))) for index in indices] if self.rounded else indices

    def time(self, timestep: Any) -> Any:
        """Return the time of a timestep, a number or an array."""
        return (timestep + 1) / self.total if self.discrete else timestep / self.total

    def starting_at(self, timesteps: Any, stop: float | None) -> Grid:
        """Return the grid whose steps start at timesteps, and whose last step ends at the data or at ``stop``."""
        starts = self.time(np.array([float(timestep) for timestep in timesteps]))
        return check_grid(np.append(starts, self.schedule.domain[0] if stop is None else stop))


@dataclass(frozen=True)
class Spacing:
    """How a scheduler spaces its steps: the name of a grid, its ends, and a shift."""

    name: str
    start: float | None
    stop: float | None
    shift: float

    def __post_init__(self) -> None:
        if self.name not in GRIDS:
            remedy = f"did you mean {closest(str(self.name), GRIDS)}?"
            raise ValueError(explain(f"grid: one of {', '.join(GRIDS)}", repr(self.name), remedy))
        own = self.name in (*_STRIDES, "karras")
        if own and (self.start is not None or self.stop is not None):
            remedy = 'leave start and stop out, or pass grid="uniform"'
            raise ValueError(explain(f"no start and no stop for {self.name}", f"{self.start!r}, {self.stop!r}", remedy))
        if not isinstance(self.shift, (int, float)) or not 0.0 < self.shift < math.inf:
            raise ValueError(explain("shift: a positive number", repr(self.shift), "1 is no shift"))

    def steps(self, schedule: Schedule, n: int, shift: float) -> Grid:
        """Return the grid of n steps."""
        return shifted(self._plain(schedule, check_count("num_inference_steps", n)), shift)

    def _plain(self, schedule: Schedule, n: int) -> Grid:
        if self.name == "karras":
            return karras(schedule, n)
        if self.name in _STRIDES:
            return timestep_strides(schedule, n, self.name)  # type: ignore[arg-type]
        first, last = ends(schedule, self.start, self.stop)
        if self.name == "log-snr":
            return log_snr_uniform(schedule, n, first, last)
        return uniform(n, first, last) if self.name == "uniform" else power(n, 2.0, first, last)


def chosen(clock: Timesteps, spacing: Spacing, given: Mapping[str, Any], mu: float | None) -> Grid:
    """Return the grid that the arguments of ``set_timesteps`` ask for: one of those that are not None.

    Times that are given are not shifted, for whoever gives them has shifted them, but for sigmas with ``mu``.
    """
    named = [name for name, value in given.items() if value is not None]
    if len(named) != 1:
        received = " and ".join(named) or "none"
        raise ValueError(explain(f"one of {', '.join(given)}", received, "pass num_inference_steps=50"))
    name, value = named[0], given[named[0]]
    if mu is not None and name in ("times", "timesteps"):
        raise ValueError(explain("mu with a number of steps or with sigmas", f"mu with {name}", "leave mu out"))
    if name == "times":
        return check_grid(value)
    if name == "timesteps":
        return clock.starting_at(value, spacing.stop)
    if name == "num_inference_steps":
        return spacing.steps(clock.schedule, value, spacing.shift if mu is None else math.exp(mu))
    if clock.schedule.expressions["sigma"] != t:
        remedy = "pass timesteps= or times="
        raise ValueError(explain("sigmas under a schedule whose sigma is t", clock.schedule.name, remedy))
    starts = clock.starting_at([sigma * clock.total for sigma in value], spacing.stop)
    return shifted(starts, 1.0 if mu is None else math.exp(mu))


def shifted(ts: Grid, shift: float) -> Grid:
    r"""Return the times :math:`\frac{s\,t}{1 + (s - 1)t}`, which are later for s > 1.

    References: Esser et al. (2024), Scaling rectified flow transformers, arXiv 2403.03206, §5.3.2.
    """
    return ts if shift == 1.0 else check_grid(shift * ts / (1.0 + (shift - 1.0) * ts))
