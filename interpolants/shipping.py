"""What ships in ``lowered.json``: ``python -m interpolants.shipping`` after a change of a schedule or the search."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import permutations

from sympy import Expr, Symbol, sqrt

from interpolants import diffusion as w
from interpolants.combination import Combination
from interpolants.dynamics import drift_combination
from interpolants.lowering import write_table
from interpolants.measure import Domain
from interpolants.prediction import PREDICTIONS, Velocity, conversion
from interpolants.schedule import Schedule
from interpolants.schedules import BUILT_IN, PAPER, Discrete
from interpolants.symbols import t
from interpolants.targets import Gaussian

__all__ = ["expressions"]

Entry = tuple[Expr, Symbol, Domain, float]


def expressions() -> Iterator[Entry]:
    """Yield what is evaluated under every schedule: quantities, conversions, exact targets and usual drifts.

    The paper's three have the drifts of every model and of six choices of w, the others those of a velocity with KL()
    and Sigma(), discrete ones only their quantities.
    """
    for name, make in BUILT_IN.items():
        schedule = make()
        for quantity, expression in schedule.expressions.items():
            yield expression, t, schedule.exact_domain, schedule.quantity(quantity).floor
        found: set[Expr] = set()
        if not isinstance(schedule, Discrete):  # their search takes a minute for each
            found = {*_marginals(schedule), *_conversions(schedule), *_drifts(schedule, name in PAPER)}
        for expression in sorted(found, key=str):
            yield expression, t, schedule.exact_domain, 0.0


def _marginals(schedule: Schedule) -> Iterator[Expr]:
    """The products with which a Path evaluates predictions and transport costs."""
    alpha, sigma = schedule.expressions["alpha"], schedule.expressions["sigma"]
    for prediction in PREDICTIONS.values():
        yield from Gaussian([0.0], 1.0).products(*prediction.row(schedule), alpha, sigma).values()


def _conversions(schedule: Schedule) -> Iterator[Expr]:
    for source, to in permutations(PREDICTIONS.values(), 2):
        yield from _parts(conversion(schedule, source, to))


def _drifts(schedule: Schedule, paper: bool) -> Iterator[Expr]:
    choices = (w.KL(), w.Sigma(), w.SinSquared(), w.Constant(1), w.Ramp(), w.Decreasing())
    for choice in choices if paper else choices[:2]:
        variance = choice.expression(schedule)
        yield from (variance, sqrt(variance))
        for prediction in PREDICTIONS.values() if paper else (Velocity,):
            yield from _parts(drift_combination(schedule, prediction, variance, "a drift"))


def _parts(combination: Combination) -> Iterator[Expr]:
    yield from (combination.A, combination.B)


if __name__ == "__main__":
    write_table(list(expressions()))
