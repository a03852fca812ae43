"""The transport equations of a schedule, for a Gaussian target and an undefined w."""

from __future__ import annotations

from collections.abc import Iterator

import sympy
from sympy import Expr, Function, Symbol, diff, log

from interpolants.certify.certificate import Finding
from interpolants.certify.proofs import attempt, reduce
from interpolants.dynamics import drift_combination
from interpolants.prediction import Velocity
from interpolants.schedule import Schedule
from interpolants.symbols import t

__all__ = ["equations"]


def equations(schedule: Schedule) -> Iterator[Finding]:
    """Check the transport equations for N(m, c) in one dimension, divided by the density."""
    x, m = Symbol("x", real=True), Symbol("m", real=True)
    c = Symbol("c", positive=True)
    w = Function("w", positive=True)(t)
    alpha, sigma, d_alpha, d_sigma = (schedule.expressions[k] for k in ("alpha", "sigma", "d_alpha", "d_sigma"))
    variance = alpha**2 * c + sigma**2
    log_p = -log(variance) / 2 - (x - alpha * m) ** 2 / (2 * variance)
    score = diff(log_p, x)
    velocity = d_alpha * m + (alpha * d_alpha * c + sigma * d_sigma) / variance * (x - alpha * m)
    continuity = diff(log_p, t) + velocity * score + diff(velocity, x)
    yield _identity(schedule, "continuity", "continuity equation of v, N(m, c)", continuity)
    sde = drift_combination(schedule, Velocity, w, "the reverse SDE")
    drift = sde.A * x + sde.B * velocity
    curvature = diff(score, x) + score**2
    fokker_planck = diff(log_p, t) + drift * score + diff(drift, x) + w * curvature / 2
    yield _identity(schedule, "fokker_planck", "Fokker-Planck equation, any w(t)", fokker_planck)


def _identity(schedule: Schedule, name: str, statement: str, residual: Expr) -> Finding:
    reduced, reason = attempt(lambda: reduce(residual))
    if reduced == 0:
        return Finding(name, statement, "proved", "residual simplifies to 0")
    symbols = sorted(residual.free_symbols - {t}, key=str)
    unknown = sorted(residual.atoms(sympy.core.function.AppliedUndef), key=str)
    values = dict(zip([*symbols, *unknown], [sympy.Rational(k, 7) for k in (5, 3, 11, 4)]))
    lo, hi = schedule.exact_domain
    numeric = residual.subs(values)
    times = [lo + (hi - lo) * sympy.Rational(k, 19) for k in range(1, 19)]
    sizes = [abs(sympy.N(numeric.subs(t, time), 60)) for time in times]
    worst = max(range(len(times)), key=lambda k: sizes[k])
    found = (
        f"largest residual {float(sizes[worst]):.2g} at t = {float(times[worst]):.3g}, 60 digits, {len(times)} times"
    )
    status = "measured" if sizes[worst] < 1e-40 else "fails"
    return Finding(name, statement, status, f"{found} ({reason})" if reason else found)
