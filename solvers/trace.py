"""Symbols in place of arrays, and what a method does to them in a step."""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple

from solvers.errors import explain
from solvers.problem import Field

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


# Keys of symbols in a step: the state, then what is carried and what is evaluated in order; constants are negative.
STATE = 0


class Symbol:
    """A sum of symbols with weights, with the operators of an array."""

    __slots__ = ("terms", "trace")
    __array_ufunc__ = None
    shape: ClassVar[tuple[int, ...]] = ()

    def __init__(self, trace: Trace, terms: dict[int, float]) -> None:
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


class DrawnNoise:
    """Noise that is written down."""

    def __init__(self, trace: Trace) -> None:
        self.trace = trace

    def __call__(self, t0: float, t1: float) -> Symbol:
        """Return the symbol of an increment."""
        self.trace.calls.append(Draw(t0, t1, area=False))
        return self.trace.next_value()

    def with_area(self, t0: float, t1: float) -> tuple[Symbol, Symbol]:
        """Return the symbols of an increment and its area."""
        self.trace.calls.append(Draw(t0, t1, area=True))
        return self.trace.next_value(), self.trace.next_value()


class Trace:
    """What is written down while the symbols of a step are combined."""

    def __init__(self) -> None:
        self.constants: list[Any] = []
        self.steps: list[tuple[float, float, list[tuple[float, Symbol] | Draw], Symbol, list[Symbol]]] = []
        self.calls: list[tuple[float, Symbol] | Draw] = []
        self.keys = 1
        self.found: Symbol | None = None

    def symbol(self, key: int) -> Symbol:
        """Return the symbol of a value of the step."""
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
        """Return the symbol of an evaluation."""
        self.calls.append((time, x))
        return self.next_value()

    def held(self, evaluate: Field) -> Field:
        """Return an evaluation that is made once in a step."""

        def first(time: float, x: Symbol) -> Any:
            if self.found is None:
                self.found = evaluate(time, x)
            return self.found

        return first

    def close(self, t0: float, t1: float, x: Symbol, state: Any) -> tuple[Symbol, Any]:
        """End a step: its state and all sums that are carried on become the symbols of the next."""
        carried: list[Symbol] = []
        state = self._renamed(state, carried)
        self.steps.append((t0, t1, self.calls, x, carried))
        self.calls, self.keys, self.found = [], 1 + len(carried), None
        return self.symbol(STATE), state

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
                tuple(call if isinstance(call, Draw) else Operation(call[0], terms(call[1])) for call in calls),
                terms(x),
                tuple(terms(each) for each in carried),
            )
            for t0, t1, calls, x, carried in self.steps
        )
        return programs, tuple(self.constants)
