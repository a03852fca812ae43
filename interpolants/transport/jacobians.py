"""The steepest places of a velocity in several dimensions, by sampling and ascent."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from interpolants.path import Path
from interpolants.prior import generator_or_default
from interpolants.transport.clock import Clock, graded
from interpolants.transport.estimate import Estimate
from solvers.errors import PoleError

__all__ = ["sampled_slope"]

Floats = NDArray[np.float64]
Norms = Callable[[float, Floats], Floats]
"""(time, points (B, d)) → spectral norms (B,)."""

_TIMES, _ASCENT = 24, 60
FEW = 64
"""In more dimensions random steps lead nowhere, and the largest norm at the samples is taken."""


def sampled_slope(path: Path, n: int, rng: Any, groups: int, norms: Norms | None = None) -> Estimate:
    """Return the largest spectral norm of ∇v that points of the path and an ascent from the best of them meet.

    ``norms`` gives those of a model; without it they are of the exact velocity.
    """
    clock, generator = Clock(path.schedule), generator_or_default(rng)
    if norms is None and (clock.growth.poles or clock.noise.poles):
        return Estimate(math.inf, 0.0, n)
    lo, hi = path.schedule.domain
    times = [lo + (hi - lo) * float(fraction) for fraction in graded(_TIMES)[0]]
    if not path.schedule.quantity("d_alpha").poles:
        times = [lo, *times, hi]
    found = norms or (lambda time, x: _spectral(path.jacobian(time, x)))
    tops = np.array([_group(path, found, times, max(2, n // groups), generator) for _ in range(groups)])
    return Estimate(float(tops.max()), float(tops.std(ddof=1) / math.sqrt(groups)), max(2, n // groups) * groups)


def _group(path: Path, norms_of: Norms, times: list[float], size: int, rng: Any) -> float:
    best, time, place = 0.0, times[0], np.zeros((1, path.target.dimension))
    _, x_data, noise = path.sample_joint(times[-1], size, rng)
    parts = [part if isinstance(part, np.ndarray) else part.cpu().numpy() for part in (x_data, noise)]
    for at in times:
        x = float(path.schedule.alpha(at)) * parts[0] + float(path.schedule.sigma(at)) * parts[1]
        norms = _at(norms_of, at, x)
        k = int(norms.argmax())
        if norms[k] > best:
            best, time, place = float(norms[k]), at, x[k : k + 1]
    return best if path.target.dimension > FEW else _climb(path, norms_of, best, time, place)


def _climb(path: Path, norms_of: Norms, best: float, time: float, place: Floats) -> float:
    """Move the best point by random steps in place and time, whose size halves while nothing better is found."""
    lo, hi = path.schedule.domain
    step, rng = 0.3, np.random.default_rng(0)
    for _ in range(_ASCENT):
        spread = float(np.hypot(path.schedule.alpha(time), path.schedule.sigma(time)))
        trials = place + step * spread * rng.standard_normal((32, place.shape[1]))
        moments = [time, min(max(time + step * 0.1 * (hi - lo) * float(rng.standard_normal()), lo), hi)]
        found = [
            (float(norms.max()), at, int(norms.argmax())) for at in moments for norms in [_at(norms_of, at, trials)]
        ]
        top, at, k = max(found)
        if top > best:
            best, time, place = top, at, trials[k : k + 1]
        else:
            step /= 2
    return best


def _at(norms_of: Norms, time: float, x: Floats) -> Floats:
    try:
        return norms_of(time, x)
    except PoleError:  # an end at which the velocity is infinite
        return np.zeros(len(x))


def _spectral(jacobian: Floats) -> Floats:
    return np.asarray(np.linalg.norm(jacobian, 2, axis=(1, 2)))
