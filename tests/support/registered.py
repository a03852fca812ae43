"""Every schedule that ships, as a case of the laws: the formulas of its paper, derivatives by mpmath.

Nothing here reads an expression of the library; the test of completeness compares the list with BUILT_IN.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial

import mpmath
from mpmath import mpf

from interpolants.schedules import BUILT_IN
from tests.support.papers import FAMILIES
from tests.support.zoo import CASES, Case

with mpmath.workdps(300):
    SPANS = {"trigflow": mpmath.pi / 2}
"""Where a domain is not [0, 1], its end."""


def slope(function: Callable[[mpf], mpf], span: mpf) -> Callable[[mpf], mpf]:
    """Return the derivative inside (0, span), by a fourth-order difference at three times the working precision."""

    def derivative(s: mpf) -> mpf:
        digits = mpmath.mp.dps
        with mpmath.workdps(3 * digits + 20):
            h = min(s, span - s) * mpf(10) ** (-digits // 2)
            near, far = function(s + h) - function(s - h), function(s + 2 * h) - function(s - 2 * h)
            return (8 * near - far) / (12 * h)

    return derivative


def registered(name: str, parameters: dict[str, float] | None = None) -> Case:
    """Return a family as a case, with its defaults or with parameters of one's own."""
    family, span = FAMILIES[name], SPANS.get(name, mpf(1))
    given = {**family.defaults, **(parameters or {})}
    with mpmath.workdps(300):
        span = mpf(repr(given["sigma_max"])) if name == "edm" else span
        alpha, sigma = family.formulas(**given)
    with mpmath.workdps(100):
        none = mpf(10) ** -40
        exact_end = abs(alpha(span)) < none
        exact_start = abs(sigma(mpf(0))) < none and abs(alpha(mpf(0)) - 1) < none
    return Case(
        name,
        cache(partial(BUILT_IN[name], **(parameters or {}))),
        alpha,
        sigma,
        slope(alpha, span),
        slope(sigma, span),
        ulp=16.0,
        exact_end=exact_end,
        exact_start=exact_start,
        span=float(span),
    )


REGISTERED = [registered(name) for name in FAMILIES]
ALL = [*REGISTERED, *(case for case in CASES if case.name not in FAMILIES)]
"""The schedules that ship, and the zoo's own."""

SLOW = {"ddpm-linear", "ddpm-scaled-linear", "ddpm-cosine", "exp-log", "vp-slow", "vp-constant", "foellmer"}
"""Those whose conversions do not ship: a first use of each takes up to a second, which the deep profile spends."""

EMBEDDED = {"ddpm-linear": 1e-20, "ddpm-scaled-linear": 1e-20}
"""Those that stand for a product over 1000 rates by a polynomial in its logarithm, and how close that is."""

KINKS = {"ddpm-cosine": 0.999}
"""Where the slope jumps: in float32 such a time and its neighbour are one."""
