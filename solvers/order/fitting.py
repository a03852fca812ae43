r"""The order in a row of errors, with what rounding and coarse steps have spoilt left out.

Errors are norms, never signed sums: those can cancel, and then show orders that do not exist.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

_FLAT = 0.35
_SINGLE = 2.4e-7
_CLEAR = (30.0, 10.0, 4.0)
_SPREAD, _SHARE = 0.2, 0.06
_FEWEST, _MOST = 4, 5


@dataclass(frozen=True)
class Fit:
    r"""What a row of errors says: :math:`\mathrm{error} \approx \mathrm{constant}\cdot n^{-p}`.

    Args:
        order: the slope of log error against log n over the levels that count; NaN where there are not two.
        constant: error · :math:`n^p` at the finest of them, with p the slope rounded to halves.
        steps: numbers of steps, all of them.
        errors: the error of each.
        used: the numbers of steps that count.
        floor: where rounding stopped the errors; None where it did not.
        settled: whether the slopes of at least three halvings agree.
    """

    order: float
    constant: float
    steps: tuple[int, ...]
    errors: tuple[float, ...]
    used: tuple[int, ...]
    floor: float | None
    settled: bool


def fit(steps: Sequence[int], errors: Sequence[float], unit: float) -> Fit:
    r"""Fit the order to errors at doubled numbers of steps.

    Rounding: from the first level on at which the slope leaves the one before by 0.35 while the error is below
    :math:`16\sqrt n` units, or the error is below 4 units, errors are round-off; their median is the floor. So are
    errors that no longer fall and are that small in units of single precision, which some samplers use inside. Levels
    whose error is not well above a floor are left out as well. Coarse steps: of what remains, the finest levels whose
    slopes lie within 0.2 (above order 3, within 6 per cent) of each other count, five of them at most. Where fewer than
    four agree, the finest three count, and ``settled`` is False.

    Args:
        steps: numbers of steps, rising.
        errors: norms of the error, not negative; NaN or infinity where the sampler had no finite answer.
        unit: the rounding unit of the state's dtype times its size.
    """
    pairs = [(n, e) for n, e in zip(steps, errors, strict=True) if math.isfinite(e)]
    kept, floor = _above_floor(pairs, unit)
    row, settled = _settled(kept)
    if len(row) < 2:
        return Fit(math.nan, math.nan, tuple(steps), tuple(errors), tuple(n for n, _ in row), floor, False)
    counts, sizes = (np.log([pair[k] for pair in row]) for k in (0, 1))
    order = -float(np.polyfit(counts, sizes, 1)[0])
    n, error = row[-1]
    constant = error * float(n) ** (0.5 * round(2.0 * order))
    return Fit(order, constant, tuple(steps), tuple(errors), tuple(n for n, _ in row), floor, settled)


def _slope(first: tuple[int, float], second: tuple[int, float]) -> float:
    return math.log(first[1] / second[1]) / math.log(second[0] / first[0])


def _above_floor(pairs: list[tuple[int, float]], unit: float) -> tuple[list[tuple[int, float]], float | None]:
    """Return the levels above the floor of rounding, and the floor."""
    end = len(pairs)
    for k, (n, error) in enumerate(pairs):
        if error <= 4.0 * unit:
            end = k
            break
        if k >= 2 and error < 16.0 * math.sqrt(n) * unit:
            before, now = (_slope(*pairs[j - 1 : j + 1]) for j in (k - 1, k))
            if abs(now - before) > _FLAT:
                end = k
                break
        if k and error < 16.0 * math.sqrt(n) * max(unit, _SINGLE) and _slope(*pairs[k - 1 : k + 1]) < _FLAT:
            end = k
            break
    if end == len(pairs):
        return pairs, None
    floor = float(np.median([error for _, error in pairs[end:]]))
    for clear in _CLEAR:
        kept = [pair for pair in pairs[:end] if pair[1] > clear * max(floor, unit)]
        if len(kept) >= _FEWEST:
            return kept, floor
    return pairs[:end], floor


def _settled(pairs: list[tuple[int, float]]) -> tuple[list[tuple[int, float]], bool]:
    """Return the finest levels whose slopes agree, and whether they are enough."""
    slopes = [_slope(*pairs[k : k + 2]) for k in range(len(pairs) - 1)][-(_MOST - 1) :]
    spread = max(_SPREAD, _SHARE * slopes[-1]) if slopes else _SPREAD
    count = len(slopes)
    while count and max(slopes[-count:]) - min(slopes[-count:]) > spread:
        count -= 1
    if count + 1 >= _FEWEST:
        return pairs[-count - 1 :], True
    return pairs[-3:], False
