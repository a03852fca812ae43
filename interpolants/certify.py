r"""What is proved about a schedule, what is only measured, and what fails.

A proof is a sympy identity or a sign that sympy decides on the whole open interval. Where sympy does not decide within
its time budget, the property is measured at 200 digits on a dense set of times, and the certificate says so.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from types import FrameType
from typing import Any

import numpy as np
import sympy
from sympy import Expr, Function, Interval, S, Symbol, diff, exp, log

from interpolants.dynamics import drift_combination
from interpolants.measure import Exact
from interpolants.prediction import Velocity
from interpolants.rewriting import LARGEST_POWER, factored, forms
from interpolants.schedule import Schedule
from interpolants.symbols import t
from solvers.errors import explain

__all__ = ["Certificate", "Finding", "certify"]

BUDGET_SECONDS = 5.0
"""The time that sympy has for each proof."""


@dataclass(frozen=True)
class Finding:
    """One property: ``status`` is "proved", "measured" or "fails"; ``evidence`` says by what."""

    name: str
    statement: str
    status: str
    evidence: str
    required: bool = True


@dataclass(frozen=True)
class Certificate:
    """Everything that was found about one schedule."""

    schedule: dict[str, Any]
    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        """Whether no required property fails."""
        return all(finding.status != "fails" for finding in self.findings if finding.required)

    def __getitem__(self, name: str) -> Finding:
        for finding in self.findings:
            if finding.name == name:
                return finding
        raise KeyError(explain("a property", name, f"one of {', '.join(f.name for f in self.findings)}"))

    def to_dict(self) -> dict[str, Any]:
        """Return the certificate as JSON-ready data; the schedule in it rebuilds with ``Schedule.from_dict``."""
        return {"schedule": self.schedule, "ok": self.ok, "findings": [asdict(finding) for finding in self.findings]}

    def table(self) -> str:
        """Return the findings as an aligned text table."""
        rows = [
            (f.status if f.required or f.status != "fails" else "no", f.statement, f.evidence) for f in self.findings
        ]
        width = max(len(statement) for _, statement, _ in rows)
        head = f"{self.schedule['name']}: alpha = {self.schedule['alpha']}, sigma = {self.schedule['sigma']}"
        return "\n".join([head, *(f"  {status:<9} {statement:<{width}}  {why}" for status, statement, why in rows)])


def certify(schedule: Schedule) -> Certificate:
    r"""Prove or measure the properties on which the library relies.

    Boundary values; :math:`\alpha, \sigma > 0` and :math:`\kappa > 0` inside (equivalent to :math:`W > 0` and to a
    decreasing log-SNR); the continuity equation of :math:`v` and the Fokker–Planck equation of the reverse SDE with an
    *undefined* :math:`w(t)`, both for a Gaussian target with symbolic mean and variance; the floating-point error of
    the generated coefficients.

    References: Ma et al. (2024), arXiv 2401.08740, eq. 2–4; Albergo et al. (2023), arXiv 2303.08797, Theorem 2.6.
    """
    if not isinstance(schedule, Schedule):
        raise TypeError(explain("a Schedule", repr(schedule), "pass Linear() or Schedule(name, alpha, sigma)"))
    if (measured := schedule._certificate()) is not None:
        return measured
    findings = [*_boundaries(schedule), *_signs(schedule), *_equations(schedule), _rounding(schedule)]
    return Certificate(schedule.to_dict(), tuple(findings))


def _boundaries(schedule: Schedule) -> Iterator[Finding]:
    lo, hi = schedule.domain
    cases = [("alpha", 0, 1, True), ("sigma", 0, 0, True), ("alpha", 1, 0, False), ("sigma", 1, 1, False)]
    for what, which, wanted, required in cases:
        time = (lo, hi)[which]
        expression = schedule.expressions[what]
        limit = _attempt(partial(sympy.limit, expression, t, schedule.exact_domain[which], "+-"[which]))
        measured = Exact(expression, t, schedule.exact_domain).ends[which].limit
        if limit is not None and limit.is_number:
            status, evidence = ("proved" if sympy.simplify(limit - wanted) == 0 else "fails"), f"limit {limit}"
        else:
            status, evidence = ("measured" if abs(measured - wanted) < 1e-12 else "fails"), "200 digits"
        if status == "fails":
            evidence = f"{what}({time:g}) = {measured:.6g}"
        yield Finding(f"{what}_{which}", f"{what} = {wanted} at t = {time:g}", status, evidence, required)


def _signs(schedule: Schedule) -> Iterator[Finding]:
    for name, statement in (
        ("alpha", "alpha > 0 inside"),
        ("sigma", "sigma > 0 inside"),
        ("kappa", "kappa > 0 inside (W > 0, log-SNR decreasing)"),
    ):
        exact = Exact(schedule.expressions[name], t, schedule.exact_domain)
        times = [*np.linspace(*schedule.domain, 402)[1:-1], *exact.probes]
        values = [float(exact.at(float(time))) for time in times]
        worst = int(np.argmin(values))
        if not values[worst] > 0:
            yield Finding(f"{name}_positive", statement, "fails", f"{values[worst]:.4g} at t = {times[worst]:.4g}")
            continue
        proof = _prove_positive(schedule.expressions[name], schedule.exact_domain)
        status = "proved" if proof else "measured"
        evidence = proof or f"smallest value {values[worst]:.3g} at t = {times[worst]:.3g}, {len(times)} times"
        yield Finding(f"{name}_positive", statement, status, evidence)


def _prove_positive(expression: Expr, domain: tuple[Expr, Expr]) -> str | None:
    """Decide the sign on the open domain: by sympy's assumptions in z = (hi − t)/(t − lo) > 0, or by having no zero."""
    lo, hi = domain
    z = Symbol("z", positive=True)
    for form in sorted([expression, *forms(expression, thorough=False)], key=lambda form: form.count_ops()):
        plain = form.replace(Function("sinpi"), lambda x: sympy.sin(sympy.pi * x))
        plain = plain.replace(Function("cospi"), lambda x: sympy.cos(sympy.pi * x))
        moved = _attempt(partial(factored, plain.subs(t, (hi + lo * z) / (1 + z))))
        if moved is not None and moved.is_positive:
            return f"every factor of {form} is positive"
    x = Symbol("x", real=True)
    zeros = _attempt(lambda: sympy.solveset(expression.subs(t, x), x, Interval.open(lo, hi)))
    if zeros is S.EmptySet and expression.subs(t, (lo + hi) / 2).is_positive:
        return "no zero inside, positive in the middle"
    return None


