"""Which timesteps of a long chain a short one keeps."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, repeat
from typing import Any

import numpy as np
from numpy.typing import NDArray

from solvers.errors import explain

__all__ = ["spaced"]

Steps = int | str | Sequence[int]


def spaced(steps: Steps, count: int) -> NDArray[np.int64]:
    r"""Return the indices, of 0 … ``count`` − 1 and rising, that a shorter chain keeps.

    ===============  ==============================================================================================
    ``250``          :math:`\mathrm{round}\bigl(j\,\tfrac{T - 1}{249}\bigr)`, j = 0 … 249: the first, the last and
                     what lies evenly between; the first alone for ``1``
    ``"10,15,20"``   the chain in three equal sections, earlier ones one longer where they are not equal; 10 of the
                     first, 15 of the second and 20 of the third, each by the rule above
    ``"ddim50"``     0, s, 2s, … for the first stride s that leaves 50 of them; the last may be missed
    a sequence       these indices
    ===============  ==============================================================================================

    As in the published code the strides are added up in double precision before they are rounded, so that a half goes
    the way its sum was rounded: where networks were evaluated with these timesteps, they are the same ones here.

    Args:
        steps: one of these.
        count: T, the length of the chain.

    Raises:
        TypeError: something else.
        ValueError: more steps than a section has; no stride that leaves so many; indices out of range or order.

    References: Nichol & Dhariwal (2021), arXiv 2102.09672, §4, and its code; Song, Meng & Ermon (2021), arXiv
    2010.02502, appendix D.2.
    """
    if isinstance(steps, str) and steps.startswith("ddim"):
        return _strided(_whole(steps[4:], steps), count)
    if isinstance(steps, str):
        return _in_sections([_whole(part, steps) for part in steps.split(",")], count)
    if isinstance(steps, int) and not isinstance(steps, bool):
        return _in_sections([steps], count)
    return _given(steps, count)


def _in_sections(wanted: list[int], count: int) -> NDArray[np.int64]:
    size, longer = divmod(count, len(wanted))
    sizes = [size + (i < longer) for i in range(len(wanted))]
    kept: list[int] = []
    for start, length, number in zip(accumulate(sizes, initial=0), sizes, wanted):
        if not 1 <= number <= length:
            expected = f"from 1 to {length} steps of the {length} timesteps of a section"
            raise ValueError(explain(expected, repr(number), f"the chain has {count} timesteps: keep fewer of them"))
        stride = (length - 1) / max(number - 1, 1)
        kept += [start + round(place) for place in accumulate(repeat(stride, number - 1), initial=0.0)]
    return np.array(kept, dtype=np.int64)


def _strided(number: int, count: int) -> NDArray[np.int64]:
    for stride in range(1, count + 1):
        kept = range(0, count, stride)
        if len(kept) == number:
            return np.array(kept, dtype=np.int64)
    expected = f"a number of steps that a whole stride through {count} timesteps has"
    raise ValueError(explain(expected, repr(number), f"pass {number} without ddim, for strides that are not whole"))


def _given(steps: Any, count: int) -> NDArray[np.int64]:
    wanted = f"indices from 0 to {count - 1}, rising"
    try:
        kept = np.asarray(steps)
    except (TypeError, ValueError):
        kept = np.asarray(None)
    if kept.dtype.kind not in "iu" or kept.ndim != 1:
        remedy = 'pass a number of steps, sections "10,15,20", "ddim50", or whole indices'
        raise TypeError(explain(wanted, f"{type(steps).__name__} {steps!r:.60}", remedy))
    if not len(kept) or kept[0] < 0 or kept[-1] >= count or (np.diff(kept) <= 0).any():
        remedy = "sort them, each once; the indices are those of this chain, not of the one it was made of"
        raise ValueError(explain(wanted, f"{kept.tolist()!r:.60}", remedy))
    return kept.astype(np.int64)


def _whole(text: str, steps: str) -> int:
    if not text.strip().isdigit():
        raise ValueError(explain('steps such as 250, "10,15,20" or "ddim50"', repr(steps), "write whole numbers"))
    return int(text)
