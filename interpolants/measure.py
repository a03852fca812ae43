"""The exact side of lowering: probes, 200-digit values, and what an expression does at the ends of its domain."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

import mpmath
import numpy as np
import sympy
from mpmath import mpf
from numpy.typing import NDArray
from sympy import Expr, Integer, Symbol

from solvers.errors import explain

__all__ = ["DIGITS", "UNIT", "Domain", "End", "Exact", "classify", "ulp_errors"]

DIGITS = 200
Domain = tuple[Expr, Expr]
"""The exact first and last time; π/2 is not a float, and the limits are those at the exact end."""

UNIT: Domain = (Integer(0), Integer(1))


@dataclass(frozen=True)
class End:
    """Behaviour at an end: ``limit`` (possibly ±inf) and ``order``, the exponent of the distance to the end.

    ``order`` is negative at a power-law pole, and 0.0 with an infinite ``limit`` where the growth is logarithmic.
    """

    time: float
    limit: float
    order: float

    @property
    def is_pole(self) -> bool:
        """Whether the value is infinite there."""
        # Not by numpy, in which torch.compile would see an array.
        return math.isinf(self.limit)


class Exact:
    """An expression at 200 digits on a domain."""

    def __init__(self, expression: Expr, symbol: Symbol, domain: Domain):
        self.expression, self.symbol = expression, symbol
        self.domain = (float(domain[0]), float(domain[1]))
        self._domain = domain
        self._function = sympy.lambdify(symbol, expression, "mpmath")
        self._values: dict[float, mpf] = {}
        self._allowances: dict[float, float] = {}

    def at(self, time: mpf | float) -> mpf:
        """Return the value at ``time``; the caller stays off the removable singularities."""
        with mpmath.workdps(DIGITS):
            value = self._function(mpmath.mpf(time))
            if isinstance(value, mpmath.mpc):
                if abs(value.imag) > mpf(10) ** -40:
                    remedy = "keep the expression real on its whole domain"
                    received = f"{self.expression} at {float(time):.4g}"
                    raise ValueError(explain("a real value", received, remedy))
                value = value.real
            return mpmath.mpf(value)

    def end_is_float(self, which: int) -> bool:
        """Whether the exact end is a double."""
        with mpmath.workdps(DIGITS):
            return bool(_to_mpf(self._domain[which]) == mpf(self.domain[which]))

    @property
    def bounded(self) -> bool:
        """Whether both ends of the domain are finite."""
        return bool(np.isfinite(self.domain).all())

    @cached_property
    def is_zero(self) -> bool:
        """Whether nothing but the round-off of 200 digits is left at every probe."""
        return all(abs(self.value(float(probe))) < mpf(10) ** (50 - DIGITS) for probe in self.probes)

    @cached_property
    def ends(self) -> tuple[End, ...]:
        """The two ends, or none for an unbounded domain."""
        if self.bounded and self.is_zero:
            return End(self.domain[0], 0.0, 0.0), End(self.domain[1], 0.0, 0.0)
        return (self._end(0), self._end(1)) if self.bounded else ()

    def _end(self, which: int) -> End:
        """Read the limit and its order off three distances, at 200 digits."""
        time = self.domain[which]
        try:
            near = [self.at(point) for point in self.approach(which)]
        except (TypeError, ValueError, ZeroDivisionError) as error:
            remedy = "check the expression near the ends of its domain"
            raise ValueError(explain(f"real values near {time:g}", str(self.expression), remedy)) from error
        return classify(time, *near)

    def approach(self, which: int) -> list[mpf]:
        """Return the times at the relative distances 1e-40, 1e-50 and 1e-60 from an end."""
        with mpmath.workdps(DIGITS):
            lo, hi = (_to_mpf(end) for end in self._domain)
            return [(lo, hi)[which] + (1 - 2 * which) * (hi - lo) * mpf(10) ** -power for power in (40, 50, 60)]

    @cached_property
    def probes(self) -> NDArray[np.float64]:
        """Interior probes, exactly representable in float32, dense towards both ends; see :meth:`refine`."""
        if not self.bounded:
            near = np.geomspace(1e-3, 80.0, 24)
            return np.sort(np.float64(np.float32(np.concatenate([-near, near]))))
        towards_lo = np.concatenate([np.geomspace(1e-30, 1e-5, 10), np.geomspace(1e-4, 0.06, 14)])
        towards_hi = 2.0 ** -np.arange(4.5, 24.5, 1.0)
        middle = (np.arange(24) + 0.37) / 24
        return self._inside(np.concatenate([towards_lo, middle, 1 - towards_hi]))

    def random_probes(self, n: int, seed: int = 0) -> NDArray[np.float64]:
        """About ``n`` more of them: a third uniform, the others log-uniform in the distance to an end."""
        rng = np.random.default_rng(seed)
        parts = [
            10 ** rng.uniform(-4.0, -0.3, n // 3),
            10 ** rng.uniform(-12.0, -4.0, n // 9),
            rng.uniform(0.0, 1.0, n // 3),
            1 - 2.0 ** -rng.uniform(1.0, 23.0, n // 4),
        ]
        if not self.bounded:
            return rng.uniform(-80.0, 80.0, n).astype(np.float32).astype(np.float64)
        return self._inside(np.concatenate(parts))

    def _inside(self, fractions: NDArray[np.float64]) -> NDArray[np.float64]:
        lo, hi = self.domain
        points = np.asarray(lo + (hi - lo) * fractions).astype(np.float32).astype(np.float64)
        # Strictly inside in float32 too, which may round an end onto a probe.
        return np.unique(points[(points > max(lo, float(np.float32(lo)))) & (points < min(hi, float(np.float32(hi))))])

    def refine(self, points: NDArray[np.float64]) -> None:
        """Add ``points`` to the probes."""
        self.probes = np.union1d(self.probes, points)

    def value(self, probe: float) -> mpf:
        """Return the value at a probe, and remember it."""
        if probe not in self._values:
            self._values[probe] = self.at(probe)
        return self._values[probe]

    def values(self, points: NDArray[np.float64]) -> list[mpf]:
        """Return the exact values at ``points``."""
        return [self.value(float(point)) for point in points]

    def allowance(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        r"""Return what the condition number makes unavoidable, as a factor ≥ 1 at every point.

        A rounded argument X of an exponential costs a relative error of u·|X|, and a zero inside the domain costs
        u·|d f'/f| where d is the distance to the nearer end, which is known exactly; both are divided by four, the
        error that every form is allowed.
        """
        return np.asarray([self._allow(float(point)) for point in points])

    def _allow(self, point: float) -> float:
        if point not in self._allowances:
            factor = max([1.0, *((1 + abs(float(argument.at(point)))) / 4 for argument in self._exponents)])
            value = self.value(point)
            if self.bounded and value != 0:
                distance = min(point - self.domain[0], self.domain[1] - point)
                factor = max(factor, float(abs(distance * self._slope.at(point) / value)) / 4)
            self._allowances[point] = factor
        return self._allowances[point]

    @cached_property
    def _exponents(self) -> list[Exact]:
        nodes = [node.args[0] for node in self.expression.atoms(sympy.exp, sympy.sinh, sympy.cosh)]
        powers = [node for node in self.expression.atoms(sympy.Pow) if node.exp.has(self.symbol)]
        nodes += [node.exp * sympy.log(node.base) for node in powers]
        return [Exact(node, self.symbol, self._domain) for node in nodes]

    @cached_property
    def _slope(self) -> Exact:
        return Exact(sympy.diff(self.expression, self.symbol), self.symbol, self._domain)


def _to_mpf(end: Expr) -> mpf:
    return mpmath.mpf(str(sympy.N(end, DIGITS + 10)))


def classify(time: float, a: mpf, b: mpf, c: mpf) -> End:
    """Read a limit and its order off the values at the relative distances 1e-40, 1e-50 and 1e-60."""
    with mpmath.workdps(DIGITS):
        if b == 0 or a == 0:
            return End(time, float(b), 0.0)
        slope = float(mpmath.log10(abs(a / b)) / 10)
        order = round(12 * slope) / 12  # with a logarithm beside the power the slope is off by a hundredth
        if c != 0 and abs(slope - float(mpmath.log10(abs(b / c)) / 10)) < 1e-9:
            order = float(Fraction(slope).limit_denominator(10**4))
        if abs(slope - order) < 0.02 and abs(order) > 1e-6:
            return End(time, 0.0 if order > 0 else float(mpmath.sign(c)) * float("inf"), order)
        if abs(c - b) > abs(b - a) / 2 and abs(b - a) > mpf(10) ** -18 * abs(b):
            return End(time, float(mpmath.sign(c)) * float("inf"), 0.0)
        return End(time, float(c), 0.0)


def ulp_errors(got: NDArray[np.floating], exact: list[mpf], *, floor: float = 0.0) -> NDArray[np.float64]:
    """Return |got − exact| in units of the last place, of ``max(|exact|, floor)`` in ``got``'s type.

    A value beyond the largest number of the type must come out infinite; anything else not finite is an error of inf.
    """
    info = np.finfo(got.dtype)
    errors = np.full(len(exact), np.inf)
    for index, (value, truth) in enumerate(zip(got, exact)):
        if np.isfinite(value):
            size = max(abs(truth), mpf(float(info.tiny)), mpf(floor))
            exponent = int(mpmath.floor(mpmath.log(size, 2)))
            errors[index] = float(abs(mpf(float(value)) - truth) * mpf(2) ** (info.nmant - exponent))
        elif abs(truth) > float(info.max) and (value > 0) == (truth > 0):
            errors[index] = 0.0
    return errors
