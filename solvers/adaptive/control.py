"""How long the next step is, from the errors of the last two; and how long the first one is."""

from __future__ import annotations

import numpy as np

from solvers.adaptive.lanes import Lanes, Mask, Numbers
from solvers.adaptive.settings import Adaptive
from solvers.adaptive.trial import Drift
from solvers.arrays import Array, detached

SAFETY = 0.9
SHRINK, GROW = 0.2, 10.0
INTEGRAL, PROPORTIONAL = 0.3, 0.4
# An error far below the tolerance says nothing about the next step: Hairer's floor for the memory of the controller.
REMEMBERED = 1e-4


def factors(error: Numbers, before: Numbers, accepted: Mask, after_refusal: Mask, power: float) -> Numbers:
    """Return by how much each lane's step is to change.

    Args:
        error: of the step just tried, in units of the tolerance; anything where it is not finite.
        before: that of the accepted step before it.
        accepted: whether the step was.
        after_refusal: whether the step tried before it was refused.
        power: the power of the step in the error.
    """
    # The error aimed at is that of a step 0.9 times as long as the tolerance allows. Tiny errors all ask for more than
    # the largest growth.
    aim = float(SAFETY**power)
    ratio = aim / np.where(np.isfinite(error), np.maximum(error, 1e-12), np.inf)
    steady = ratio ** ((INTEGRAL + PROPORTIONAL) / power) * (before / aim) ** (PROPORTIONAL / power)
    alone = ratio ** (1.0 / power)
    largest = np.where(accepted & ~after_refusal, GROW, 1.0)
    return np.minimum(np.maximum(np.where(accepted, steady, alone), SHRINK), largest)


def first_lengths(
    settings: Adaptive, lanes: Lanes, drift: Drift, t: Numbers, x: Array, slope: Array, span: float, sign: float
) -> Numbers:
    """Return the length of the first step of each lane, by Hairer's rule and with one evaluation.

    An Euler step changes the state by about a hundredth of its size; the change of the slope over it stands for the
    second derivative, and the step is chosen so that the larger of both, to the power of the error, is a hundredth.

    References: Hairer, Nørsett & Wanner, Solving Ordinary Differential Equations I (1993), II.4, algorithm 4.14.
    """
    longest = min(span, settings.max_step)
    if settings.first_step is not None:
        return np.full(t.size, min(settings.first_step, longest))
    plain = detached(x)
    scale = settings.atol + settings.rtol * abs(plain)
    size, speed = lanes.norms([plain / scale, detached(slope) / scale])
    small = (size < 1e-5) | (speed < 1e-5)
    probe = np.where(small, 1e-6, 0.01 * size / np.where(small, 1.0, speed))
    # A slope that is not finite has no good length: the steps shrink from the longest until they are given up.
    probe = np.where(np.isfinite(speed), np.minimum(probe, longest), longest)
    moved = plain + lanes.factor(sign * probe, plain) * detached(slope)
    (bend,) = lanes.norms([(detached(drift(lanes.time(t + sign * probe, moved), moved)) - detached(slope)) / scale])
    largest = np.maximum(speed, bend / probe)
    flat = largest <= 1e-15
    power = settings.method.tableau.error_order + 1
    chosen = (0.01 / np.where(flat, 1.0, largest)) ** (1.0 / power)
    chosen = np.where(flat, np.maximum(1e-6, 1e-3 * probe), chosen)
    # A probe that overflowed says that steps must be short.
    chosen = np.where(np.isfinite(bend), np.minimum(100.0 * probe, chosen), probe)
    return np.minimum(np.maximum(chosen, settings.min_step), longest)
