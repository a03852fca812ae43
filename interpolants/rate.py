"""What every choice of w_t is: a formula in the schedule that is nowhere negative."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from sympy import Expr

from interpolants.coefficient import Coefficient
from interpolants.measure import Exact
from interpolants.schedule import Schedule
from interpolants.symbols import canonical, t
from solvers.errors import explain

__all__ = ["DiffusionCoefficient", "expect_diffusion", "expect_non_negative"]


@dataclass(frozen=True)
class DiffusionCoefficient:
    """A choice of w_t: its name, and its expression under a schedule."""

    name: str
    expression: Callable[[Schedule], Expr]

    def __repr__(self) -> str:
        return self.name

    def __mul__(self, factor: float) -> DiffusionCoefficient:
        number = canonical(factor, "a multiple of w")
        if number.free_symbols or number < 0:
            raise ValueError(explain("a multiple >= 0 of w", str(factor), "w is a variance rate: keep it non-negative"))
        return DiffusionCoefficient(f"{factor} * {self.name}", lambda schedule: number * self.expression(schedule))

    __rmul__ = __mul__

    def __add__(self, other: DiffusionCoefficient) -> DiffusionCoefficient:
        return DiffusionCoefficient(
            f"{self.name} + {other.name}", lambda schedule: self.expression(schedule) + other.expression(schedule)
        )

    def of(self, schedule: Schedule) -> Coefficient:
        """Return w_t under ``schedule`` as a function of time.

        Raises:
            ValueError: w is negative somewhere; the message says where.
        """
        expression = self.expression(schedule)
        expect_non_negative(expression, schedule, f"w = {self.name}")
        return schedule.coefficient(expression, f"w = {self.name}")


def expect_non_negative(expression: Expr, schedule: Schedule, what: str) -> None:
    """Raise ValueError, with the time and the value, if ``expression`` is negative at one of 64 times inside."""
    exact = Exact(expression, t, schedule.exact_domain)
    for time in np.linspace(*schedule.domain, 66)[1:-1]:
        if exact.at(time) < 0:
            received = f"{float(exact.at(time)):.4g} at t = {time:.4g}"
            remedy = "square the expression, or restrict it to where it is positive"
            raise ValueError(explain(f"{what} >= 0 on the domain of {schedule.name}", received, remedy))


def expect_diffusion(w: object) -> DiffusionCoefficient:
    """Return ``w`` if it is a choice of this module."""
    if not isinstance(w, DiffusionCoefficient):
        remedy = "pass a choice from interpolants.diffusion, such as KL() or Sigma() (or Custom(expression))"
        raise TypeError(explain("a diffusion coefficient w", repr(w), remedy))
    return w
