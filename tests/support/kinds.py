"""Stochastic methods by the kind of problem they solve, one of each, for laws of any w."""

import solvers
from solvers import SDE, Denoising


def _takes_any_w(kind: type) -> bool:
    return bool(getattr(kind, "stochastic", False)) and getattr(kind, "reads_clock", True) is True


def _made(solves: type) -> list:
    found = []
    for name in solvers.__all__:
        kind = getattr(solvers, name)
        if hasattr(kind, "order") and getattr(kind, "solves", None) is solves and _takes_any_w(kind):
            found.append(kind())
    return found


SDE_KINDS = _made(SDE)
DENOISING_KINDS = _made(Denoising)
