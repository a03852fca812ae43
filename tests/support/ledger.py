"""One line for each property of the mathematics: the worst error that its tests met, beside its budget.

A test of tests/consistency names its property in the first words of its docstring, "Property 8: …", and compares
through :func:`within`. At the end of a run that had any, a table is printed.
"""

from __future__ import annotations

import re
from collections import defaultdict
from typing import Any

import numpy as np

PROPERTIES = {
    1: "boundary values, monotone ratio",
    2: "derivatives of α and σ",
    3: "Wronskian, κ and λ",
    4: "round trips between predictions",
    5: "αx̂ + σε̂ = x",
    6: "Tweedie",
    7: "second-order Tweedie",
    8: "continuity equation",
    9: "Fokker–Planck equation",
    10: "marginals for any w",
    11: "Stein identities",
    12: "the flow as a semigroup",
    13: "orders of solvers",
    14: "error constants of Euler and Heun",
    15: "laws and orders of stochastic solvers",
    16: "exactness in one step",
    17: "one method under five names",
    18: "SDE-DPM-Solver++-1 is DDPM",
    19: "DDIM's product and best grid",
    20: "classifier-free guidance",
    21: "the KL bound",
    22: "cost, length and distance",
    23: "likelihood and divergence",
    24: "time reversal",
    25: "average velocity, consistency, equivalence",
}
"""What each number stands for."""

_open: list[list[float]] = []


def within(error: Any, budget: Any, what: str = "") -> None:
    """Fail unless every error is at most its budget; remember the one that came closest. NaN is over any budget."""
    errors, budgets = np.broadcast_arrays(np.asarray(error, np.float64), np.asarray(budget, np.float64))
    if not errors.size:
        raise AssertionError(f"nothing was compared {what}")
    tiny = np.finfo(np.float64).tiny
    with np.errstate(invalid="ignore", over="ignore"):
        shares = np.where(errors <= budgets, errors / np.maximum(budgets, tiny), np.inf).ravel()
    worst = int(np.argmax(shares))
    if _open:
        _open[-1] = max(_open[-1], [float(shares[worst]), float(errors.flat[worst]), float(budgets.flat[worst])])
    if not np.isfinite(shares[worst]):
        raise AssertionError(f"error {errors.flat[worst]:.3e} over the budget {budgets.flat[worst]:.3e} {what}".strip())


def property_of(item: Any) -> int | None:
    """Return the number in the docstring of a test."""
    text = getattr(getattr(item, "function", None), "__doc__", None) or ""
    found = re.match(r"Property (\d+):", text)
    return int(found[1]) if found else None


def record(item: Any) -> Any:
    """Run a test (as a hook around its call) and keep its property and its worst error with its report."""
    number = property_of(item)
    _open.append([-1.0, 0.0, 0.0])
    try:
        return (yield)
    finally:
        worst = _open.pop()
        if number is not None:
            item.user_properties.append(("property", [number, *worst]))


def table(reports: list[Any]) -> list[str]:
    """Return the lines of the table for the reports of a run; none where no test had a property."""
    tests: dict[int, list[Any]] = defaultdict(list)
    worst: dict[int, list[float]] = defaultdict(lambda: [-1.0, 0.0, 0.0])
    for report in reports:
        for name, value in report.user_properties:
            if name == "property":
                tests[value[0]].append(report)
                worst[value[0]] = max(worst[value[0]], value[1:])
    return [_line(number, tests[number], worst[number]) for number in sorted(tests)]


def _line(number: int, reports: list[Any], worst: list[float]) -> str:
    failed = sum(report.failed for report in reports)
    share, error, budget = worst
    measured = "exact" if share < 0 or budget == 0 == error else f"{error:8.1e} of {budget:8.1e}"
    seconds = sum(report.duration for report in reports)
    verdict = f"{failed} FAILED" if failed else "ok"
    return f"{number:3d}  {PROPERTIES[number]:44s} {measured:22s} {len(reports):4d} tests {seconds:6.1f} s  {verdict}"
