r"""From a sympy expression to functions that are right to a few ulp.

:func:`lower` tries the forms of :mod:`interpolants.rewriting` on each half of the domain, measures every one in
float64 and float32 against 80 digits, and keeps the best. Where even the best loses digits next to an end (a
removable singularity), a short polynomial in the distance to that end takes over, fitted at 80 digits; the switch
point is where the measurement says that the formula has become good. Ends where the expression itself is infinite
stay infinite: a host number there is an error, an array gets ±inf, nothing gets NaN.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sympy import Expr, Symbol

from interpolants.endpoints import Polynomial, fit
from interpolants.measure import Domain, Exact, ulp_errors
from interpolants.printing import PREAMBLE, statements
from interpolants.rewriting import forms
from solvers.errors import explain

__all__ = ["Lowered", "Piece", "function", "lower"]

GOOD = 4.0
"""A form within this many ulp ends the search."""

BUDGET = 16.0
"""A probe beyond this many ulp counts as bad."""


@dataclass(frozen=True)
class Piece:
    """One form, valid up to ``stop``: an expression, or a polynomial in the distance to an end."""

    stop: float
    form: Expr | Polynomial


@dataclass(frozen=True)
class Lowered:
    """Pieces that cover the domain from left to right, with the worst error met at the probes (ulp)."""

    symbol: Symbol
    domain: Domain
    pieces: tuple[Piece, ...]
    error: float

    def source(self, name: str, style: str) -> str:
        """Return the text of a function of one argument; ``style`` is ``array`` or ``scalar``."""
        body = _array_body(self) if style == "array" else _scalar_body(self)
        return "\n    ".join([f"def {name}({self.symbol}):", *body])


def _arithmetic(piece: Piece, symbol: Symbol, prefix: str) -> tuple[list[str], str]:
    if isinstance(piece.form, Polynomial):
        return piece.form.statements(str(symbol), prefix)
    return statements(piece.form, symbol, prefix)


def _scalar_body(lowered: Lowered) -> list[str]:
    lines: list[str] = []
    for index, piece in enumerate(lowered.pieces):
        assignments, result = _arithmetic(piece, lowered.symbol, "x")
        last = index == len(lowered.pieces) - 1
        indent = "" if last else "    "
        if not last:
            lines.append(f"if {lowered.symbol} <= {piece.stop!r}:")
        lines += [indent + line for line in [*assignments, f"return {result}"]]
    return lines


def _array_body(lowered: Lowered) -> list[str]:
    """Each piece sees only times of its own interval, so no branch that is not taken can make a NaN."""
    symbol, pieces = str(lowered.symbol), lowered.pieces
    lines: list[str] = []
    start = lowered.domain[0]
    for index, piece in enumerate(pieces):
        name = symbol
        if len(pieces) > 1:
            name = f"{symbol}{index}"
            inside = " & ".join(
                ([f"({symbol} > {start!r})"] if index else [])
                + ([f"({symbol} <= {piece.stop!r})"] if index < len(pieces) - 1 else [])
            )
            lines += [
                f"in{index} = {inside}",
                f"{name} = xp.where(in{index}, {symbol}, {_midpoint(start, piece.stop)!r})",
            ]
        local = Lowered(Symbol(name, positive=True), lowered.domain, (), 0.0)
        form = piece.form if isinstance(piece.form, Polynomial) else piece.form.xreplace({lowered.symbol: local.symbol})
        assignments, result = _arithmetic(Piece(piece.stop, form), local.symbol, f"x{index}_")
        if not isinstance(form, Polynomial) and not form.free_symbols:
            result = f"xp.full_like({name}, {result})"
        lines += [*assignments, f"y{index} = {result}" if len(pieces) > 1 else f"return {result}"]
        start = piece.stop
    if len(pieces) > 1:
        nested = f"y{len(pieces) - 1}"
        for index in reversed(range(len(pieces) - 1)):
            nested = f"xp.where(in{index}, y{index}, {nested})"
        lines.append(f"return {nested}")
    return lines


def _midpoint(start: float, stop: float) -> float:
    return float(np.sqrt(start * stop)) if start > 0 else 0.5 * (start + stop)


def function(lowered: Lowered, module: Any, style: str) -> Callable[[Any], Any]:
    """Compile the text of ``lowered`` with ``xp`` bound to ``module``."""
    namespace: dict[str, Any] = {"xp": module}
    exec(PREAMBLE[style] + "\n" + lowered.source("f", style), namespace)  # our own text, never a user's
    compiled: Callable[[Any], Any] = namespace["f"]
    return compiled


@dataclass
class _Trial:
    """A form and its error at every probe and at the two ends."""

    form: Expr
    errors: NDArray[np.float64]

    def cost(self, half: slice) -> tuple[int, int, bool, int, float]:
        """Fewest bad probes, then within budget, then simplest, then most accurate."""
        errors = np.minimum(self.errors[half], 1e30)
        worst = float(errors.max())
        magnitude = 0 if worst <= BUDGET else int(np.ceil(np.log10(worst / BUDGET)))
        return int((errors > BUDGET).sum()), magnitude, worst > GOOD, int(self.form.count_ops()), worst


@lru_cache(maxsize=4096)
def lower(expression: Expr, symbol: Symbol, domain: Domain, floor: float = 0.0) -> Lowered:
    """Find the pieces; equal expressions on equal domains share the result.

    ``floor`` makes the error absolute below that magnitude (1 for a log-SNR, which crosses zero).
    """
    exact = Exact(expression, symbol, domain)
    middle = len(exact.probes) // 2 + 1
    everywhere, left, right = slice(None), slice(0, middle), slice(middle, None)
    trials: list[_Trial] = []
    for thorough in (False, True):
        trials += _trials(exact, floor, thorough)
        whole = min(trials, key=lambda trial: trial.cost(everywhere))
        if whole.errors.max() <= BUDGET:
            break
    best = Lowered(symbol, domain, (Piece(domain[1], whole.form),), float(whole.errors.max()))
    if best.error > BUDGET and exact.bounded:
        best_left = min(trials, key=lambda trial: trial.cost(left))
        best_right = min(trials, key=lambda trial: trial.cost(right))
        split = _assemble(exact, best_left, best_right, floor)
        best = split if split.error < best.error / 2 else best
    if np.isinf(best.error) and exact.bounded:
        remedy = "simplify the expression, or write it without the singularity at the end of its domain"
        raise ValueError(explain("an expression that floating point can follow to its limits", str(expression), remedy))
    return best


def _trials(exact: Exact, floor: float, thorough: bool) -> Iterator[_Trial]:
    for form in forms(exact.expression, thorough=thorough):
        lowered = Lowered(exact.symbol, exact.domain, (Piece(exact.domain[1], form),), 0.0)
        try:
            yield _Trial(form, measure(lowered, exact, floor))
        except (ValueError, NameError, AttributeError):
            continue  # a form with a function that has no numerical counterpart


def measure(lowered: Lowered, exact: Exact, floor: float = 0.0) -> NDArray[np.float64]:
    """Return the worse of the float64 and float32 errors, in ulp, at [left end, probes…, right end]."""
    compiled = function(lowered, np, "array")
    worst = np.zeros(len(exact.probes) + len(exact.ends))
    with np.errstate(all="ignore"):
        for dtype in (np.float64, np.float32):
            inner = ulp_errors(compiled(exact.probes.astype(dtype)), exact.values, floor=floor)
            at_ends = [_end_error(compiled(np.asarray([end.time], dtype))[0], end.limit) for end in exact.ends]
            errors = np.concatenate([at_ends[:1], inner, at_ends[1:]])
            worst = np.maximum(worst, errors)
    return worst


def _end_error(got: np.floating, limit: float) -> float:
    if np.isinf(limit) or limit == 0:
        return 0.0 if got == limit else np.inf
    if not np.isfinite(got):
        return np.inf
    return abs(float(got) - limit) / float(np.spacing(got.dtype.type(abs(limit))))


def _assemble(exact: Exact, left: _Trial, right: _Trial, floor: float) -> Lowered:
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
    lowered = Lowered(exact.symbol, exact.domain, tuple(pieces), 0.0)
    return Lowered(exact.symbol, exact.domain, tuple(pieces), float(measure(lowered, exact, floor).max()))


def _expandable(exact: Exact, which: int) -> bool:
    """A finite limit or a power-law pole has a local expansion; a logarithm has none."""
    end = exact.ends[which]
    return not end.is_pole or end.order < 0
