"""Explicit methods of scipy's solve_ivp, at steps that are given."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from solvers.errors import closest, explain
from solvers.order.adapters.flows import drive, interior_times, velocity, whole_times
from solvers.order.adapters.options import load, typed
from solvers.order.draws import Draws
from solvers.order.sampler import Drive, States
from solvers.order.trials import Model

_NAMES = ("RK23", "RK45", "DOP853")


def names() -> tuple[str, ...]:
    """Return the methods that are driven."""
    return _NAMES


class Scipy:
    """A Runge–Kutta method of ``scipy.integrate``, its stepper at lengths that are set, each accepted.

    Radau, BDF and LSODA tie their inner iterations to the tolerance, so they have no order at steps that are given.

    Args:
        name: "RK23", "RK45" or "DOP853".
        options: none are taken.

    Raises:
        ImportError: scipy is not installed.
        ValueError: an unknown name or option.
    """

    coarsest = 4

    def __init__(self, name: str, options: Sequence[str] = ()) -> None:
        if name not in _NAMES:
            wanted = f"a method of solve_ivp with steps that can be given: {', '.join(_NAMES)}"
            raise ValueError(explain(wanted, repr(name), f"did you mean {closest(name, _NAMES)}?"))
        self.name = f"scipy:{name}"
        typed(options, {}, self.name)
        self._kind = getattr(load("scipy.integrate", "scipy"), name)
        # scipy propagates the formula of the higher order, one above that of its estimate of the error.
        self.claimed: float | None = float(self._kind.error_estimator_order + 1)

    def interior(self, n: int) -> Drive:
        """Return n unequal steps inside."""
        return self._drive(interior_times(n))

    def whole(self, n: int) -> Drive:
        """Return n equal steps from noise to data."""
        return self._drive(whole_times(n))

    def _drive(self, times: list[float]) -> Drive:
        def run(model: Model, x: States, draws: Draws) -> States:
            shape = x.shape

            def flat(time: float, y: States) -> States:
                return velocity(model, float(time), y.reshape(shape)).ravel()

            ends = times[0], times[-1]
            stepper = self._kind(flat, ends[0], x.ravel(), ends[1], first_step=1e-3, rtol=1.0, atol=math.inf)
            for time in times[1:]:
                stepper.h_abs = abs(time - stepper.t)
                stepper.step()
            return np.asarray(stepper.y).reshape(shape)

        return drive(times, run)
