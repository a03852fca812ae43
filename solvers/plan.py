r"""A solve written down before it is run: each step a list of sums, their weights known.

Every method here is linear in the states, the evaluations and the normals that it draws:

.. math:: y_i = \sum_j w_{ij} z_j, \qquad z \in \{x,\ \text{what was carried},\ f(\tau_1, y_1), f(\tau_2, y_2), \dots,
          \Delta W\}.

So its own ``step`` is run once on symbols instead of arrays. What it does to them are the weights; all that it computes
on the host (schedules, quadratures, φ-functions) happens then, and no more when the plan is followed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, NamedTuple

from solvers.arrays import Array
from solvers.check import check_solve
from solvers.errors import explain
from solvers.method import Method, on_grid
from solvers.noise import with_area
from solvers.problem import Problem

__all__ = ["Plan", "plan"]

Terms = tuple[tuple[float, int], ...]


class Operation(NamedTuple):
    """An evaluation at ``time`` of a sum."""

    time: float
    terms: Terms


class Draw(NamedTuple):
    """The increment of the noise over a step or a part of it; with its space–time Lévy area as a second value."""

    since: float
    time: float
    area: bool


class Program(NamedTuple):
    """A step: what is evaluated in turn, the state reached, and what the next step is given beside it."""

    start: float
    end: float
    operations: tuple[Operation | Draw, ...]
    state: Terms
    carried: tuple[Terms, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """A method for one problem and one grid, from ``method.plan(problem, ts)``; pass both to ``solve`` with it.

    Args:
        method: the method that was planned.
        problem: for which problem; one with another model and all else the same may follow the plan too.
        times: the grid.
        programs: the steps.
        constants: numbers and arrays that the method adds.
    """

    method: Method
    problem: Problem
    times: tuple[float, ...]
    programs: tuple[Program, ...]
    constants: tuple[Any, ...]

    @property
    def order(self) -> int:
        """That of the method."""
        return self.method.order

    @property
    def evaluations(self) -> int:
        """Those of a step of the method that is neither a start nor an end."""
        return self.method.evaluations

    @property
    def nodes(self) -> tuple[float, ...]:
        """Those of the method."""
        return self.method.nodes

    @property
    def stochastic(self) -> bool:
        """Whether a step draws noise."""
        return self.method.stochastic

    @property
    def solves(self) -> type[Problem]:
        """The kind of problem."""
        return self.method.solves

    @property
    def reads_clock(self) -> bool:
        """Whether the method looks at the clock of the noise."""
        return bool(getattr(self.method, "reads_clock", False))

    def fits(self, problem: Problem, times: list[float]) -> None:
        """Refuse a grid or a problem for which the weights do not hold."""
        if tuple(times) != self.times:
            wanted = f"the grid that was planned, {len(self.times)} times from {self.times[0]!r} to {self.times[-1]!r}"
            received = f"{len(times)} times from {times[0]!r} to {times[-1]!r}"
            raise ValueError(explain(wanted, received, "plan the method again for this grid"))
        for name, part in vars(self.problem).items():
            if name not in (problem.evaluated, "relatives") and getattr(problem, name) != part:
                wanted = "the problem that was planned, or one with another model and all else the same"
                remedy = f"plan the method again, or make the problem by replace(problem, {problem.evaluated}=...)"
                raise ValueError(explain(wanted, f"one with another {name}", remedy))

    def visits(self, problem: Any, ts: list[float]) -> list[list[float]]:
        """Return the times at which each step evaluates."""
        return [[call.time for call in program.operations if isinstance(call, Operation)] for program in self.programs]

    def init(self, problem: Any, t0: float, x0: Array) -> tuple[int, tuple[Array, ...]]:
        """Carry the number of the step and nothing else."""
        return 0, ()

    def step(
        self, problem: Any, t0: float, t1: float, x: Array, state: tuple[int, tuple[Array, ...]], noise: Any
    ) -> tuple[Array, tuple[int, tuple[Array, ...]]]:
        """Go from ``x`` at t0 to t1: sums of arrays, with evaluations between them."""
        index, carried = state
        program = self.programs[index]
        evaluate = getattr(problem, problem.evaluated)
        values = [*self.constants, x, *carried]
        for each in program.operations:
            if isinstance(each, Operation):
                values.append(evaluate(each.time, _sum(each.terms, values)))
            elif each.area:
                values.extend(with_area(noise, each.since, each.time))
            else:
                values.append(noise(each.since, each.time))
        return _sum(program.state, values), (index + 1, tuple(_sum(terms, values) for terms in program.carried))


def _sum(terms: Terms, values: list[Array]) -> Array:
    total = None
    for weight, index in terms:
        part = values[index] if weight == 1.0 else weight * values[index]
        total = part if total is None else total + part
    return total


def plan(method: Method, problem: Problem, ts: Any) -> Plan:
    """Run a method on symbols over a grid, and write down what it does.

    Raises:
        TypeError: no problem of the kind that the method solves; a method that is not linear.
        ValueError: an impossible grid.
    """
    times = check_solve(problem, ts, method)
    trace, taking = _Trace(), on_grid(method, times)
    spared = {"relatives": None} if hasattr(problem, "relatives") else {}
    traced = replace(problem, **spared, **{problem.evaluated: trace.evaluate})  # type: ignore[type-var]
    state, x = taking.init(traced, times[0], trace.symbol(_STATE)), trace.symbol(_STATE)
    for t0, t1 in pairwise(times):
        x, state = taking.step(traced, t0, t1, x, state, _Noise(trace) if method.stochastic else None)
        x, state = trace.close(t0, t1, x, state)
    return Plan(method, problem, tuple(times), *trace.finished())


# Keys of symbols in a step: the state, then what is carried and what is evaluated in order; constants are negative.
_STATE = 0


class Symbol:
    """A sum of symbols with weights, with the operators of an array."""

    __slots__ = ("terms", "trace")
    __array_ufunc__ = None

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


class _Noise:
    """Noise that is written down."""

    def __init__(self, trace: _Trace) -> None:
        self.trace = trace

    def __call__(self, t0: float, t1: float) -> Symbol:
        self.trace.calls.append(Draw(t0, t1, area=False))
        return self.trace.next_value()

    def with_area(self, t0: float, t1: float) -> tuple[Symbol, Symbol]:
        self.trace.calls.append(Draw(t0, t1, area=True))
        return self.trace.next_value(), self.trace.next_value()


class _Trace:
    """What is written down while the symbols of a step are combined."""

    def __init__(self) -> None:
        self.constants: list[Any] = []
        self.steps: list[tuple[float, float, list[tuple[float, Symbol] | Draw], Symbol, list[Symbol]]] = []
        self.calls: list[tuple[float, Symbol] | Draw] = []
        self.keys = 1

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

    def next_value(self) -> Symbol:
        """Return the symbol of one more value of the step."""
        self.keys += 1
        return self.symbol(self.keys - 1)

    def evaluate(self, time: float, x: Symbol) -> Symbol:
        self.calls.append((time, x))
        return self.next_value()

    def close(self, t0: float, t1: float, x: Symbol, state: Any) -> tuple[Symbol, Any]:
        """End a step: its state and all sums that are carried on become the symbols of the next."""
        carried: list[Symbol] = []
        state = self._renamed(state, carried)
        self.steps.append((t0, t1, self.calls, x, carried))
        self.calls, self.keys = [], 1 + len(carried)
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
            found = tuple((w, count + key if key >= 0 else -1 - key) for key, w in symbol.terms.items() if w)
            # The array first, so that a sum is one from its first addition on.
            return tuple(sorted(found, key=lambda term: term[1] < count)) or ((0.0, count),)

        programs = tuple(
            Program(
                t0,
                t1,
                tuple(call if isinstance(call, Draw) else Operation(call[0], terms(call[1])) for call in calls),
                terms(x),
                tuple(terms(each) for each in carried),
            )
            for t0, t1, calls, x, carried in self.steps
        )
        return programs, tuple(self.constants)
