"""Writes ``formulas.json`` and the pages of ``derivations``: what follows from α and σ of every built-in schedule.

``python docs/formulas.py`` takes many minutes, because sympy looks for short forms; the pages read the file. Names of
schedules after it write these alone.
"""

from __future__ import annotations

import json
import math
import sys
from contextlib import suppress
from itertools import permutations
from pathlib import Path
from typing import Any

import sympy
from sympy import Expr

import interpolants
from interpolants.budget import within
from interpolants.certify.ends import summary
from interpolants.latex import rows, shortest
from interpolants.prediction import PREDICTIONS, Velocity, conversion
from interpolants.schedule import Schedule
from interpolants.schedules import BUILT_IN, PAPER, by_name
from interpolants.symbols import t

WITHOUT_LATEX = tuple(name for name in BUILT_IN if name.startswith("ddpm"))
"""The exponents of the discrete models are polynomials of ten terms, which say nothing to the eye."""

VARIANCES = (0.01, 0.25, 4.0)
MEASURES = ("transport_cost", "path_length", "kinetic_gap", "lipschitz", "wasserstein2")

FOLDER = Path(__file__).parent
FILE = FOLDER / "formulas.json"

c = sympy.Symbol("c", positive=True)


def derivation(name: str) -> dict[str, Any]:
    """Return all that is known of one schedule: quantities, conversions, what it costs, and its certificate."""
    schedule = by_name(name)
    found: dict[str, Any] = {"measures": measures(schedule), **certificate(schedule)}
    return found if name in WITHOUT_LATEX else {**formulas(name), "transport": transport(schedule), **found}


def formulas(name: str) -> dict[str, Any]:
    """Return the quantities with their limits, and conversions: all for the paper's, elsewhere those of velocities."""
    schedule = by_name(name)
    pairs = [pair for pair in permutations(PREDICTIONS.values(), 2) if name in PAPER or Velocity in pair]
    parts = [(a.name, b.name, conversion(schedule, a, b)) for a, b in pairs]
    return {
        "quantities": [list(line) for line in rows(schedule)],
        "conversions": [[a, b, [sympy.latex(shortest(f)) for f in (both.A, both.B)]] for a, b, both in parts],
    }


def transport(schedule: Schedule) -> dict[str, str]:
    r"""Return :math:`\dot\rho^2` of N(0, c), and its integral and that of :math:`\dot\alpha^2` where sympy finds them.

    An integral is kept if it agrees with quadrature to 1e-8.
    """
    parts = schedule.expressions
    energy = (c * parts["alpha"] * parts["d_alpha"] + parts["sigma"] * parts["d_sigma"]) ** 2
    energy /= c * parts["alpha"] ** 2 + parts["sigma"] ** 2
    with suppress(TimeoutError):
        energy = within(4.0, lambda: sympy.cancel(energy))
    mean = shortest(parts["d_alpha"] ** 2)
    costs = {v: cost(schedule, [0.0], v) for v in VARIANCES}
    pull = cost(schedule, [1.0], 1.0) - cost(schedule, [0.0], 1.0)
    found = {"energy": sympy.latex(shortest(energy))}
    for key, integrand, wanted in (("integral", energy, costs), ("pull", mean, {1.0: pull})):
        if (integral := _integral(integrand, schedule, wanted)) is not None:
            found[key] = sympy.latex(integral)
    return found


def _integral(integrand: Expr, schedule: Schedule, wanted: dict[float, float]) -> Expr | None:
    lo, hi = schedule.exact_domain

    def found() -> tuple[Expr, dict[float, complex]]:
        integral = sympy.simplify(_without_inverse(sympy.integrate(integrand, (t, lo, hi))))
        return integral, {v: complex(integral.evalf(30, subs={c: sympy.Float(str(v), 40)})) for v in wanted}

    with suppress(TimeoutError, NotImplementedError, ValueError, TypeError):
        integral, values = within(4.0, found)
        near = all(abs(values[v] - wanted[v]) <= 1e-8 * max(1.0, abs(wanted[v])) for v in wanted)
        if near and not integral.has(sympy.Integral, sympy.I):
            return integral
    return None


def _without_inverse(found: Expr) -> Expr:
    """Write arctan(1/√c) as π/2 − arctan(√c), which sympy does not."""
    return found.subs(sympy.atan(1 / sympy.sqrt(c)), sympy.pi / 2 - sympy.atan(sympy.sqrt(c)))


def cost(schedule: Schedule, mean: list[float], variance: float) -> float:
    """Return the transport cost of N(m, c)."""
    return float(interpolants.transport_cost(interpolants.Path(schedule, interpolants.Gaussian(mean, variance))))


def measures(schedule: Schedule) -> list[list[float | None]]:
    """Return c and the five measures of N(0, c), for three c; None is infinity."""
    lines = []
    for variance in VARIANCES:
        path = interpolants.Path(schedule, interpolants.Gaussian([0.0], variance))
        values = [float(getattr(interpolants, measure)(path)) for measure in MEASURES]
        lines.append([variance, *(value if math.isfinite(value) else None for value in values)])
    return lines


def certificate(schedule: Schedule) -> dict[str, Any]:
    """Return the findings as the command line prints them, and what conversions and drifts do at both ends."""
    found = interpolants.certify(schedule)
    return {"certificate": found.table(), "ends": summary(found["endpoints"].details)}


def page(name: str) -> str:
    """Return the page of a schedule, whose content is drawn from the file."""
    constructor = BUILT_IN[name].__name__
    module = "interpolants" if constructor in interpolants.__all__ else "interpolants.schedules"
    text = f"{{class}}`{module}.{constructor}`, `{name}` on the command line, at its default parameters."
    return f"# {constructor}\n\n{text}\n\n```{{derivation}} {name}\n```\n"


def main(names: list[str]) -> None:
    """Write the file and the pages."""
    everything = json.loads(FILE.read_text()) if FILE.exists() else {}
    everything = {name: found for name, found in everything.items() if name in BUILT_IN}
    (FOLDER / "derivations").mkdir(exist_ok=True)
    for name in names or BUILT_IN:
        everything[name] = derivation(name)
        FILE.write_text(json.dumps(everything, indent=1, sort_keys=True, allow_nan=False) + "\n")
        (FOLDER / "derivations" / f"{name}.md").write_text(page(name))


if __name__ == "__main__":
    main(sys.argv[1:])
