r"""The floating-point error of the code that runs, against 200 digits.

Measured at the probes of the search and at other times that the search has not seen: seeded random ones, uniform and
log-spaced towards both ends, all exactly representable in float32. The budget is 4 ulp for α and σ (16 where they have
exponentials) and 16 ulp for the other quantities, times what the condition number makes unavoidable
(:meth:`interpolants.measure.Exact.allowance`); for the log-SNR, in units of the last place of the larger of it and 1.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sympy import cosh, exp, sinh, tanh

from interpolants.certify.certificate import Finding
from interpolants.measure import Exact, ulp_errors
from interpolants.schedule import Schedule
from interpolants.symbols import t
from solvers.errors import explain

__all__ = ["BACKENDS", "error_at", "rounding"]

BACKENDS = ("numpy", "torch")
RANDOM_TIMES = 80
"""The number of random times of each of three kinds."""


def rounding(schedule: Schedule, backends: tuple[str, ...]) -> Finding:
    """Return the finding with one row for each quantity, library and type."""
    statement = "coefficients within their budget of ulp"
    rows: list[dict[str, Any]] = []
    try:
        for name in schedule.expressions:
            schedule.quantity(name).perfect()
            rows += _rows(schedule, name, backends)
    except ValueError as error:
        return Finding("rounding", statement, "fails", str(error), False)
    worst = max(rows, key=lambda row: row["of_budget"])
    evidence = f"worst {worst['ulp']:.2g} ulp, {worst['quantity']} in {worst['dtype']} at t = {worst['t']:.4g}"
    status = "measured" if worst["of_budget"] <= 1 else "fails"
    kind = {"kind": "ulp", "backend": worst["backend"], "dtype": worst["dtype"]}
    witness = {**kind, "quantity": worst["quantity"], "time": worst["t"], "value": worst["ulp"]}
    return Finding("rounding", statement, status, evidence, False, witness, tuple(rows))


def _rows(schedule: Schedule, name: str, backends: tuple[str, ...]) -> list[dict[str, Any]]:
    exact = Exact(schedule.expressions[name], t, schedule.exact_domain)
    points = times(schedule, exact)
    truth = [exact.at(float(point)) for point in points]
    budget = 4.0 if name in ("alpha", "sigma") and not exact.expression.has(exp, sinh, cosh, tanh) else 16.0
    rows = []
    for backend in backends:
        for dtype in ("float64", "float32"):
            got = evaluate(schedule, name, points, backend, dtype)
            errors = ulp_errors(got, truth, floor=schedule.quantity(name).floor)
            ratio = errors / budget
            over = np.flatnonzero(ratio > 1)
            ratio[over] /= np.maximum(exact.allowance(points[over]), 1.0)
            worst = int(np.argmax(ratio))
            row = {"quantity": name, "backend": backend, "dtype": dtype, "ulp": float(errors[worst])}
            rows.append({**row, "t": float(points[worst]), "of_budget": float(ratio[worst]), "times": len(points)})
    return rows


def times(schedule: Schedule, exact: Exact) -> NDArray[np.float64]:
    """Return the times at which errors are measured."""
    rng = np.random.default_rng(20240116)
    lo, hi = schedule.domain
    if not exact.bounded:
        return exact.probes
    relative = rng.uniform(size=RANDOM_TIMES)
    early = 10.0 ** rng.uniform(-30, -1, RANDOM_TIMES)
    late = 1 - 10.0 ** rng.uniform(-7, -1, RANDOM_TIMES)
    points = (lo + (hi - lo) * np.concatenate([relative, early, late])).astype(np.float32).astype(np.float64)
    points = np.concatenate([exact.probes, points])
    return np.unique(points[(points > lo) & (points < hi)])


def evaluate(
    schedule: Schedule, name: str, points: NDArray[np.float64], backend: str, dtype: str
) -> NDArray[np.floating]:
    """Return a quantity as a user gets it, in a library and type, as a numpy array."""
    coefficient = schedule.quantity(name)
    if backend == "numpy":
        return np.asarray(coefficient(points.astype(dtype)))
    if backend != "torch":
        remedy = "leave the argument out for numpy"
        raise ValueError(explain(f"libraries out of {', '.join(BACKENDS)}", repr(backend), remedy))
    import torch

    result: NDArray[np.floating] = coefficient(torch.as_tensor(points.astype(dtype))).numpy()
    return result


def error_at(schedule: Schedule, name: str, time: float, backend: str, dtype: str) -> float:
    """Return the error of one quantity at one time, in ulp."""
    exact = Exact(schedule.expressions[name], t, schedule.exact_domain)
    got = evaluate(schedule, name, np.asarray([time]), backend, dtype)
    return float(ulp_errors(got, [exact.at(time)], floor=schedule.quantity(name).floor)[0])
