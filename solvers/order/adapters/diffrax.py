"""Explicit solvers of diffrax, at steps that are given."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from solvers.errors import closest, explain
from solvers.order.adapters.flows import drive, interior_times, velocity, whole_times
from solvers.order.adapters.options import load, typed
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


def names() -> tuple[str, ...]:
    """Return the solvers that are driven."""
    return _NAMES


class Diffrax:
    """An explicit solver of ``diffrax``, in float64, with ``StepTo``.

    Args:
        name: such as "Tsit5".
        options: none are taken.

    Raises:
        ImportError: diffrax is not installed.
        ValueError: an unknown name or option.
    """

    coarsest = 4

    def __init__(self, name: str, options: Sequence[str] = ()) -> None:
        if name not in _NAMES:
            wanted = f"an explicit solver of diffrax: {', '.join(_NAMES)}"
            raise ValueError(explain(wanted, repr(name), f"did you mean {closest(name, _NAMES)}?"))
        self.name = f"diffrax:{name}"
        typed(options, {}, self.name)
        self._diffrax = load("diffrax", "diffrax")
        self._solver = getattr(self._diffrax, name)()
        self.claimed: float | None = float(self._solver.order(self._diffrax.ODETerm(lambda t, y, args: y)))

    def interior(self, n: int) -> Drive:
        """Return n unequal steps inside."""
        return self._drive(interior_times(n))

    def whole(self, n: int) -> Drive:
        """Return n equal steps from noise to data."""
        return self._drive(whole_times(n))

    def _drive(self, times: list[float]) -> Drive:
        def run(model: Model, x: States, draws: Draws) -> States:
            import jax

            # The switch is set back, for other code chose its own precision. It must be the global one: callbacks run
            # in another thread.
            before = jax.config.jax_enable_x64
            jax.config.update("jax_enable_x64", True)
            try:
                return np.array(self._solved(model, x, times))
            finally:
                jax.config.update("jax_enable_x64", before)

        return drive(times, run)

    def _solved(self, model: Model, x: States, times: list[float]) -> Any:
        import jax

        like = jax.ShapeDtypeStruct(x.shape, x.dtype)

        def host(time: Any, y: Any) -> States:
            return velocity(model, float(time), np.asarray(y))

        def field(time: Any, y: Any, args: Any) -> Any:
            return jax.pure_callback(host, like, time, y)

        controller = self._diffrax.StepTo(ts=np.array(times))
        term, ends = self._diffrax.ODETerm(field), (times[0], times[-1])
        found = self._diffrax.diffeqsolve(
            term, self._solver, *ends, None, jax.numpy.asarray(x), stepsize_controller=controller
        )
        return found.ys[-1]
