r"""What every conversion and every drift does at the two ends.

Each is :math:`A(t)x + B(t)p` with :math:`A = (bc - ad)/D`, :math:`B = (\alpha d - \sigma c)/D`,
:math:`D = \alpha b - \sigma a` (:mod:`interpolants.prediction`). α, σ and their derivatives are evaluated with 200
digits at three distances from each end, A and B follow as numbers, and their limits and orders are read off those.

*regular*: everything in the formula is finite and D is not 0 at the end. *removable*: something is infinite or D is 0,
and the limit is finite all the same. *pole*: infinite as the given power of the distance; order 0 is a logarithm.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import permutations
from typing import Any

import mpmath
import numpy as np
from mpmath import mpf
from sympy import Expr

from interpolants import diffusion as w
from interpolants.certify.certificate import Finding
from interpolants.measure import DIGITS, End, Exact, classify
from interpolants.prediction import PREDICTIONS
from interpolants.schedule import Schedule
from interpolants.symbols import t

__all__ = ["CHOICES", "endpoints", "summary"]

CHOICES = (w.KL(), w.Sigma(), w.SinSquared(), w.Constant(1), w.Ramp(), w.Decreasing(), w.Zero())
"""The choices of w whose drifts are classified; with Zero a drift is the probability flow."""

Row = tuple[mpf, mpf]


def endpoints(schedule: Schedule) -> Finding:
    """Return the finding with one row for each map, coefficient and end."""
    rows = tuple(_rows(schedule))
    count = {kind: sum(row["kind"] == kind for row in rows) for kind in ("regular", "removable", "pole")}
    evidence = ", ".join(f"{number} {kind}" for kind, number in count.items()) + ", from limits at 200 digits"
    statement = "ends of conversions and drifts classified"
    return Finding("endpoints", statement, "measured", evidence, False, None, rows)


def summary(rows: Sequence[dict[str, Any]]) -> str:
    """Return one line for each map, A and B at either end: a limit (~ where removable) or the order of a pole."""
    cells: dict[str, list[str]] = {}
    for row in rows:
        cells.setdefault(row["map"], []).append(_cell(row))
    wide = max(map(len, cells))
    times = list(dict.fromkeys(f"t = {row['t']:.4g}" for row in rows))
    lines = [f"{'':<{wide}}  " + "".join(f"{factor + ', ' + time:<16}" for time in times for factor in "AB").rstrip()]
    lines += [f"{name:<{wide}}  " + "".join(f"{cell:<16}" for cell in row).rstrip() for name, row in cells.items()]
    return "\n".join(lines)


def _cell(row: dict[str, Any]) -> str:
    if row["kind"] == "pole":
        sign = "-" if row["limit"] == "-inf" else "+"
        return f"pole {sign}{Fraction(row['order']).limit_denominator(12)}" if row["order"] else f"log {sign}"
    return f"{'~' if row['kind'] == 'removable' else ''}{row['limit']:.4g}"


def _rows(schedule: Schedule) -> Iterator[dict[str, Any]]:
    if not np.isfinite(schedule.domain).all():
        return
    for which in (0, 1):
        nearby = _Nearby(schedule, which)
        for source, to in permutations(PREDICTIONS, 2):
            wanted = [(given[to]) for given in nearby.predictions]
            yield from nearby.classify(f"{source} to {to}", source, wanted)
        for choice in CHOICES:
            variance = nearby.at(choice.expression(schedule))
            for sign, direction in ((1, "reverse"), (-1, "forward")):
                if choice.name == "Zero()" and sign < 0:
                    continue
                name = "probability flow" if choice.name == "Zero()" else f"{direction} SDE, {choice.name}"
                wanted = nearby.drift(variance, sign)
                for source in PREDICTIONS:
                    yield from nearby.classify(f"{name}, {source} model", source, wanted)


class _Nearby:
    """The numbers of a schedule at three distances from one end."""

    def __init__(self, schedule: Schedule, which: int):
        self.schedule, self.which = schedule, which
        self._exact = Exact(schedule.expressions["alpha"], t, schedule.exact_domain)
        names = ("alpha", "sigma", "d_alpha", "d_sigma")
        self.alpha, self.sigma, self.d_alpha, self.d_sigma = (self.at(schedule.expressions[name]) for name in names)
        with mpmath.workdps(DIGITS):
            self.predictions = [self._predictions(k) for k in range(3)]

    def at(self, expression: Expr) -> list[mpf]:
        exact = Exact(expression, t, self.schedule.exact_domain)
        return [exact.at(time) for time in self._exact.approach(self.which)]

    def _predictions(self, k: int) -> dict[str, Row]:
        return {
            "Velocity": (self.d_alpha[k], self.d_sigma[k]),
            "Score": (mpf(0), -1 / self.sigma[k]),
            "Noise": (mpf(0), mpf(1)),
            "Data": (mpf(1), mpf(0)),
            "VPrediction": (-self.sigma[k], self.alpha[k]),
        }

    def drift(self, variance: list[mpf], sign: int) -> list[Row]:
        with mpmath.workdps(DIGITS):
            parts = zip(self.d_alpha, self.d_sigma, self.sigma, variance)
            return [(d_alpha, d_sigma + sign * value / (2 * sigma)) for d_alpha, d_sigma, sigma, value in parts]

    def classify(self, label: str, source: str, wanted: list[Row]) -> Iterator[dict[str, Any]]:
        """Solve the 2×2 system at the three distances and classify its two coefficients."""
        first, second, parts = [], [], []
        with mpmath.workdps(DIGITS):
            for k, (c, d) in enumerate(wanted):
                a, b = self.predictions[k][source]
                determinant = _difference(self.alpha[k] * b, self.sigma[k] * a)
                if determinant == 0:
                    return  # the prediction is a multiple of x_t: the finding about conversions says so
                first.append(_difference(b * c, a * d) / determinant)
                second.append(_difference(self.alpha[k] * d, self.sigma[k] * c) / determinant)
                parts.append((a, b, c, d, 1 / determinant))
        time = self.schedule.domain[self.which]
        plain = all(np.isfinite(classify(time, *values).limit) for values in zip(*parts))
        for name, values in (("A", first), ("B", second)):
            yield {"map": label, "t": time, "factor": name, **_describe(classify(time, *values), plain)}


def _difference(x: mpf, y: mpf) -> mpf:
    """Return x − y, and exactly 0 where only the round-off of 200 digits is left."""
    result = x - y
    return mpf(0) if abs(result) < mpf(10) ** (50 - DIGITS) * (abs(x) + abs(y)) else result


def _describe(end: End, plain: bool) -> dict[str, Any]:
    if end.is_pole:
        return {"kind": "pole", "limit": "inf" if end.limit > 0 else "-inf", "order": abs(end.order)}
    return {"kind": "regular" if plain else "removable", "limit": end.limit, "order": 0.0}
