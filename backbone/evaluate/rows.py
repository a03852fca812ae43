"""Arrays and tensors as finite rows."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from solvers.errors import explain

__all__ = ["expect_finite", "host", "rows_of"]


def host(values: ArrayLike) -> NDArray[Any]:
    """Return an array, also of a tensor on another device, with a gradient or in bfloat16, which numpy has not."""
    detach = getattr(values, "detach", None)
    if detach is None:
        return np.asarray(values)
    tensor = detach().cpu()
    return np.asarray(tensor.float() if tensor.element_size() == 2 else tensor)


def rows_of(name: str, values: ArrayLike, least: int) -> NDArray[np.float64]:
    """Return the values as (n, d) in float64; refuse fewer rows than ``least`` and values that are not finite."""
    array = host(values).astype(np.float64)
    if array.ndim < 1 or len(array) < least:
        raise ValueError(explain(f"{name} with at least {least} rows", f"shape {array.shape}", "give more samples"))
    expect_finite(name, array)
    return array.reshape(len(array), -1)


def expect_finite(name: str, array: NDArray[Any], first: int = 0) -> None:
    """Refuse NaN and infinity by the row where they begin, counted from ``first``."""
    finite = np.isfinite(array)
    if not finite.all():
        row = first + int(np.argmin(finite.reshape(len(array), -1).all(axis=1)))
        wrong = int(finite.size - np.count_nonzero(finite))
        remedy = "find where they arise first"
        raise ValueError(explain(f"finite {name}", f"{wrong} values that are not, from row {row} on", remedy))
