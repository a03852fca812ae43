r"""From a sympy expression to functions that are right to a few ulp.

What :mod:`interpolants.search` finds is plain text and numbers, a :class:`Lowered`. Those of the built-in schedules
ship in ``lowered.json``, so that no sympy work is done for them; ``python -m interpolants.shipping`` writes that file
anew, and tests measure its code again. For others the first use searches briefly, and ``certify`` thoroughly, which
stays on disk (:mod:`interpolants.disk`). Ends where the expression itself is infinite stay infinite: a host
number there is an error, an array gets ±inf, nothing gets NaN.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cache, lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any

from sympy import Expr, Symbol

from interpolants import disk
from interpolants.measure import Domain, End, Exact
from interpolants.search import compile_body, search

__all__ = ["Lowered", "lower", "perfect"]

TABLE = Path(__file__).with_name("lowered.json")

AUDIT = 360
"""The number of random times at which code is measured before it ships."""


@dataclass(frozen=True)
class Lowered:
    """A function of one symbol as text, with what was measured about it.

    Attributes:
        symbol: the name of its argument.
        domain: where it is defined.
        ends: limits at the two ends, none for an unbounded domain.
        error: the worst error at the probes, in units of the last place.
        forms: the last argument and the formula of each piece, for people.
        array: the body for arrays, with ``xp`` their library.
        scalar: the body for Python floats, with ``xp`` the module math.
    """

    symbol: str
    domain: tuple[float, float]
    ends: tuple[End, ...]
    error: float
    forms: tuple[tuple[float, str], ...]
    array: str
    scalar: str

    def function(self, module: ModuleType, style: str) -> Callable[[Any], Any]:
        """Compile the ``array`` or ``scalar`` body against a module."""
        return compile_body(getattr(self, style), self.symbol, module, style)

    def source(self, name: str, style: str) -> str:
        """Return the text of the function under a name."""
        return "\n    ".join([f"def {name}({self.symbol}):", *getattr(self, style).splitlines()])

    @staticmethod
    def from_dict(data: dict[str, Any]) -> Lowered:
        """Rebuild what ``asdict`` gave."""
        ends = tuple(End(**end) for end in data["ends"])
        forms = tuple((stop, form) for stop, form in data["forms"])
        return Lowered(**{**data, "domain": tuple(data["domain"]), "ends": ends, "forms": forms})


@lru_cache(maxsize=8192)
def lower(expression: Expr, symbol: Symbol, domain: Domain, floor: float = 0.0) -> Lowered:
    """Return accurate code for ``expression``; equal expressions on equal domains share the result.

    ``floor`` makes the error absolute below that magnitude (1 for a log-SNR, which crosses zero).
    """
    known = _known(key(expression, domain, floor))
    return fresh(expression, symbol, domain, floor) if known is None else known


def perfect(expression: Expr, symbol: Symbol, domain: Domain, floor: float = 0.0) -> Lowered:
    """Search with an audit what neither ships nor is on disk, and keep it: what :func:`lower` returns from now on."""
    name = key(expression, domain, floor)
    known = _known(name)
    if known is not None:
        return known
    found = fresh(expression, symbol, domain, floor, AUDIT)
    _shipped()[name] = asdict(found)
    disk.write(name, asdict(found))
    lower.cache_clear()
    return found


def _known(name: str) -> Lowered | None:
    """Return what ships under a key, or what an earlier :func:`perfect` left on disk."""
    found = _shipped().get(name) or disk.read(name)
    try:
        return None if found is None else Lowered.from_dict(found)
    except (KeyError, TypeError, ValueError):
        return None


def fresh(expression: Expr, symbol: Symbol, domain: Domain, floor: float, audit: int = 0) -> Lowered:
    """Search, whatever ships; ``audit`` other times are measured before it is believed."""
    draft, error = search(expression, symbol, domain, floor, audit)
    ends = Exact(expression, symbol, domain).ends
    return Lowered(str(symbol), draft.domain, ends, error, draft.forms, draft.array, draft.scalar)


def key(expression: Expr, domain: Domain, floor: float) -> str:
    """Return the name under which a lowered expression ships."""
    return f"{expression} on [{domain[0]}, {domain[1]}]" + (f" from {floor:g}" if floor else "")


@cache
def _shipped() -> dict[str, dict[str, Any]]:
    table: dict[str, dict[str, Any]] = json.loads(TABLE.read_text()) if TABLE.exists() else {}
    return table


def write_table(expressions: list[tuple[Expr, Symbol, Domain, float]]) -> None:
    """Search all of ``expressions`` and write the table that ships."""
    table = {
        key(e, domain, floor): asdict(fresh(e, symbol, domain, floor, AUDIT))
        for e, symbol, domain, floor in expressions
    }
    lines = [f"{json.dumps(name)}: {json.dumps(table[name])}" for name in sorted(table)]
    TABLE.write_text("{\n" + ",\n".join(lines) + "\n}\n")
