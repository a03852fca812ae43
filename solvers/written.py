r"""A solve as a list of steps, each step a list of sums, their weights known.

Every method here is linear in the states, the evaluations and the normals that it draws:

.. math:: y_i = \sum_j w_{ij} z_j, \qquad z \in \{x,\ \text{what was carried},\ f(\tau_1, y_1), f(\tau_2, y_2), \dots,
          \Delta W\}.

So its own ``step`` is run once on symbols instead of arrays. What it does to them are the weights; all that it computes
on the host (schedules, quadratures, φ-functions) happens then, and no more when the plan is followed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any, ClassVar, NamedTuple

from solvers.arrays import Array
from solvers.errors import explain
from solvers.method import Method, on_grid
from solvers.problem import Field, Problem

__all__ = ["Operation", "Program", "Terms", "combined", "written"]

Terms = tuple[tuple[float, int], ...]


class Operation(NamedTuple):
    """An evaluation at ``time`` of a sum; or, without terms, the increment of the noise up to ``time``."""

    since: float
    time: float
    terms: Terms | None


class Program(NamedTuple):
    """A step: what is evaluated in turn, the state reached, and what the next step is given beside it."""

    start: float
    end: float
    operations: tuple[Operation, ...]
    state: Terms
    carried: tuple[Terms, ...]


def combined(terms: Terms, values: list[Array]) -> Array:
    """Return the sum of values with weights."""
    total = None
    for weight, index in terms:
        part = values[index] if weight == 1.0 else weight * values[index]
        total = part if total is None else total + part
    return total


def written(
    method: Method, pose: Callable[[Field], Problem], times: list[float], *, once: bool = False
) -> tuple[tuple[Program, ...], tuple[Any, ...]]:
    """Return the steps and the constants of a solve; nothing is checked.

    Args:
        method: a method that is linear.
        pose: the problem of a field. Each call of that field becomes an operation: where it is a network from which the
            problem is made, the weights are those of what the network returns.
        times: the grid.
        once: each step evaluates the problem once, and takes what it found for every evaluation that it would make
            after that one. So a multistep method starts with steps of order 1.
    """
    trace, taking = _Trace(), on_grid(method, times)
    problem: Any = pose(trace.evaluate)
    if once:
        problem = replace(problem, **{problem.evaluated: trace.held(getattr(problem, problem.evaluated))})
    state, x = taking.init(problem, times[0], trace.symbol(_STATE)), trace.symbol(_STATE)
    for t0, t1 in pairwise(times):
        x, state = taking.step(problem, t0, t1, x, state, trace.draw if method.stochastic else None)
        x, state = trace.close(t0, t1, x, state)
    return trace.finished()


# Keys of symbols in a step: the state, then what is carried and what is evaluated in order; constants are negative.
_STATE = 0


class Symbol:
    """A sum of symbols with weights, with the operators of an array."""

    __slots__ = ("terms", "trace")
    __array_ufunc__ = None
    shape: ClassVar[tuple[int, ...]] = ()

    def __init__(self, trace: _Trace, terms: dict[int, float]) -> None:
        self.trace = trace
        self.terms = terms

    def __add__(self, other: Any) -> Symbol:
        added = other if isinstance(other, Symbol) else self.trace.constant(other)
        terms = dict(self.terms)
        for key, weight in added.terms.items():
            terms[key] = terms.get(key, 0.0) + weight
        return Symbol(self.trace, terms)

    __radd__ = __add__

    def __mul__(self, factor: Any) -> Symbol:
        if not isinstance(factor, (int, float)):
            wanted = "a method that multiplies states and evaluations by floats alone"
            remedy = "solve without a plan; it is for methods that are linear"
            raise TypeError(explain(wanted, f"a factor that is a {type(factor).__name__}", remedy))
        return Symbol(self.trace, {key: factor * weight for key, weight in self.terms.items()})

    __rmul__ = __mul__

    def __truediv__(self, divisor: float) -> Symbol:
        return Symbol(self.trace, {key: weight / divisor for key, weight in self.terms.items()})

    def __neg__(self) -> Symbol:
        return self * -1.0

    def __sub__(self, other: Any) -> Symbol:
        return self.__add__(-1.0 * other)

    def __rsub__(self, other: Any) -> Symbol:
        return self.__neg__().__add__(other)


class _Trace:
    """What is written down while the symbols of a step are combined."""

    def __init__(self) -> None:
        self.constants: list[Any] = []
        self.steps: list[tuple[float, float, list[tuple[float, float, Symbol | None]], Symbol, list[Symbol]]] = []
        self.calls: list[tuple[float, float, Symbol | None]] = []
        self.keys = 1
        self.found: Symbol | None = None

    def symbol(self, key: int) -> Symbol:
        return Symbol(self, {key: 1.0})

    def constant(self, value: Any) -> Symbol:
        """Return the symbol of a number or an array that is added; 0 adds nothing."""
        if isinstance(value, (int, float)) and value == 0.0:
            return Symbol(self, {})
        if isinstance(value, (int, float)):
            return Symbol(self, {self._index(1.0): float(value)})
        return self.symbol(self._index(value))

    def _index(self, value: Any) -> int:
        for index, known in enumerate(self.constants):
            if known is value or (isinstance(value, float) and isinstance(known, float) and known == value):
                return -1 - index
        self.constants.append(value)
        return -len(self.constants)

    def _record(self, since: float, time: float, terms: Symbol | None) -> Symbol:
        self.calls.append((since, time, terms))
        self.keys += 1
        return self.symbol(self.keys - 1)

    def evaluate(self, time: float, x: Symbol) -> Symbol:
        return self._record(time, time, x)

    def held(self, evaluate: Field) -> Field:
        """Return an evaluation that is made once in a step."""

        def first(time: float, x: Symbol) -> Any:
            if self.found is None:
                self.found = evaluate(time, x)
            return self.found

        return first

    def draw(self, t0: float, t1: float) -> Symbol:
        return self._record(t0, t1, None)

    def close(self, t0: float, t1: float, x: Symbol, state: Any) -> tuple[Symbol, Any]:
        """End a step: its state and all sums that are carried on become the symbols of the next."""
        carried: list[Symbol] = []
        state = self._renamed(state, carried)
        self.steps.append((t0, t1, self.calls, x, carried))
        self.calls, self.keys, self.found = [], 1 + len(carried), None
        return self.symbol(_STATE), state

    def _renamed(self, part: Any, carried: list[Symbol]) -> Any:
        if isinstance(part, Symbol):
            known = [terms.terms for terms in carried]
            if part.terms not in known:
                carried.append(part)
                known.append(part.terms)
            return self.symbol(1 + known.index(part.terms))
        if isinstance(part, (tuple, list)):
            parts = [self._renamed(each, carried) for each in part]
            return type(part)(*parts) if hasattr(part, "_fields") else type(part)(parts)
        return part

    def finished(self) -> tuple[tuple[Program, ...], tuple[Any, ...]]:
        """Return the steps and the constants, which come before all else in the list of values of a step."""
        count = len(self.constants)

        def terms(symbol: Symbol) -> Terms:
            found = tuple((float(w), count + key if key >= 0 else -1 - key) for key, w in symbol.terms.items() if w)
            # The array first, so that a sum is one from its first addition on.
            return tuple(sorted(found, key=lambda term: term[1] < count)) or ((0.0, count),)

        programs = tuple(
            Program(
                t0,
                t1,
                tuple(Operation(since, time, None if at is None else terms(at)) for since, time, at in calls),
                terms(x),
                tuple(terms(each) for each in carried),
            )
            for t0, t1, calls, x, carried in self.steps
        )
        return programs, tuple(self.constants)
