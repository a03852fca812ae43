"""Methods of this library as samplers for the meter."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

from solvers.arrays import Array
from solvers.check import expect_method
from solvers.denoising import Denoising
from solvers.errors import explain
from solvers.noise import Increment
from solvers.order.adapters.flows import Timed, drive, velocity
from solvers.order.draws import Draws
from solvers.order.levels import LINEAR
from solvers.order.sampler import Drive, States
from solvers.order.trials import Model
from solvers.problem import ODE, SDE, Problem
from solvers.solve import solve


class Ours(Timed):
    r"""A method of ``solvers`` on the linear schedule, :math:`\alpha = 1 - t`, :math:`\sigma = t`.

    Methods for ODEs integrate the velocity, those for SDEs the reverse SDE with :math:`w = \sigma`, exponential ones
    the denoising problem: with wKL where they read its clock.

    Args:
        method: the method.

    Raises:
        TypeError: something that is no method.
    """

    coarsest = 4
    takes_steps = True

    def __init__(self, method: Any) -> None:
        self.method = expect_method(method)
        if not any(issubclass(kind, self.method.solves) for kind in (ODE, SDE, Denoising)):
            wanted = "a method for ODEs, SDEs or denoising problems"
            raise TypeError(explain(wanted, self.method.solves.__name__, "use one of solvers"))
        self.name = f"solvers:{self.method!r}"
        self.claimed: float | None = float(getattr(method, "weak_order", self.method.order))

    def _drive(self, times: list[float]) -> Drive:
        def run(model: Model, x: States, draws: Draws) -> States:
            rng = _Chosen(draws) if self.method.stochastic else None
            found: States = solve(self._problem(model), x, times, self.method, rng=rng).x
            return found

        return drive(times, run)

    def _problem(self, model: Model) -> Problem:
        def reverse(time: float, x: Array) -> Array:
            # w = σ: −½ w s = ½ (w/σ) ε̂.
            data, noise = model(1.0 - time, time, x)
            return 1.5 * noise - data

        if issubclass(ODE, self.method.solves):
            return ODE(partial(velocity, model))
        if issubclass(SDE, self.method.solves):
            return SDE(reverse, math.sqrt)
        return denoising(model, kl=getattr(self.method, "reads_clock", False))


def denoising(model: Model, *, kl: bool) -> Denoising:
    """Return the denoising problem of a model on the linear schedule, with wKL or without noise."""

    def clock(t: float, s: float) -> float:
        return 2.0 * (LINEAR.log_ratio(s) - LINEAR.log_ratio(t)) if kl else 0.0

    return Denoising(
        data=lambda time, x: model(1.0 - time, time, x).data,
        alpha=LINEAR.alpha,
        sigma=LINEAR.sigma,
        log_snr=lambda time: 2.0 * LINEAR.log_ratio(time),
        time_of_log_snr=lambda value: LINEAR.time(0.5 * value),
        clock=clock,
    )


class _Chosen:
    """Draws as the increments that a solve asks for."""

    def __init__(self, draws: Draws) -> None:
        self.draws = draws

    def increments(self, x: Array) -> Increment:
        """Return the chosen normals times the root of the length of the step."""
        return lambda t0, t1: (self.draws.normal(x.shape) * math.sqrt(abs(t1 - t0))).astype(x.dtype)
