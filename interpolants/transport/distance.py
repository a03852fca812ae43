r"""W₂ between the two end marginals of a path."""

from __future__ import annotations

from typing import Any

import numpy as np

from interpolants.path import Path
from interpolants.prior import generator_or_default
from interpolants.targets import Gaussian
from interpolants.transport import gaussian
from interpolants.transport.estimate import Estimate, Moments
from interpolants.transport.line import line_of
from interpolants.transport.quantiles import line_wasserstein
from interpolants.transport.sampled import check_arguments, coupled
from interpolants.transport.samples import root_of, sample_wasserstein2
from solvers.errors import explain

__all__ = ["GROUPS", "squared", "wasserstein2"]

GROUPS = 8


def wasserstein2(path: Path, *, n: int = 4096, rng: Any = None) -> float | Estimate:
    r"""Return the Wasserstein distance :math:`W_2` (not squared) between the two end marginals of the path.

    Args:
        path: a schedule and a target.
        n: where there is sampling: how many points, at least 16, in eight groups.
        rng: a numpy or torch generator; ``numpy.random.default_rng(0)`` when absent.

    Returns:
        A float for Gaussian targets and, through the quantile functions, in one dimension. Otherwise an
        :class:`Estimate`: the exact distance between n/8 points of the noise end and the points to which the flow takes
        them. On average its square lies between :math:`W_2^2` and :math:`\mathbb E|X_1 - X_0|^2`, since W₂² is convex
        and the flow is one of the plans; the excess over W₂ falls with n and is not in the standard error.
    """
    check_arguments(path, None, n, 1)
    if isinstance(path.target, Gaussian):
        return gaussian.wasserstein(path)
    line = line_of(path)
    return line_wasserstein(line) if line is not None else root_of(_sampled(path, n, rng))


def squared(path: Path, n: int, rng: Any) -> float | Estimate:
    """Return W₂², by its own standard error where it is sampled."""
    check_arguments(path, None, n, 1)
    if isinstance(path.target, Gaussian) or line_of(path) is not None:
        return float(wasserstein2(path)) ** 2
    return _sampled(path, n, rng)


def _sampled(path: Path, n: int, rng: Any) -> Estimate:
    size, generator = n // GROUPS, generator_or_default(rng)
    if size < 2:
        raise ValueError(explain(f"n >= {2 * GROUPS} points", str(n), "each of eight groups needs a few"))
    moments = Moments()
    for _ in range(GROUPS):
        moments.add(np.array([sample_wasserstein2(*coupled(path, size, generator)) ** 2]))
    return moments.estimate()
