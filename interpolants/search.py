r"""The search for a form that floating point can evaluate.

The forms of :mod:`interpolants.rewriting` are measured one by one, in float64 and float32, against 200 digits. The
simplest that is within a few ulp everywhere wins. If there is none, the best form of each half of the domain is taken;
where even that loses digits next to an end (a removable singularity), a short polynomial in the distance to that end
takes over, fitted at 200 digits, up to where the measurement says that the formula has become good.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sympy import Expr, Integer, LessThan, Piecewise, StrictLessThan, Symbol, piecewise_fold, true
from sympy.polys.polyerrors import PolynomialError

from interpolants.budget import within
from interpolants.drafts import Draft, Piece
from interpolants.endpoints import fit
from interpolants.last_bit import NUDGED
from interpolants.measure import Domain, End, Exact, ulp_errors
from interpolants.printing import PREAMBLE
from interpolants.rewriting import effort, forms
from solvers.errors import explain

__all__ = ["BUDGET", "compile_body", "search"]

GOOD = 4.0
"""Within this many ulp, the simpler form is preferred to the more accurate one."""

BUDGET = 16.0
"""A probe beyond this many ulp counts as bad."""

IMPATIENCE, PATIENCE = 2.0, 30.0
"""The seconds in which forms are looked for, cheap ones and costly ones each: at first use, and before shipping."""

ROUNDS = 4
"""How often the times at which an audit found too large an error are added to the probes."""


def search(expression: Expr, symbol: Symbol, domain: Domain, floor: float, audit: int) -> tuple[Draft, float]:
    """Return the pieces and the worst error met at the probes and at ``audit`` random times (ulp)."""
    if expression.has(Piecewise):
        expression = piecewise_fold(expression)
        if isinstance(expression, Piecewise):  # a product of two may be the same in every branch
            return _branches(expression, symbol, domain, floor, audit)
    exact = Exact(expression, symbol, domain)
    if exact.is_zero:
        return _single(exact, Integer(0)), 0.0
    return _search(exact, floor, audit)


def compile_body(body: str, symbol: str, module: ModuleType, style: str) -> Callable[[Any], Any]:
    """Turn the text of a body into a function, with ``xp`` bound to ``module``."""
    namespace: dict[str, Any] = {"xp": module}
    text = "\n    ".join([f"def f({symbol}):", *body.splitlines()])
    exec(PREAMBLE[style] + "\n" + text, namespace)  # our own text, never a user's
    compiled: Callable[[Any], Any] = namespace["f"]
    return compiled


@dataclass
class _Trial:
    """A form and its error at every probe and at the two ends."""

    form: Expr
    errors: NDArray[np.float64]

    @cached_property
    def effort(self) -> int:
        """The cost of evaluation."""
        return effort(self.form)

    def cost(self, half: slice) -> tuple[int, int, bool, int, float]:
        """Fewest bad probes, then within budget, then simplest, then most accurate."""
        errors = np.minimum(self.errors[half], 1e30)
        worst = float(errors.max())
        magnitude = 0 if worst <= BUDGET else int(np.ceil(np.log10(worst / BUDGET)))
        return int((errors > BUDGET).sum()), magnitude, worst > GOOD, self.effort, worst


def _search(exact: Exact, floor: float, audit: int) -> tuple[Draft, float]:
    """Search until a seeded sample of ``audit`` other times is within budget too; what fails joins the probes."""
    patient = audit > 0
    best, error = _at_probes(exact, floor, patient)
    for seed in range(ROUNDS if audit else 0):
        points = exact.random_probes(audit, seed)
        errors = errors_at(best, exact, points, floor)
        error = max(error, float(errors.max(initial=0.0)))
        if error <= BUDGET or not (errors > BUDGET).any():
            break
        exact.refine(points[np.argsort(errors)[-16:]])
        best, error = _at_probes(exact, floor, patient)
    if np.isinf(error) and exact.bounded and not patient:  # better late than never
        best, error = _at_probes(exact, floor, True)
    if np.isinf(error) and exact.bounded:
        remedy = "simplify the expression, or write it without the singularity at the end of its domain"
        received = str(exact.expression)
        raise ValueError(explain("an expression that floating point can follow to its limits", received, remedy))
    return best, error


def _at_probes(exact: Exact, floor: float, patient: bool) -> tuple[Draft, float]:
    """Return the best form, or the best two and expansions at the ends; the impatient simplify only if they must."""
    trials: list[_Trial] = []
    found: list[tuple[Draft, float]] = []
    for thorough in (False, True):
        trials += _trials(exact, floor, thorough, PATIENCE if patient else IMPATIENCE)
        found += _drafts(exact, trials, floor, thorough or not patient)
        if min(error for _, error in found) <= BUDGET:
            break
    return next((pair for pair in found if pair[1] <= BUDGET), min(found, key=lambda pair: pair[1]))


def _drafts(exact: Exact, trials: list[_Trial], floor: float, split: bool) -> Iterator[tuple[Draft, float]]:
    middle = len(exact.probes) // 2 + 1
    everywhere, left, right = slice(None), slice(0, middle), slice(middle, None)
    whole = min(trials, key=lambda trial: trial.cost(everywhere))
    yield _single(exact, whole.form), float(whole.errors.max())
    if split and whole.errors.max() > BUDGET and exact.bounded:
        best_left = min(trials, key=lambda trial: trial.cost(left))
        best_right = min(trials, key=lambda trial: trial.cost(right))
        draft = _assemble(exact, best_left, best_right)
        yield draft, float(measure(draft, exact, floor).max())


def _branches(expression: Piecewise, symbol: Symbol, domain: Domain, floor: float, audit: int) -> tuple[Draft, float]:
    """Lower every branch of a Piecewise on its own interval; conditions are upper ends, in increasing order."""
    start, error = domain[0], 0.0
    pieces: list[Piece] = []
    points: tuple[tuple[float, float], ...] = ()
    for branch, condition in expression.args:
        stop = domain[1] if condition == true else condition.rhs
        upper_end = isinstance(condition, (LessThan, StrictLessThan)) and condition.lhs == symbol and stop.is_number
        if condition != true and not upper_end:
            remedy = "write Piecewise((first, t <= a), (second, t <= b), (last, True))"
            raise ValueError(explain("branches that end at numbers, in order", str(condition), remedy))
        part, part_error = search(branch, symbol, (start, stop), floor, audit)
        pieces += part.pieces
        error, start = max(error, part_error), stop
        points += tuple(point for point in part.points if point[0] in (float(domain[0]), float(domain[1])))
    return Draft(symbol, (float(domain[0]), float(domain[1])), tuple(pieces), points), error


def _single(exact: Exact, form: Expr) -> Draft:
    return _settled(exact, (Piece(exact.domain[1], form),))


def _settled(exact: Exact, pieces: tuple[Piece, ...]) -> Draft:
    """Join pieces, and state the limit at an end that no float equals, or where an infinity hangs on a last bit."""
    plain = Draft(exact.symbol, exact.domain, pieces)
    ends = [(end, exact.end_is_float(k)) for k, end in enumerate(exact.ends)]
    points = tuple((end.time, end.limit) for end, is_float in ends if not is_float or _by_luck(plain, end))
    return replace(plain, points=points)


def _by_luck(draft: Draft, end: End) -> bool:
    """Whether an infinite limit is met at an end on this processor only."""
    if not np.isinf(end.limit):
        return False
    functions = [compile_body(draft.array, str(draft.symbol), library, "array") for library in NUDGED]
    times = [np.asarray([end.time], dtype) for dtype in (np.float64, np.float32)]
    with np.errstate(all="ignore"):
        return any(bool(np.isfinite(function(time)).any()) for function in functions for time in times)


def _trials(exact: Exact, floor: float, thorough: bool, seconds: float) -> list[_Trial]:
    """Measure every form that turns up within the time budget, and at least the first."""
    measured = _measured(exact, floor, thorough)
    trials: list[_Trial] = []
    with suppress(TimeoutError, PolynomialError):  # sympy gives up on some numbers of hundreds of digits
        trials += islice(measured, 1)
        within(seconds, lambda: trials.extend(measured))
    if not (trials or thorough):
        trials.append(_Trial(exact.expression, measure(_single(exact, exact.expression), exact, floor)))
    return trials


def _measured(exact: Exact, floor: float, thorough: bool) -> Iterator[_Trial]:
    for form in forms(exact.expression, thorough=thorough):
        try:
            yield _Trial(form, measure(_single(exact, form), exact, floor))
        except (ValueError, NameError, AttributeError):
            continue  # a form with a function that has no numerical counterpart


def measure(draft: Draft, exact: Exact, floor: float) -> NDArray[np.float64]:
    """Return the worse of the float64 and float32 errors, in ulp, at [left end, probes…, right end]."""
    compiled = compile_body(draft.array, str(draft.symbol), np, "array")
    at_ends = np.zeros(len(exact.ends))
    with np.errstate(all="ignore"):
        for dtype in (np.float64, np.float32):
            errors = [_end_error(compiled(np.asarray([end.time], dtype))[0], end.limit) for end in exact.ends]
            at_ends = np.maximum(at_ends, errors)
    inner = errors_at(draft, exact, exact.probes, floor)
    return np.concatenate([at_ends[:1], inner, at_ends[1:]])


def errors_at(draft: Draft, exact: Exact, points: NDArray[np.float64], floor: float) -> NDArray[np.float64]:
    """Return the worse of the float64 and float32 errors, in ulp, at times inside the domain."""
    compiled = compile_body(draft.array, str(draft.symbol), np, "array")
    worst = np.zeros(len(points))
    values = exact.values(points)
    with np.errstate(all="ignore"):
        for dtype in (np.float64, np.float32):
            worst = np.maximum(worst, ulp_errors(compiled(points.astype(dtype)), values, floor=floor))
    doubtful = worst > GOOD
    worst[doubtful] = np.maximum(GOOD, worst[doubtful] / exact.allowance(points[doubtful]))
    return worst


def _end_error(got: np.floating, limit: float) -> float:
    if np.isinf(limit) or limit == 0:
        return 0.0 if got == limit else np.inf
    if not np.isfinite(got):
        return np.inf
    return abs(float(got) - limit) / float(np.spacing(got.dtype.type(abs(limit))))


def _assemble(exact: Exact, left: _Trial, right: _Trial) -> Draft:
    """Join the best form of each half, with a polynomial at an end where the form next to it is bad."""
    lo, hi = exact.domain
    middle = 0.5 * (lo + hi)
    probes = np.concatenate([[lo], exact.probes, [hi]])
    pieces: list[Piece] = []
    reach = [float(p) - lo for p, e in zip(probes, left.errors) if e > BUDGET and p <= middle]
    if reach and _expandable(exact, 0):
        width = min(max(4 * max(reach), 2.0**-26 * (hi - lo)), 0.25 * (hi - lo))
        expansion = fit(exact, 0, width)
        pieces += [Piece(lo + width, expansion)] if expansion else []
    if left.form != right.form:
        pieces.append(Piece(middle, left.form))
    reach = [hi - float(p) for p, e in zip(probes, right.errors) if e > BUDGET and p > middle]
    if reach and _expandable(exact, 1):
        width = min(max(4 * max(reach), 2.0**-20 * (hi - lo)), 0.25 * (hi - lo))
        expansion = fit(exact, 1, width)
        pieces += [Piece(hi - width, right.form), Piece(hi, expansion)] if expansion else []
    if not pieces or pieces[-1].stop < hi:
        pieces.append(Piece(hi, right.form))
    return _settled(exact, tuple(pieces))


def _expandable(exact: Exact, which: int) -> bool:
    """A finite limit or a power-law pole has a local expansion; a logarithm has none."""
    end = exact.ends[which]
    return not end.is_pole or end.order < 0
