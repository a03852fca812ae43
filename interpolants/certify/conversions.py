r"""Conversions invert each other: from A to B and back is the identity.

The map from A to B, :func:`interpolants.combination.solve_row`, is a rational function of
:math:`\alpha, \sigma, \dot\alpha, \dot\sigma`. Composed with the map back it is reduced by sympy with these four as
independent symbols; that holds for every schedule, and is done once. What depends on the schedule is whether the
determinants of A and B, which are divided by, vanish inside the domain.
"""

from __future__ import annotations

from functools import cache
from itertools import product
from types import SimpleNamespace
from typing import Any

import numpy as np
import sympy
from sympy import Symbol

from interpolants.certify.certificate import Finding
from interpolants.certify.proofs import attempt
from interpolants.combination import solve_row
from interpolants.measure import Exact
from interpolants.prediction import PREDICTIONS, Prediction
from interpolants.schedule import Schedule
from interpolants.symbols import t

__all__ = ["conversions"]

NAMES = ("alpha", "sigma", "d_alpha", "d_sigma")


def conversions(schedule: Schedule, positive: dict[str, Finding]) -> Finding:
    """Return the finding about all 25 ordered pairs; ``positive`` are the findings about signs."""
    divisors = {name: _divisor(schedule, prediction, positive) for name, prediction in PREDICTIONS.items()}
    rows: list[dict[str, Any]] = []
    for source, to in product(PREDICTIONS, repeat=2):
        residual, reason = _residual(PREDICTIONS[source], PREDICTIONS[to])
        parts = [divisors[name] for name in dict.fromkeys((source, to))] if source != to else []
        bad = [part for part in parts if part[0] == "fails"]
        if residual != 0 or bad:
            status = "fails"
            why = bad[0][1] if bad else f"residual {residual}{reason}"
        else:
            status = "proved" if all(part[0] == "proved" for part in parts) else "measured"
            why = "; ".join(part[1] for part in parts) or "the same prediction"
        rows.append({"source": source, "to": to, "status": status, "residual": str(residual), "because": why})
    status = next(s for s in ("fails", "measured", "proved") if any(row["status"] == s for row in rows))
    first = next(row for row in rows if row["status"] == status)
    evidence = (
        f"A to B to A reduces to 0*x + 1*p for {sum(row['residual'] == '0' for row in rows)} of {len(rows)} pairs"
    )
    if status != "proved":
        evidence += f"; {first['source']} to {first['to']}: {first['because']}"
    return Finding("conversions", "conversions invert each other inside", status, evidence, True, None, tuple(rows))


@cache
def _residual(source: Prediction, to: Prediction) -> tuple[Any, str]:
    """Reduce |A| + |B − 1| of the round trip, with the schedule's functions as independent symbols."""
    functions = {name: Symbol(name, positive=True) for name in NAMES}
    symbols: Any = SimpleNamespace(expressions=functions, exact_domain=(sympy.Integer(0), sympy.Integer(1)))
    there = solve_row(symbols, to.row(symbols), source.row(symbols), "there")
    back = solve_row(symbols, source.row(symbols), to.row(symbols), "back")
    trip = (back.A + back.B * there.A, back.B * there.B - 1)
    parts, reason = attempt(lambda: [sympy.cancel(sympy.together(part)) for part in trip])
    if parts is None:
        return trip[0] ** 2 + trip[1] ** 2, f" ({reason})"
    return (sympy.Integer(0) if parts == [0, 0] else parts[0] ** 2 + parts[1] ** 2), ""


def _divisor(schedule: Schedule, prediction: Prediction, positive: dict[str, Finding]) -> tuple[str, str]:
    """Say whether the determinant α b − σ a of a prediction vanishes inside the domain, and why."""
    needs = {"Velocity": ("alpha", "sigma", "kappa"), "Score": ("alpha", "sigma"), "Noise": ("alpha",)}
    wanted = needs.get(prediction.name, ("sigma",) if prediction.name == "Data" else ("alpha",))
    text = {"Velocity": "W", "Score": "alpha/sigma", "Noise": "alpha", "Data": "sigma"}.get(
        prediction.name, "alpha**2 + sigma**2"
    )
    if all(positive[f"{name}_positive"].status == "proved" for name in wanted):
        return "proved", f"{text} > 0"
    (a, b), alpha, sigma = prediction.row(schedule), schedule.expressions["alpha"], schedule.expressions["sigma"]
    exact = Exact(alpha * b - sigma * a, t, schedule.exact_domain)
    times = np.linspace(*schedule.domain, 202)[1:-1]
    values = [float(exact.at(float(time))) for time in times]
    if exact.is_zero or min(values) <= 0 <= max(values):
        where = int(np.argmin(np.abs(values)))
        return "fails", f"{text} vanishes, {values[where]:.3g} at t = {times[where]:.4g}"
    least = int(np.argmin(np.abs(values)))
    return "measured", f"|{text}| >= {abs(values[least]):.3g} at t = {times[least]:.3g}, {len(times)} times"
