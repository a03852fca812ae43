"""The rules of :mod:`solvers.adaptive` for one sample, as numba compiles them: the same formulas, the same limits."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from solvers.adaptive.control import GROW, INTEGRAL, PROPORTIONAL, SAFETY, SHRINK
from solvers.adaptive.settings import Adaptive
from solvers.compiled.jit import inlined

STATUSES = ("running", "success", "max-steps", "min-step", "non-finite")
"""The names of the codes that a compiled solve gives, from the mildest to the worst."""

RUNNING, SUCCESS, MAX_STEPS, MIN_STEP, NON_FINITE = range(len(STATUSES))


class Limits(NamedTuple):
    """An :class:`~solvers.Adaptive` as the numbers that a compiled loop reads; no first step is NaN."""

    rtol: float
    atol: float
    min_step: float
    max_step: float
    first_step: float
    max_steps: int
    power: int


def limits(settings: Adaptive) -> Limits:
    """Return the numbers of the settings."""
    first = math.nan if settings.first_step is None else float(settings.first_step)
    lengths = (float(settings.min_step), float(settings.max_step), first)
    power = settings.method.tableau.error_order + 1
    return Limits(float(settings.rtol), float(settings.atol), *lengths, int(settings.max_steps), power)


@inlined
def factor(error: float, before: float, accepted: bool, after_refusal: bool, power: int) -> float:
    """Return by how much the step is to change: :func:`solvers.adaptive.control.factors`."""
    aim: float = SAFETY**power
    ratio = aim / max(error, 1e-12) if math.isfinite(error) else 0.0
    if not accepted:
        alone: float = ratio ** (1.0 / power)
        return max(alone, SHRINK)  # an error above 1 makes it less than 0.9
    steady: float = ratio ** ((INTEGRAL + PROPORTIONAL) / power) * (before / aim) ** (PROPORTIONAL / power)
    return min(max(steady, SHRINK), 1.0 if after_refusal else GROW)


@inlined
def end(t: float, stop: float, length: float, max_step: float) -> tuple[float, float]:
    """Return the length of the next step and its end; two equal steps where one would leave a sliver."""
    left = abs(stop - t)
    length = min(length, max_step)
    if length < left < 2.0 * length:
        length = 0.5 * left
    if length >= left:
        return left, stop
    return length, t + length if stop > t else t - length


@inlined
def verdict(
    start: float, stop: float, t: float, length: float, accepted: bool, finite: bool, tried: int, limit: Limits
) -> int:
    """Return why the sample ends with this step, or that it goes on; ``t`` is the time reached."""
    if accepted and t == stop:
        return SUCCESS
    # Where numbers are not finite the scale is that of the interval: towards a bad time at 0 t itself shrinks.
    scale = abs(t) if finite else max(abs(start), abs(stop))
    if not accepted and length < max(limit.min_step, 10.0 * np.spacing(scale)):
        return MIN_STEP if finite else NON_FINITE
    return MAX_STEPS if tried >= limit.max_steps else RUNNING


@inlined
def probe_length(size: float, speed: float, longest: float) -> float:
    """Return the length of the Euler step that looks at the second derivative, after Hairer."""
    if not math.isfinite(speed):
        return longest
    return min(1e-6 if size < 1e-5 or speed < 1e-5 else 0.01 * size / speed, longest)


@inlined
def first_length(probe: float, speed: float, bend: float, longest: float, limit: Limits) -> float:
    """Return the length of the first step: the larger of both derivatives makes an error of a hundredth."""
    largest = max(speed, bend / probe)
    if largest <= 1e-15:
        chosen = max(1e-6, 1e-3 * probe)
    else:
        chosen = (0.01 / largest) ** (1.0 / limit.power)
    chosen = min(100.0 * probe, chosen) if math.isfinite(bend) else probe
    return min(max(chosen, limit.min_step), longest)
