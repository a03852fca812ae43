"""Whether a value hangs on the last bit of an elementary function, which differs between libraries and processors.

1 − log(1 + (e − 1)t) is exactly zero at t = 1 where the logarithm of the float nearest to e rounds to one, and 6e-8
where it does not. An infinite limit behind such a difference is infinite on one machine and −33 on the next.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

from interpolants.printing import FUNCTIONS

__all__ = ["NUDGED"]

EXACT = frozenset({0.0, 1.0})
"""Values such as exp(0) and log(1), which every library gives exactly where the argument is 0 or 1."""


def _nudged(name: str, towards: float) -> Any:
    function = getattr(np, name)

    def nudged(x: Any) -> Any:
        value = function(x)
        known = np.isin(x, tuple(EXACT)) & np.isin(value, tuple(EXACT))
        return np.where(known | ~np.isfinite(value), value, np.nextafter(value, np.asarray(towards, value.dtype)))

    return nudged


def _library(towards: float) -> Any:
    """Return numpy with every elementary function off by one unit in the last place."""
    functions = {name: _nudged(name, towards) for name in FUNCTIONS}
    return SimpleNamespace(**{**vars(np), **functions})


NUDGED = (_library(-np.inf), _library(np.inf))
"""numpy as two processors might have it, one rounding every elementary function down and the other up."""
