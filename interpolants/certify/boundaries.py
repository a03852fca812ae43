"""Values at the ends, and signs inside."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np
import sympy
from sympy import Expr, Interval, S, Symbol

from interpolants.certify.certificate import Finding
from interpolants.certify.proofs import attempt
from interpolants.measure import Exact
from interpolants.naming import factored
from interpolants.rewriting import forms
from interpolants.schedule import Schedule
from interpolants.stable import plain
from interpolants.symbols import t

__all__ = ["boundaries", "signs"]


def boundaries(schedule: Schedule) -> Iterator[Finding]:
    """Find the limits of α and σ; only those at the data end are required."""
    lo, hi = schedule.domain
    cases = [("alpha", 0, 1, True), ("sigma", 0, 0, True), ("alpha", 1, 0, False), ("sigma", 1, 1, False)]
    for what, which, wanted, required in cases:
        time = (lo, hi)[which]
        expression = schedule.expressions[what]
        limit, reason = attempt(partial(sympy.limit, expression, t, schedule.exact_domain[which], "+-"[which]))
        measured = Exact(expression, t, schedule.exact_domain).ends[which].limit
        if limit is not None and limit.is_number:
            status, evidence = ("proved" if sympy.simplify(limit - wanted) == 0 else "fails"), f"limit {limit}"
        else:
            status, evidence = ("measured" if abs(measured - wanted) < 1e-12 else "fails"), f"200 digits ({reason})"
        witness = {"kind": "limit", "quantity": what, "time": time, "value": measured}
        if status == "fails":
            evidence = f"{what}({time:g}) = {measured:.6g}"
        yield Finding(f"{what}_{which}", f"{what} = {wanted} at t = {time:g}", status, evidence, required, witness)


def signs(schedule: Schedule) -> Iterator[Finding]:
    """Decide whether α, σ and κ are positive inside: evaluated at many times first, then proved where sympy can."""
    for name, statement in (
        ("alpha", "alpha > 0 inside"),
        ("sigma", "sigma > 0 inside"),
        ("kappa", "kappa > 0 inside (W > 0, log-SNR decreasing)"),
    ):
        exact = Exact(schedule.expressions[name], t, schedule.exact_domain)
        times = [*np.linspace(*schedule.domain, 402)[1:-1], *exact.probes]
        values = [float(exact.at(float(time))) for time in times]
        worst = int(np.argmin(values))
        witness = {"kind": "value", "quantity": name, "time": float(times[worst]), "value": values[worst]}
        if not values[worst] > 0:
            evidence = f"{values[worst]:.4g} at t = {times[worst]:.4g}"
            yield Finding(f"{name}_positive", statement, "fails", evidence, True, witness)
            continue
        proof, reason = _prove_positive(schedule.expressions[name], schedule.exact_domain)
        smallest = f"smallest value {values[worst]:.3g} at t = {times[worst]:.3g}, {len(times)} times ({reason})"
        status = "proved" if proof else "measured"
        yield Finding(f"{name}_positive", statement, status, proof or smallest, True, witness)


def _prove_positive(expression: Expr, domain: tuple[Expr, Expr]) -> tuple[str, str]:
    """Decide the sign on the open domain: by sympy's assumptions in z = (hi − t)/(t − lo) > 0, or by having no zero."""
    lo, hi = domain
    z = Symbol("z", positive=True)
    for form in sorted([expression, *forms(expression, thorough=False)], key=lambda form: form.count_ops()):
        moved, reason = attempt(partial(factored, plain(form).subs(t, (hi + lo * z) / (1 + z))))
        if moved is not None and moved.is_positive:
            return f"every factor of {form} is positive", ""
        if "no proof in" in reason:
            return "", reason  # the other forms are equal: sympy would hang on them too
    x = Symbol("x", real=True)
    zeros, reason = attempt(lambda: sympy.solveset(expression.subs(t, x), x, Interval.open(lo, hi)))
    if zeros is S.EmptySet and expression.subs(t, (lo + hi) / 2).is_positive:
        return "no zero inside, positive in the middle", ""
    return "", reason or "sympy cannot decide"
