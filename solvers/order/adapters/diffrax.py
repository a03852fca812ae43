"""Explicit solvers of diffrax, at steps that are given."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from solvers.order.adapters.flows import Timed, drive, velocity
from solvers.order.adapters.options import expect_name, load, typed
from solvers.order.draws import Draws
from solvers.order.sampler import Drive, States
from solvers.order.trials import Model

_NAMES = (
    "Euler",
    "Heun",
    "Midpoint",
    "Ralston",
    "Bosh3",
    "Tsit5",
    "Dopri5",
    "Dopri8",
    "LeapfrogMidpoint",
    "ReversibleHeun",
)


class Diffrax(Timed):
    """An explicit solver of ``diffrax``, in float64: its ``step``, at the times that are given.

    Args:
        name: such as "Tsit5".
        options: none are taken.

    Raises:
        ImportError: diffrax is not installed.
        ValueError: an unknown name or option.
    """

    coarsest = 4
    takes_steps = True

    def __init__(self, name: str, options: Sequence[str] = ()) -> None:
        expect_name(name, self.names(), "diffrax")
        self.name = f"diffrax:{name}"
        typed(options, {}, self.name)
        self._diffrax = load("diffrax", "diffrax")
        self._solver = getattr(self._diffrax, name)()
        self.claimed: float | None = float(self._solver.order(self._diffrax.ODETerm(lambda t, y, args: y)))
        self._begin, self._advance = self._compiled()

    @staticmethod
    def names() -> tuple[str, ...]:
        """Return the solvers that are driven."""
        return _NAMES

    def _drive(self, times: list[float]) -> Drive:
        def run(model: Model, x: States, draws: Draws) -> States:
            jax = load("jax", "jax")
            # The switch is set back, for other code chose its own precision. It must be the global one: callbacks run
            # in another thread.
            before = jax.config.jax_enable_x64
            jax.config.update("jax_enable_x64", True)
            try:
                return self._stepped(model, x, times)
            finally:
                jax.config.update("jax_enable_x64", before)

        return drive(times, run)

    def _stepped(self, model: Model, x: States, times: list[float]) -> States:
        self._model = model
        ends = [np.float64(time) for time in times]
        y, state = x, self._begin(ends[0], ends[1], x)
        for t0, t1 in pairwise(ends):
            y, state = self._advance(t0, t1, y, state)
        return np.array(y)

    def _compiled(self) -> tuple[Any, Any]:
        """Return ``init`` and ``step`` of the solver, compiled once for each shape of state."""
        equinox, jax = load("equinox", "equinox"), load("jax", "jax")

        def host(time: Any, y: Any) -> States:
            return velocity(self._model, float(time), np.asarray(y))

        def field(time: Any, y: Any, args: Any) -> Any:
            return jax.pure_callback(host, jax.ShapeDtypeStruct(y.shape, y.dtype), time, y)

        term = self._diffrax.ODETerm(field)

        def begin(t0: Any, t1: Any, y: Any) -> Any:
            return self._solver.init(term, t0, t1, y, None)

        def advance(t0: Any, t1: Any, y: Any, state: Any) -> tuple[Any, Any]:
            y, _, _, state, _ = self._solver.step(term, t0, t1, y, None, state, made_jump=False)
            return y, state

        return equinox.filter_jit(begin), equinox.filter_jit(advance)
