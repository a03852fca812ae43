"""A(t)·x + B(t)·prediction: the one form that conversions and dynamics have.

A and B are each simplified as one expression before they become code, so an infinity that cancels in the product never
reaches floating point. Where both A and B are infinite together, the pole is taken out as a common factor: the inner
combination is finite and the result is ±inf, not inf − inf.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

from sympy import Expr, Integer, Rational, nsimplify, together

from interpolants.budget import within
from interpolants.coefficient import Array, Coefficient, pad
from interpolants.schedule import Schedule
from interpolants.symbols import t
from solvers.errors import explain

__all__ = ["Combination", "expect_array", "expect_model", "expect_shape", "solve_row"]


@dataclass(frozen=True)
class Combination:
    """The map (x, p) ↦ A(t)·x + B(t)·p with A and B as sympy expressions on a schedule's domain."""

    schedule: Schedule
    A: Expr
    B: Expr
    label: str

    @cached_property
    def coefficients(self) -> tuple[Coefficient, Coefficient]:
        """A and B as functions of time."""
        a = self.schedule.coefficient(self.A, f"the factor of x in {self.label}")
        b = self.schedule.coefficient(self.B, f"the factor of the prediction in {self.label}")
        return a, b

    @property
    def poles(self) -> tuple[float, ...]:
        """Times at which A or B is infinite; training can move them."""
        a, b = self.coefficients
        return tuple(sorted({*a.poles, *b.poles}))

    @property
    def _factored(self) -> tuple[Coefficient, Coefficient, Coefficient] | None:
        """The common pole g of A and B, and A/g and B/g; None where they have no power-law pole in common."""
        ends = zip(self.coefficients[0].ends, self.coefficients[1].ends)
        both = tuple(a.is_pole and b.is_pole and a.order < 0 and b.order < 0 for a, b in ends)
        if not any(both):
            return None
        orders = tuple(min(c.ends[which].order for c in self.coefficients) * both[which] for which in (0, 1))
        return _factored(self, orders)

    @cached_property
    def is_prediction(self) -> bool:
        """Whether the map is p itself."""
        return bool(self.A == 0 and self.B == 1)

    def __call__(self, time: Any, x: Array, prediction: Array) -> Array:
        """Evaluate at a number or at times of shape (B,), for x and prediction of one shape (B, …)."""
        expect_shape(prediction, x)
        if self.is_prediction:
            return prediction
        a, b = self.coefficients
        if not isinstance(time, (float, int)) and self._factored is not None:
            pole, inner_a, inner_b = self._factored
            return pad(pole(time), x) * (pad(inner_a(time), x) * x + pad(inner_b(time), x) * prediction)
        if self.A == 0:
            return pad(b(time), x) * prediction
        return pad(a(time), x) * x + pad(b(time), x) * prediction


@lru_cache(maxsize=1024)
def _factored(combination: Combination, orders: tuple[float, ...]) -> tuple[Coefficient, Coefficient, Coefficient]:
    """Take the powers of the distances to the ends out of A and B."""
    schedule, (lo, hi) = combination.schedule, combination.schedule.exact_domain
    common = (t - lo) ** nsimplify(orders[0]) * (hi - t) ** nsimplify(orders[1])
    label = f"an inner factor of {combination.label}"
    inner = (schedule.coefficient(together(part / common), label) for part in (combination.A, combination.B))
    return schedule.coefficient(common, f"the pole of {combination.label}"), *inner  # type: ignore[return-value]


def solve_row(schedule: Schedule, wanted: tuple[Expr, Expr], given: tuple[Expr, Expr], label: str) -> Combination:
    r"""Return the combination of x_t and the quantity with row ``given`` that has row ``wanted``.

    Raises:
        ValueError: ``given`` is a multiple of x_t, and carries no information of its own.
    """
    alpha, sigma = schedule.expressions["alpha"], schedule.expressions["sigma"]
    (c, d), (a, b) = wanted, given
    if wanted == given:
        return Combination(schedule, Integer(0), Integer(1), label)
    determinant = alpha * b - sigma * a
    if _is_zero(determinant, schedule):
        remedy = "predict another quantity under this schedule"
        raise ValueError(explain("a prediction independent of x_t", label, remedy))
    return Combination(schedule, (b * c - a * d) / determinant, (alpha * d - sigma * c) / determinant, label)


def expect_model(model: object) -> None:
    """Refuse what cannot be called as ``model(time, x)``."""
    if not callable(model):
        raise TypeError(explain("a callable model(time, x)", repr(model), "pass a function, or bind(network, y)"))


def expect_array(output: Any) -> None:
    """Refuse a tuple, or an object with the prediction in a field: what networks of other projects return."""
    if not hasattr(output, "shape"):
        remedy = "take the prediction out of it: output[0], or output.sample"
        raise TypeError(explain("an array from the model", f"a {type(output).__name__}", remedy))


def expect_shape(prediction: Array, x: Array) -> None:
    """Refuse what a model returned if it is not one prediction for every entry of x."""
    expect_array(prediction)
    if tuple(prediction.shape) != tuple(x.shape):
        remedy = "return one prediction of the shape of x (for learned variances, its first half)"
        raise ValueError(explain(f"a prediction of shape {tuple(x.shape)}", f"{tuple(prediction.shape)}", remedy))


def _is_zero(determinant: Expr, schedule: Schedule) -> bool:
    """Look at a time inside first; where it vanishes ask sympy, for a second: what is hard to simplify is not zero."""
    lo, hi = schedule.exact_domain
    names = sorted(determinant.free_symbols, key=str)
    inside = {name: lo + (hi - lo) * Rational(k, k + 4) for k, name in enumerate(names, start=1)}
    if abs(determinant.subs(inside).evalf(30)) > 1e-15:
        return False
    try:
        return bool(within(1.0, lambda: determinant.equals(0)))
    except TimeoutError:
        return False
