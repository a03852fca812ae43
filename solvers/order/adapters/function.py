"""A caller's own function as a sampler for the meter."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from solvers.errors import explain
from solvers.grid import uniform
from solvers.order.draws import Draws
from solvers.order.levels import expect_clock
from solvers.order.sampler import Drive, States
from solvers.order.trials import Model

_PREDICTIONS = ("velocity", "data", "noise")


class Function:
    """A function (model, x, times) → x; see :func:`measure_order` for the arguments.

    Raises:
        ValueError: a prediction or a schedule that is none.
    """

    coarsest = 4
    takes_steps = True

    def __init__(
        self, sampler: Callable[..., Any], claimed: float | None, prediction: str, schedule: str, stochastic: bool
    ) -> None:
        if prediction not in _PREDICTIONS:
            names = " or ".join(repr(choice) for choice in _PREDICTIONS)
            raise ValueError(explain(f"prediction: {names}", repr(prediction), "name what model(time, x) returns"))
        self.sampler, self.claimed, self.prediction = sampler, claimed, prediction
        self.clock, self.stochastic = expect_clock(schedule), stochastic
        self.name = getattr(sampler, "__name__", type(sampler).__name__)

    def interior(self, n: int, *, equal: bool = False) -> Drive:
        """Return n steps inside."""
        return self._drive(np.array(self.clock.interior(n, equal=equal)))

    def whole(self, n: int) -> Drive:
        """Return n equal steps from noise to data."""
        return self._drive(uniform(n, *self.clock.ends))

    def _drive(self, times: np.ndarray[Any, np.dtype[np.float64]]) -> Drive:
        def run(model: Model, x: States, draws: Draws) -> States:
            def noise(like: States) -> States:
                return draws.normal(like.shape).astype(like.dtype)

            more = (noise,) if self.stochastic else ()
            return np.asarray(self.sampler(self._predicted(model), x, times, *more))

        first, last = (self.clock.level(float(time)) for time in (times[0], times[-1]))
        return Drive(first, last, run)

    def _predicted(self, model: Model) -> Callable[[float, States], States]:
        clock = self.clock

        def predicted(time: float, x: States) -> States:
            time = float(time)
            data, noise = model(clock.alpha(time), clock.sigma(time), x)
            if self.prediction == "velocity":
                found: States = clock.d_alpha(time) * data + clock.d_sigma(time) * noise
                return found
            return data if self.prediction == "data" else noise

        return predicted