def _equations(schedule: Schedule) -> Iterator[Finding]:
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
    yield _identity("continuity", "continuity equation of v, N(m, c)", continuity)
    sde = drift_combination(schedule, Velocity, w, "the reverse SDE")
    drift = sde.A * x + sde.B * velocity
    curvature = diff(score, x) + score**2
    fokker_planck = diff(log_p, t) + drift * score + diff(drift, x) + w * curvature / 2
    yield _identity("fokker_planck", "Fokker-Planck equation, any w(t)", fokker_planck)


def _identity(name: str, statement: str, residual: Expr) -> Finding:
    reduced = _attempt(lambda: _reduce(residual))
    if reduced == 0:
        return Finding(name, statement, "proved", "residual simplifies to 0")
    symbols = sorted(residual.free_symbols - {t}, key=str)
    unknown = sorted(residual.atoms(sympy.core.function.AppliedUndef), key=str)
    values = dict(zip([*symbols, *unknown], [sympy.Rational(k, 7) for k in (5, 3, 11, 4)]))
    worst = max(abs(sympy.N(residual.subs(values).subs(t, sympy.Rational(k, 19)), 60)) for k in range(1, 19))
    status = "measured" if worst < 1e-40 else "fails"
    return Finding(name, statement, status, f"largest residual {float(worst):.2g} at 60 digits, 18 times")


def _reduce(residual: Expr) -> Expr:
    """Write all exponentials as powers of one symbol, then clear denominators: the numerator must expand to zero."""
    names: dict[Expr, Expr] = {}
    for node in sorted(residual.atoms(exp), key=sympy.default_sort_key):
        first = next(iter(names), node)
        ratio = sympy.cancel(node.exp / first.exp)
        if ratio.is_Rational and max(abs(ratio.p), ratio.q) <= LARGEST_POWER:
            names[node] = (names[first] if names else Symbol("E", positive=True)) ** ratio
    numerator, _ = sympy.fraction(sympy.together(residual.xreplace(names)))
    expanded = sympy.expand(numerator)
    return expanded if expanded == 0 else sympy.simplify(expanded)


def _rounding(schedule: Schedule) -> Finding:
    statement = "coefficients within 16 ulp"
    try:
        errors = {name: schedule.quantity(name).lowered.error for name in schedule.expressions}
    except ValueError as error:
        return Finding("rounding", statement, "fails", str(error), False)
    worst = max(errors, key=lambda name: errors[name])
    status = "measured" if errors[worst] <= 16 else "fails"
    return Finding("rounding", statement, status, f"worst {errors[worst]:.2g} ulp, {worst}", False)


class _OutOfTimeError(Exception):
    pass


@contextmanager
def _budget(seconds: float) -> Iterator[None]:
    """Interrupt sympy after ``seconds`` (in the main thread, where the system can)."""
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "setitimer"):
        yield
        return

    def stop(number: int, frame: FrameType | None) -> None:
        raise _OutOfTimeError

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _attempt(proof: Callable[[], Any]) -> Any:
    """Return what sympy finds within its budget, or None."""
    try:
        with _budget(BUDGET_SECONDS):
            return proof()
    except (_OutOfTimeError, NotImplementedError, ValueError, TypeError, RecursionError):
        return None
