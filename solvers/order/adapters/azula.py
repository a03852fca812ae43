"""Samplers of azula, at equal steps of their schedule's time."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

from solvers.errors import closest, explain
from solvers.order.adapters.options import expect_name, load, parameters, typed
from solvers.order.adapters.torch_calls import on_tensors, through_torch
from solvers.order.draws import Draws
from solvers.order.levels import FIRST, LAST, Level
from solvers.order.sampler import Drive
from solvers.order.trials import Model

# The order in the name or in the argument; None where there is none.
_CLAIMS: dict[str, int | str | None] = {
    "EulerSampler": 1,
    "HeunSampler": 2,
    "DDIMSampler": None,
    "DDPMSampler": None,
    "ItoSampler": None,
    "PCSampler": None,
    "zABSampler": "order",
    "vABSampler": "order",
    "zEABSampler": "order",
    "xEABSampler": "order",
    "REABSampler": "order",
}
_SCHEDULES = ("RectifiedSchedule", "VPSchedule", "CosineSchedule", "VESchedule", "DecaySchedule")


class Azula:
    """A sampler of ``azula.sample`` with a schedule of ``azula.noise``.

    Args:
        name: such as "zABSampler".
        options: "order=3" and the like for the constructor; "schedule=VPSchedule" for another schedule than
            RectifiedSchedule.

    Raises:
        ImportError: azula is not installed.
        TypeError, ValueError: an unknown name, option or schedule.
    """

    coarsest = 8
    takes_steps = False

    def __init__(self, name: str, options: Sequence[str] = ()) -> None:
        expect_name(name, self.names(), "azula")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self._class = getattr(load("azula.sample", "azula"), name)
            noise = load("azula.noise", "azula")
        taken = parameters(self._class.__init__, "denoiser", "kwargs")
        schedules = parameters(lambda schedule="RectifiedSchedule": None)
        given = typed(options, taken | schedules, name)
        schedule = given.pop("schedule", "RectifiedSchedule")
        if schedule not in _SCHEDULES:
            wanted = f"a schedule of azula: {', '.join(_SCHEDULES)}"
            raise ValueError(explain(wanted, repr(schedule), f"did you mean {closest(schedule, _SCHEDULES)}?"))
        self._schedule, self.options = getattr(noise, schedule)(), given
        claim = _CLAIMS[name]
        order = given.get(claim, taken[claim].default) if isinstance(claim, str) else claim
        self.claimed = None if order is None else float(order)
        self.name = f"azula:{name}"

    @staticmethod
    def names() -> tuple[str, ...]:
        """Return the samplers that are driven."""
        return tuple(_CLAIMS)

    def interior(self, n: int, *, equal: bool = False) -> Drive:
        """Return n steps inside, equal in the schedule's time."""
        return self._drive(n, self._time(FIRST), self._time(LAST))

    def whole(self, n: int) -> Drive:
        """Return n equal steps from t = 1 to t = 0."""
        return self._drive(n, 1.0, 0.0)

    def _drive(self, n: int, start: float, stop: float) -> Drive:
        def sample(model: Model, x: Any, draws: Draws) -> Any:
            predict = on_tensors(model)

            class Denoiser:
                schedule = self._schedule

                def __call__(self, x_t: Any, t: Any) -> SimpleNamespace:
                    alpha, sigma = (float(value) for value in self.schedule(t))
                    return SimpleNamespace(mean=predict(alpha, sigma, x_t)[0])

            times = {"start": start, "stop": stop, "steps": n, "silent": True, "dtype": x.dtype}
            return self._class(Denoiser(), **self.options, **times)(x)

        return Drive(self._level(start), self._level(stop), through_torch(sample))

    def _level(self, time: float) -> Level:
        import torch

        return Level(*(float(value) for value in self._schedule(torch.tensor(time, dtype=torch.float64))))

    def _time(self, ratio: float) -> float:
        """Return the time of a λ, by bisection: λ falls with time."""
        low, high = 0.0, 1.0
        for _ in range(60):
            middle = 0.5 * (low + high)
            alpha, sigma = self._level(middle)
            low, high = (middle, high) if math.log(alpha / sigma) > ratio else (low, middle)
        return 0.5 * (low + high)
