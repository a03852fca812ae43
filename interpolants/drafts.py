"""Pieces of an expression, and the text of the function that they make together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from sympy import Expr, Symbol

from interpolants.endpoints import Polynomial
from interpolants.printing import statements

__all__ = ["Draft", "Piece"]


@dataclass(frozen=True)
class Piece:
    """One form, valid up to ``stop``: an expression, or a polynomial in the distance to an end."""

    stop: float
    form: Expr | Polynomial


@dataclass(frozen=True)
class Draft:
    """Pieces that cover the domain from left to right.

    ``points`` are ends that no float equals, such as π/2: the nearest float stands for them, and takes their limit.
    """

    symbol: Symbol
    domain: tuple[float, float]
    pieces: tuple[Piece, ...]
    points: tuple[tuple[float, float], ...] = ()

    @property
    def array(self) -> str:
        """The body of a function of an array, which finds its library under the name ``xp``."""
        return "\n".join(_array_body(self))

    @property
    def scalar(self) -> str:
        """The body of a function of a Python float, with ``xp`` the module math."""
        return "\n".join(_scalar_body(self))

    @property
    def forms(self) -> tuple[tuple[float, str], ...]:
        """The end and the formula of every piece, for people."""
        return tuple((piece.stop, str(piece.form)) for piece in self.pieces)


def _arithmetic(piece: Piece, symbol: Symbol, prefix: str) -> tuple[list[str], str]:
    if isinstance(piece.form, Polynomial):
        return piece.form.statements(str(symbol), prefix)
    return statements(piece.form, symbol, prefix)


def _scalar_body(draft: Draft) -> list[str]:
    lines: list[str] = []
    for time, value in draft.points:
        lines += [f"if {draft.symbol} == {time!r}:", f"    return {_literal(value)}"]
    for index, piece in enumerate(draft.pieces):
        assignments, result = _arithmetic(piece, draft.symbol, "x")
        last = index == len(draft.pieces) - 1
        indent = "" if last else "    "
        if not last:
            lines.append(f"if {draft.symbol} <= {piece.stop!r}:")
        lines += [indent + line for line in [*assignments, f"return {result}"]]
    return lines


def _array_body(draft: Draft) -> list[str]:
    """Each piece sees only times of its own interval, so no branch that is not taken can make a NaN."""
    pieces, lines, symbol = draft.pieces, [], str(draft.symbol)
    inside = _midpoint(*draft.domain)
    for index, (time, _) in enumerate(draft.points):
        lines.append(f"at{index} = {symbol} == {time!r}")
        lines.append(f"{symbol} = xp.where(at{index}, {inside!r}, {symbol})")
    start = draft.domain[0]
    for index, piece in enumerate(pieces):
        name = symbol
        if len(pieces) > 1:
            name = f"{symbol}{index}"
            above = [f"({symbol} > {start!r})"] if index else []
            below = [f"({symbol} <= {piece.stop!r})"] if index < len(pieces) - 1 else []
            lines.append(f"in{index} = {' & '.join(above + below)}")
            lines.append(f"{name} = xp.where(in{index}, {symbol}, {_midpoint(start, piece.stop)!r})")
        lines += _array_piece(piece, draft.symbol, name, index)
        start = piece.stop
    result = f"y{len(pieces) - 1}"
    for index in reversed(range(len(pieces) - 1)):
        result = f"xp.where(in{index}, y{index}, {result})"
    for index, (_, value) in enumerate(draft.points):
        result = f"xp.where(at{index}, {_literal(value)}, {result})"
    return [*lines, f"return {result}"]


def _array_piece(piece: Piece, symbol: Symbol, name: str, index: int) -> list[str]:
    local, form = Symbol(name, positive=True), piece.form
    if not isinstance(form, Polynomial):
        form = form.xreplace({symbol: local})
    assignments, result = _arithmetic(Piece(piece.stop, form), local, f"x{index}_")
    if _is_number(result):  # also where common sub-expressions cancelled
        result = f"xp.full_like({name}, {result})"
    return [*assignments, f"y{index} = {result}"]


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _literal(value: float) -> str:
    return repr(value) if np.isfinite(value) else ("xp.inf" if value > 0 else "-xp.inf")


def _midpoint(start: float, stop: float) -> float:
    return float(np.sqrt(start * stop)) if start > 0 else 0.5 * (start + stop)
