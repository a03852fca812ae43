r"""The same path told otherwise: another clock, another scale.

.. math::
   \text{warp: } \ \bar\alpha(t) = \alpha(\varphi(t)), \quad \bar\sigma(t) = \sigma(\varphi(t)), \quad
   \bar\kappa = \dot\varphi\,\kappa(\varphi); \qquad
   \text{rescale: } \ \bar\alpha = k\alpha, \quad \bar\sigma = k\sigma, \quad \bar\kappa = k^2\kappa

Both leave the pairs (x̂, ε̂) of a model as they are, and the log-SNR but for the clock. The functions return what the
constructor of :class:`~interpolants.Schedule` needs; its methods ``warp`` and ``rescale`` call them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import mpmath
import numpy as np
import sympy
from mpmath import mpf
from sympy import (
    Add,
    Expr,
    Mul,
    Piecewise,
    Pow,
    Rational,
    acos,
    acosh,
    asin,
    asinh,
    atan,
    atanh,
    cos,
    cosh,
    exp,
    log,
    piecewise_fold,
    sin,
    sinh,
    sqrt,
    tan,
    tanh,
    true,
)

from interpolants.measure import DIGITS, Domain, Exact
from interpolants.symbols import canonical, derivative, t
from solvers.errors import explain

if TYPE_CHECKING:
    from interpolants.schedule import Schedule

__all__ = ["branches", "inverse_of", "joined", "rescaled", "time_shift", "warped"]


def time_shift(shift: object) -> Expr:
    r"""Return :math:`\varphi(t) = s t/(1 + (s - 1) t)`, for :meth:`Schedule.warp <interpolants.Schedule.warp>`.

    With s > 1 more of the time is spent near the noise, as images of more pixels need: s = √(m/n) moves a schedule from
    n to m pixels. Shifts multiply, and 1/s undoes s.

    Args:
        shift: s > 0.

    Raises:
        ValueError: not a positive number.

    References: Esser et al. (2024), Scaling Rectified Flow Transformers, arXiv 2403.03206, eq. 23.
    """
    s = canonical(shift, "shift")
    if s.free_symbols or not s > 0:
        raise ValueError(explain("shift > 0", str(shift), "pass a positive number; 1 changes nothing"))
    return s * t / (1 + (s - 1) * t)


def warped(
    schedule: Schedule, phi: object, inverse: object, name: str | None, domain: Sequence[object] | None
) -> dict[str, Any]:
    """Return name, α∘φ, σ∘φ, domain and the inverse of the log-SNR, after checking that φ is a clock."""
    map_t = canonical(phi, "phi")
    new = schedule.exact_domain if domain is None else (canonical(domain[0], "domain"), canonical(domain[1], "domain"))
    _check_clock(map_t, new, schedule.exact_domain)
    back = inverse_of(map_t, new) if inverse is None else canonical(inverse, "inverse")
    if inverse is not None:
        _check_inverse(back, map_t, new)

    def moved(expression: Expr) -> Expr:
        pieces = [(_tidy(branch.xreplace({t: map_t})), stop) for branch, stop in branches(expression)]
        return joined(
            [(branch, stop if stop is None else _moved_time(stop, back, map_t, new)) for branch, stop in pieces]
        )

    closed = schedule.closed_inverse
    return {
        "name": name or f"{schedule.name}, warped",
        "alpha": moved(schedule.expressions["alpha"]),
        "sigma": moved(schedule.expressions["sigma"]),
        "domain": new,
        "time_of_log_snr": None if closed is None or back is None else back.xreplace({t: closed}),
    }


def rescaled(schedule: Schedule, k: object, name: str | None) -> dict[str, Any]:
    """Return name, kα, kσ, domain and the unchanged inverse of the log-SNR, after checking that 0 < k < ∞."""
    scale = canonical(k, "k")
    exact = Exact(scale, t, schedule.exact_domain)
    values = [exact.ends[0].limit, *(float(exact.at(float(p))) for p in exact.probes), exact.ends[1].limit]
    if not all(0 < value < np.inf for value in values):
        remedy = "choose k positive and finite at both ends too, or a schedule on a shorter domain"
        raise ValueError(
            explain("0 < k < inf on the whole domain", f"k = {scale}, from {min(values):g} to {max(values):g}", remedy)
        )

    def multiplied(expression: Expr) -> Expr:
        pieces = branches(scale * expression)
        return joined([(sympy.powsimp(branch, combine="exp"), stop) for branch, stop in pieces])

    return {
        "name": name or f"{schedule.name}, rescaled",
        "alpha": multiplied(schedule.expressions["alpha"]),
        "sigma": multiplied(schedule.expressions["sigma"]),
        "domain": schedule.exact_domain,
        "time_of_log_snr": schedule.closed_inverse,
    }


def branches(expression: Expr) -> list[tuple[Expr, Expr | None]]:
    """Return the formulas of a Piecewise with the times up to which they hold, None for the last."""
    folded = piecewise_fold(expression)
    if not isinstance(folded, Piecewise):
        return [(folded, None)]
    return [(branch, None if condition == true else condition.rhs) for branch, condition in folded.args]


def joined(pieces: Sequence[tuple[Expr, Expr | None]]) -> Expr:
    """Undo :func:`branches`."""
    return Piecewise(*((branch, True if stop is None else t <= stop) for branch, stop in pieces))


def inverse_of(phi: Expr, domain: Domain) -> Expr | None:
    """Return φ⁻¹ as an expression of t, where φ is a chain of invertible functions around a quadratic at most.

    None where it is not, or where no branch of the result undoes φ.
    """
    for candidate in _solutions(phi, t):
        if _undoes(candidate, phi, domain):
            return candidate
    return None


_UNDONE: dict[Any, Callable[[Expr], Expr]] = {sin: asin, cos: acos, tan: atan, sinh: asinh, cosh: acosh, tanh: atanh}
_UNDONE |= {exp: log, log: exp} | {arc: function for function, arc in _UNDONE.items()}


def _solutions(phi: Expr, value: Expr) -> list[Expr]:
    """Solve φ(t) = value, one function after the other from the outside."""
    if phi == t:
        return [value]
    if phi.is_rational_function(t):
        above, below = sympy.fraction(sympy.together(phi))
        unknown = sympy.Dummy("value")
        *high, c1, c0 = [c.xreplace({unknown: value}) for c in sympy.Poly(above - unknown * below, t).all_coeffs()]
        if len(high) > 1:
            return []
        # The root in the form without cancellation: exact where phi starts at zero.
        return [-2 * c0 / (c1 + sign * sqrt(c1**2 - 4 * high[0] * c0)) for sign in (1, -1)] if high else [-c0 / c1]
    if isinstance(phi, (Add, Mul)):
        constant, rest = phi.as_independent(t, as_Add=isinstance(phi, Add))
        if constant in (0, 1):
            return []
        return _solutions(rest, value - constant if isinstance(phi, Add) else value / constant)
    if isinstance(phi, Pow) and not phi.exp.has(t):
        return _solutions(phi.base, value ** (1 / phi.exp))
    if isinstance(phi, Pow) and not phi.base.has(t):
        return _solutions(phi.exp, log(value) / log(phi.base))
    undo = _UNDONE.get(phi.func)
    return [] if undo is None else _solutions(phi.args[0], undo(value))


def _undoes(candidate: Expr, phi: Expr, domain: Domain) -> bool:
    """Whether candidate(φ(t)) = t at nine times, at 200 digits."""
    lo, hi = (mpf(float(end)) for end in domain)
    there, back = Exact(phi, t, domain), Exact(candidate, t, domain)
    try:
        times = [lo + (hi - lo) * mpf(k) / 10 for k in range(1, 10)]
        return all(abs(back.at(there.at(time)) - time) < mpf(10) ** -40 for time in times)
    except (ValueError, ZeroDivisionError, TypeError):
        return False


def _check_inverse(inverse: Expr, phi: Expr, domain: Domain) -> None:
    if not _undoes(inverse, phi, domain):
        remedy = "leave it out: it is found where it is elementary, and else computed"
        raise ValueError(explain(f"the inverse of {phi}", str(inverse), remedy))


def _check_clock(phi: Expr, domain: Domain, onto: Domain) -> None:
    """Refuse a map that is not increasing from ``domain`` onto ``onto``."""
    if phi.has(Piecewise):
        raise ValueError(explain("a map of one formula", str(phi), "warp by smooth maps, one after the other"))
    for which in (0, 1):
        reached = sympy.limit(phi, t, domain[which], "+-"[which])
        distance = sympy.N(reached - onto[which], 50)
        if not (distance.is_number and abs(distance) < 1e-40):
            remedy = "choose phi with phi(first) and phi(last) the ends of the schedule's domain, or pass domain="
            raise ValueError(explain(f"phi = {onto[which]} at t = {domain[which]}", str(reached), remedy))
    rate = Exact(derivative(phi), t, domain)
    for time in [*np.linspace(*rate.domain, 131)[1:-1], *rate.probes]:
        value = float(rate.at(float(time)))
        if not value > 0:
            remedy = "choose phi strictly increasing between the ends"
            raise ValueError(explain("an increasing map", f"a rate of {value:.4g} at t = {time:.4g}", remedy))


def _moved_time(stop: Expr, inverse: Expr | None, phi: Expr, domain: Domain) -> Expr:
    """Return the time that φ takes to ``stop``: exact by the inverse, else a fraction of 60 digits by bisection."""
    if inverse is not None:
        return sympy.nsimplify(inverse.xreplace({t: stop})) if stop.is_Rational else inverse.xreplace({t: stop})
    there = Exact(phi, t, domain)
    with mpmath.workdps(DIGITS):
        low, high = (mpf(str(sympy.N(end, DIGITS))) for end in domain)
        wanted = mpf(str(sympy.N(stop, DIGITS)))
        for _ in range(200):
            middle = (low + high) / 2
            low, high = (middle, high) if there.at(middle) < wanted else (low, middle)
        return Rational(str(mpmath.nstr(high, 60)))


def _tidy(expression: Expr) -> Expr:
    """Cancel every rational part of an expression, where that makes it shorter."""
    if not expression.has(t) or expression.is_Atom:
        return expression
    if expression.is_rational_function(t):
        short = sympy.cancel(expression)
        short = sympy.expand(short) if short.is_polynomial(t) else short
        return min(expression, short, key=lambda form: form.count_ops())
    return expression.func(*map(_tidy, expression.args))
