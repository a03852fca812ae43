"""A schedule as a Python module of its own, to be pasted into another project: no import of this library."""

from __future__ import annotations

from typing import TYPE_CHECKING

from interpolants.printing import PREAMBLE
from solvers.errors import closest, explain

if TYPE_CHECKING:
    from interpolants.schedule import Schedule

__all__ = ["BACKENDS", "module_source"]

_IMPORTS = {
    "numpy": "import numpy as xp",
    "torch": "import torch as xp",
    "jax": "import jax.numpy as xp",
    "numba": "import math as xp\n\nfrom numba import njit",
}
BACKENDS = tuple(_IMPORTS)

_ARGUMENTS = {
    "numpy": "Each function takes a float array of times and returns one like it.",
    "torch": "Each function takes a floating tensor of times and returns one like it, on its device.",
    "jax": "Each function takes a float array of times and returns one like it; jit, grad and vmap work.",
    "numba": "Each function takes one time, a float, and is compiled without the interpreter.",
}


def module_source(schedule: Schedule, backend: str) -> str:
    """Return the text of a module with α, σ, their derivatives, the log-SNR, W, λ and κ of a schedule.

    Raises:
        ValueError: a backend that is not one of numpy, torch, jax and numba.
    """
    if backend not in _IMPORTS:
        expected = f"a backend, one of {', '.join(BACKENDS)}"
        raise ValueError(explain(expected, repr(backend), f"did you mean {closest(str(backend), BACKENDS)}?"))
    style = "scalar" if backend == "numba" else "array"
    decorator = '@njit(error_model="numpy")\n' if backend == "numba" else ""
    alpha, sigma = schedule.expressions["alpha"], schedule.expressions["sigma"]
    lo, hi = schedule.domain
    head = [
        f'"""Schedule {schedule.name}: alpha = {alpha}, sigma = {sigma}, for t in [{lo:g}, {hi:g}].',
        "",
        f"t = 0 is data. {_ARGUMENTS[backend]}",
        'Generated; the worst error of each function is in its comment, in units of the last place."""',
        "",
        _IMPORTS[backend],
        "",
    ]
    functions = []
    for name in schedule.expressions:
        lowered = schedule.quantity(name).lowered
        text = lowered.source("lambda_" if name == "lambda" else name, style)
        functions.append(f"\n# {lowered.error:.1f} ulp\n{decorator}{text}")
    body = "\n\n".join(functions) + "\n"
    needs_helpers = "_sinpi(" in body or "_cospi(" in body
    helpers = PREAMBLE[style].replace("\ndef ", f"\n\n{decorator}def ") if needs_helpers else ""
    return "\n".join(head) + helpers + "\n" + body
