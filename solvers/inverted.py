r"""A solve turned inside out: whoever has the network evaluates, and is told where.

The steps are those of a plan, sums of arrays with evaluations between them. Here they are followed from
one evaluation to the next, by a loop that belongs to somebody else::

    run = invert(method, pose, ts)
    point = run.begin(x)
    for call in run.calls:
        point = run.answer(model(call.time, point))

After the last answer ``point`` is the end of the solve. Between two evaluations of one step it is no state.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from solvers.arrays import Array
from solvers.check import check_solve
from solvers.errors import explain
from solvers.method import Method, on_grid
from solvers.noise import Increment
from solvers.problem import Field, Problem
from solvers.written import Draw, Operation, Program, combined, drawn, written

__all__ = ["Call", "Inverted", "invert"]

Pose = Callable[[Field], Problem]


class Call(NamedTuple):
    """An evaluation at ``time`` in a step: whether it is the first there, and whether it is at the state itself."""

    step: int
    time: float
    first: bool
    at_state: bool


def invert(method: Method, pose: Pose, ts: Any) -> Inverted:
    """Return a solve whose evaluations are left to the caller.

    Args:
        method: any method that is linear in states, evaluations and noise.
        pose: the problem of a network, ``pose(model)``.
        ts: the grid.

    Raises:
        TypeError, ValueError, PoleError: as :func:`solvers.solve` does before its first evaluation.
    """
    times = check_solve(pose(_unasked), ts, method)
    return Inverted(method, pose, times, *written(method, pose, times))


class Inverted:
    """A solve that has been written down and is followed from one evaluation to the next; see :func:`invert`.

    Attributes:
        times: the grid.
        calls: the evaluations, in turn.
    """

    def __init__(
        self, method: Method, pose: Pose, times: list[float], programs: Sequence[Program], constants: tuple[Any, ...]
    ) -> None:
        self.method, self.pose, self.times = method, pose, times
        self.programs, self.constants = programs, constants
        self._state = len(constants)
        self.calls = [call for step in range(len(programs)) for call in self._calls(step)]
        self._step = self._operation = 0
        self._values: list[Array] = []

    def _calls(self, step: int) -> list[Call]:
        asked = [operation for operation in self.programs[step].operations if isinstance(operation, Operation)]
        itself = ((1.0, self._state),)
        return [Call(step, one.time, k == 0, one.terms == itself) for k, one in enumerate(asked)]

    def rest(self, step: int) -> Inverted:
        """Return the solve from a step on, without a past, with the evaluations that it has here.

        A method whose start takes more of them begins with steps of order 1 in their place.

        Raises:
            ValueError: the step is itself one of such a start.
        """
        if step == 0:
            return Inverted(self.method, self.pose, self.times, self.programs, self.constants)
        wanted = [call.time for call in self.calls if call.step >= step]
        method = on_grid(self.method, self.times)
        for once in (False, True):
            found = written(method, self.pose, self.times[step:], once=once)
            run = Inverted(method, self.pose, self.times[step:], *found)
            if [call.time for call in run.calls] == wanted:
                return run
        remedy = "solve the rest of the grid as a solve of its own"
        received = f"{type(self.method).__name__} from step {step + 1} on"
        raise ValueError(explain("a method that can begin anew inside its grid", received, remedy))

    def begin(self, x: Array, noise: Increment | None = None) -> Array:
        """Start at a state, and return the point of the first evaluation."""
        self._open(0, x, ())
        return self._advance(noise)

    def answer(self, value: Array, noise: Increment | None = None, state: Array | None = None) -> Array:
        """Take what the network returned; return the point of the next evaluation, or the end of the solve.

        Args:
            value: what the network returned at the point that was given last.
            noise: the increments that are drawn before the next evaluation.
            state: what takes the place of the state, where the evaluation was the first of its step and at the state.
        """
        if state is not None:
            self._values[self._state] = state
        self._values.append(value)
        self._operation += 1
        return self._advance(noise)

    def _open(self, step: int, x: Array, carried: tuple[Array, ...]) -> None:
        self._step, self._operation, self._values = step, 0, [*self.constants, x, *carried]

    def _advance(self, noise: Increment | None) -> Array:
        """Go on to the next evaluation, over the end of a step if need be."""
        while True:
            program = self.programs[self._step]
            for operation in program.operations[self._operation :]:
                if isinstance(operation, Operation):
                    return combined(operation.terms, self._values)
                self._values.extend(_drawn(operation, noise))
                self._operation += 1
            x = combined(program.state, self._values)
            if self._step + 1 == len(self.programs):
                return x
            self._open(self._step + 1, x, tuple(combined(terms, self._values) for terms in program.carried))


def _drawn(draw: Draw, noise: Increment | None) -> tuple[Array, ...]:
    if noise is None:
        remedy = "pass noise(t0, t1), a Wiener increment"
        raise TypeError(explain("noise for a stochastic method", "None", remedy))
    return drawn(draw, noise)


def _unasked(time: float, x: Array) -> Array:
    """Stand for the network while a problem is looked at."""
    raise NotImplementedError
