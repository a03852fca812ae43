"""The steepest places of a velocity in several dimensions, by sampling and ascent."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from interpolants.path import Path
from interpolants.transport.clock import Clock, graded
from interpolants.transport.estimate import Estimate

__all__ = ["sampled_slope"]

Floats = NDArray[np.float64]

_TIMES, _ASCENT = 24, 60


def sampled_slope(path: Path, n: int, rng: Any, groups: int) -> Estimate:
    """Return the largest spectral norm of ∇v that points of the path and an ascent from the best of them meet."""
    clock, generator = Clock(path.schedule), np.random.default_rng(0) if rng is None else rng
    if clock.growth.poles or clock.noise.poles:
        return Estimate(math.inf, 0.0, n)
    lo, hi = path.schedule.domain
    times = [lo + (hi - lo) * float(fraction) for fraction in graded(_TIMES)[0]]
    if not path.schedule.quantity("d_alpha").poles:
        times = [lo, *times, hi]
    tops = np.array([_group(path, times, max(2, n // groups), generator) for _ in range(groups)])
    return Estimate(float(tops.max()), float(tops.std(ddof=1) / math.sqrt(groups)), max(2, n // groups) * groups)


def _group(path: Path, times: list[float], size: int, rng: Any) -> float:
    best, time, place = 0.0, times[0], np.zeros((1, path.target.dimension))
    _, x_data, noise = path.sample_joint(times[-1], size, rng)
    parts = [part if isinstance(part, np.ndarray) else part.cpu().numpy() for part in (x_data, noise)]
    for at in times:
        x = float(path.schedule.alpha(at)) * parts[0] + float(path.schedule.sigma(at)) * parts[1]
        norms = _norms(path, at, x)
        k = int(norms.argmax())
        if norms[k] > best:
            best, time, place = float(norms[k]), at, x[k : k + 1]
    return _climb(path, best, time, place, np.random.default_rng(0))


def _climb(path: Path, best: float, time: float, place: Floats, rng: np.random.Generator) -> float:
    """Move the best point by random steps in place and time, whose size halves while nothing better is found."""
    lo, hi = path.schedule.domain
    step = 0.3
    for _ in range(_ASCENT):
        spread = float(np.hypot(path.schedule.alpha(time), path.schedule.sigma(time)))
        trials = place + step * spread * rng.standard_normal((32, place.shape[1]))
        moments = [time, min(max(time + step * 0.1 * (hi - lo) * float(rng.standard_normal()), lo), hi)]
        found = [
            (float(norms.max()), at, int(norms.argmax())) for at in moments for norms in [_norms(path, at, trials)]
        ]
        top, at, k = max(found)
        if top > best:
            best, time, place = top, at, trials[k : k + 1]
        else:
            step /= 2
    return best


def _norms(path: Path, time: float, x: Floats) -> Floats:
    try:
        jacobian = path.jacobian(time, x)
    except ValueError:  # a pole at an end
        return np.zeros(len(x))
    return np.asarray(np.linalg.norm(jacobian, 2, axis=(1, 2)))
