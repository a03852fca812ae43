"""Explicit methods of scipy's solve_ivp, at steps that are given."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from solvers.order.adapters.flows import Timed, drive, velocity
from solvers.order.adapters.options import expect_name, load, typed
from solvers.order.draws import Draws
from solvers.order.sampler import Drive, States
from solvers.order.trials import Model

_NAMES = ("RK23", "RK45", "DOP853")


class Scipy(Timed):
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
    takes_steps = True

    def __init__(self, name: str, options: Sequence[str] = ()) -> None:
        expect_name(name, self.names(), "scipy")
        self.name = f"scipy:{name}"
        typed(options, {}, self.name)
        self._kind = getattr(load("scipy.integrate", "scipy"), name)
        # scipy propagates the formula of the higher order, one above that of its estimate of the error.
        self.claimed: float | None = float(self._kind.error_estimator_order + 1)

    @staticmethod
    def names() -> tuple[str, ...]:
        """Return the methods that are driven."""
        return _NAMES

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
