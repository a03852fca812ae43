r"""The public measures: each asks for the exact value first, and samples where there is none.

.. math::
   W_2^2 \le \mathbb E|X_1 - X_0|^2 \le \Bigl(\int(\mathbb E|v|^2)^{1/2}dt\Bigr)^2 \le T\,C(v)
   = T\int\mathbb E|v|^2\,dt, \qquad \mathbb E|X_1 - X_0| \le \int\mathbb E|v|\,dt \le \sqrt{T\,C(v)}

for a domain of length T, which is 1 unless the schedule says otherwise.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from interpolants.coefficient import Array
from interpolants.path import Path
from interpolants.prediction import Prediction, Velocity
from interpolants.prior import generator_or_default
from interpolants.targets import Empirical, Gaussian
from interpolants.transport import gaussian
from interpolants.transport.clock import Clock
from interpolants.transport.distance import GROUPS, squared, wasserstein2
from interpolants.transport.estimate import Estimate
from interpolants.transport.jacobians import sampled_slope
from interpolants.transport.line import line_of
from interpolants.transport.model_slope import model_norms
from interpolants.transport.sampled import along_path, check_arguments, on_flow
from interpolants.transport.steepness import line_slope
from solvers.errors import explain

__all__ = [
    "kinetic_gap",
    "lipschitz",
    "normalised_path_energy",
    "path_length",
    "straightness",
    "transport_cost",
]

Model = Callable[[Any, Array], Array]


def transport_cost(
    path: Path,
    model: Model | None = None,
    prediction: Prediction = Velocity,
    *,
    n: int = 4096,
    rng: Any = None,
    batch: int = 1024,
    grid: Any = None,
) -> float | Estimate:
    r"""Return the kinetic energy :math:`C(v) = \int_0^1 \mathbb E|v(x_t, t)|^2\,dt`.

    This is what the SiT paper plots as "path length". For N(m, C) with eigenvalues c: Linear
    :math:`|m|^2 + \sum(1 + c - \tfrac\pi2\sqrt c)`; GVP exactly :math:`\tfrac{\pi^2}{8}W_2^2`; VP(0.1, 20) has no
    elementary form, and is infinite where a variance is 0.

    >>> from interpolants import GVP, Gaussian, Path, transport_cost
    >>> round(transport_cost(Path(GVP(), Gaussian([0.0], 0.25))), 9)  # π²/8 · (1 − ½)²
    0.308425138

    Args:
        path: a schedule and a target.
        model: ``model(time, x)`` → prediction, shapes (B, d), numpy or torch as ``rng`` is; its own flow is followed
            from the prior. Without it, the exact velocity is measured.
        prediction: what the model predicts.
        n: the number of samples, where there is sampling, at least 2.
        rng: a numpy or torch generator; ``numpy.random.default_rng(0)`` when absent.
        batch: how many samples are in memory at once; no result depends on it.
        grid: the times of the flow's RK4 steps, such as ``uniform(100, start=0.999)``; when absent 64 steps that are
            dense towards both ends.

    Returns:
        A float, right to 1e-9, for Gaussian targets and in one dimension (mixtures and data of up to 64 components);
        infinity is an answer. Otherwise an :class:`Estimate`.

    Raises:
        TypeError: something else than a path, a model or a prediction.
        ValueError: n or batch out of range; a model with other shapes or values that are not finite.
        PoleError: the flow of a model that is infinite at an end of the grid.

    References: Ma et al. (2024), arXiv 2401.08740, §2.2; Albergo, Boffi & Vanden-Eijnden (2023), arXiv 2303.08797.
    """
    check_arguments(path, model, n, batch)
    if model is not None:
        return on_flow(path, model, prediction, n, rng, batch, grid).estimate(0)
    if isinstance(path.target, Gaussian):
        return gaussian.cost(path)
    line = line_of(path)
    if line is not None:
        return line.cost()
    return math.inf if _has_infinite_cost(path) else along_path(path, n, rng, batch).estimate(0)


def path_length(
    path: Path,
    model: Model | None = None,
    prediction: Prediction = Velocity,
    *,
    n: int = 4096,
    rng: Any = None,
    batch: int = 1024,
    grid: Any = None,
) -> float | Estimate:
    r"""Return the mean length of the trajectories, :math:`\int_0^1\mathbb E|v(x_t, t)|\,dt`.

    For N(0, cI) in d dimensions it is :math:`\sqrt2\,\Gamma(\tfrac{d+1}2)/\Gamma(\tfrac d2)` times the total variation
    of ρ: GVP :math:`|1 - \sqrt c|`, VP :math:`|\sqrt c - \rho_1|`, Linear :math:`1 + \sqrt c - 2\sqrt{c/(1 + c)}`.
    Arguments, results and errors are those of :func:`transport_cost`; its square is at most the transport cost.
    """
    check_arguments(path, model, n, batch)
    if model is not None:
        return on_flow(path, model, prediction, n, rng, batch, grid).estimate(1)
    if isinstance(path.target, Gaussian):
        return gaussian.length(path)
    line = line_of(path)
    return line.length() if line is not None else along_path(path, n, rng, batch).estimate(1)


def straightness(
    path: Path,
    model: Model | None = None,
    prediction: Prediction = Velocity,
    *,
    n: int = 4096,
    rng: Any = None,
    batch: int = 1024,
    grid: Any = None,
) -> float | Estimate:
    r"""Return the straightness defect :math:`C(v) - \mathbb E|X_1 - X_0|^2/T \ge 0` of the flow's own coupling.

    T is the length of the domain, 1 for most schedules. Zero where every trajectory is straight and run at constant
    speed. The flow of a Gaussian, and any flow on the line, is the optimal map between its ends, so there the defect is
    :math:`C(v) - W_2^2/T`. Elsewhere trajectories are followed, each with its own energy and displacement. Arguments,
    results and errors are those of :func:`transport_cost`.

    References: Liu, Gong & Liu (2022), arXiv 2209.03003, eq. 4.
    """
    check_arguments(path, model, n, batch)
    if model is None:
        cost = _exact_cost(path)
        if cost is not None:
            return cost if math.isinf(cost) else max(0.0, cost - float(wasserstein2(path)) ** 2 / _span(path))
    return on_flow(path, model, prediction, n, rng, batch, grid).estimate(2)


def kinetic_gap(
    path: Path,
    model: Model | None = None,
    prediction: Prediction = Velocity,
    *,
    n: int = 4096,
    rng: Any = None,
    batch: int = 1024,
    grid: Any = None,
) -> float | Estimate:
    r"""Return the kinetic-energy gap :math:`C(v) - W_2^2/T`, what the path costs beyond optimal transport.

    T is the length of the domain, 1 for most schedules. It is at least the straightness defect, because the flow's own
    coupling need not be optimal. Arguments, results and errors are those of :func:`transport_cost`, and where W₂ is
    sampled its bias is as for :func:`wasserstein2`.

    References: Benamou & Brenier (2000), Numerische Mathematik 84, for C ≥ W₂².
    """
    cost = transport_cost(path, model, prediction, n=n, rng=rng, batch=batch, grid=grid)
    if not isinstance(cost, Estimate) and math.isinf(cost):
        return cost
    gap = _combine(cost, squared(path, n, rng), 1.0 / _span(path))
    return gap if isinstance(gap, Estimate) else max(0.0, gap)


def normalised_path_energy(
    path: Path,
    model: Model | None = None,
    prediction: Prediction = Velocity,
    *,
    n: int = 4096,
    rng: Any = None,
    batch: int = 1024,
    grid: Any = None,
) -> float | Estimate:
    r"""Return the normalised path energy :math:`|T\,C(v) - W_2^2|/W_2^2`, 0 for dynamic optimal transport.

    T is the length of the domain, 1 for most schedules.

    For a Gaussian target under GVP it is :math:`\pi^2/8 - 1`. Arguments, results and errors are those of
    :func:`kinetic_gap`; ends that are equal (W₂ = 0) raise a ValueError.

    References: Tong et al. (2023), arXiv 2302.00482, table 2 (NPE).
    """
    square = squared(path, n, rng)
    if float(square) == 0:
        remedy = "use kinetic_gap"
        raise ValueError(explain("two different end marginals", "W2 = 0", remedy))
    cost = transport_cost(path, model, prediction, n=n, rng=rng, batch=batch, grid=grid)
    if not isinstance(cost, Estimate) and math.isinf(cost):
        return cost
    rate = 1.0 / _span(path)
    # |C − rS|/rS, whose differential is that of C/rS: (dC − (C/S) dS)/rS
    ratio = abs(float(cost) / (rate * float(square)) - 1)
    gap = _combine(cost, square, float(cost) / float(square))
    return Estimate(ratio, gap.standard_error / (rate * float(square)), gap.n) if isinstance(gap, Estimate) else ratio


def lipschitz(
    path: Path, model: Model | None = None, prediction: Prediction = Velocity, *, n: int = 4096, rng: Any = None
) -> float | Estimate:
    r"""Return the Lipschitz constant of the velocity, :math:`\sup_{t,x}\|\nabla v(x, t)\|` in the spectral norm.

    For Gaussian targets :math:`\max|\dot\rho/\rho|`: Linear :math:`(1 + c)/2\sqrt c`, GVP
    :math:`\tfrac\pi4|1 - c|/\sqrt c`; no schedule has less than :math:`\tfrac12|\log c|`. It is infinite where a
    variance is 0, as for finite data.

    Args:
        path: a schedule and a target.
        model: ``model(time, x)`` → prediction, shapes (B, d), numpy or torch as ``rng`` is; its velocity is measured at
            points of the path. Beyond 256 dimensions it must be torch's.
        prediction: what the model predicts.
        n: where there is sampling: the number of points, in eight groups.
        rng: a numpy or torch generator; ``numpy.random.default_rng(0)`` when absent.

    Returns:
        A float for Gaussian targets and in one dimension, the supremum over all x, also those between components where
        nothing lies. Otherwise an :class:`Estimate`: the largest norm that was met, a *lower bound*, and as its
        standard error the scatter of the largest norms of the eight groups.

    References: Tsimpos et al. (2025), arXiv 2504.14425, for the optimal schedule.
    """
    check_arguments(path, model, n, 1)
    if model is not None:
        generator = generator_or_default(rng)
        norms = model_norms(path, model, prediction, path.prior(1, generator))
        return sampled_slope(path, n, generator, GROUPS, norms)
    if isinstance(path.target, Gaussian):
        return gaussian.slope(path)
    line = line_of(path)
    if line is not None:
        return line_slope(line)
    if isinstance(path.target, Empirical) and float(path.schedule.sigma(path.schedule.domain[0])) == 0:
        return math.inf
    return sampled_slope(path, n, rng, GROUPS)


def _exact_cost(path: Path) -> float | None:
    """Return the cost where the flow is the optimal map and W₂ is exact; None elsewhere."""
    if isinstance(path.target, Gaussian):
        return gaussian.cost(path)
    line = line_of(path)
    return line.cost() if line is not None else (math.inf if _has_infinite_cost(path) else None)


def _has_infinite_cost(path: Path) -> bool:
    """Whether a direction without variance, or a pole of the schedule, makes the energy infinite."""
    if isinstance(path.target, Empirical):
        variances, moves = np.zeros(1), bool(np.asarray(path.target.points[:1]).any()) or len(path.target.points) > 1
    else:
        variances, moves = np.atleast_1d(np.asarray(getattr(path.target, "eigenvalues", 1.0), np.float64)).ravel(), True
    return Clock(path.schedule).infinite_energy(variances, moves)


def _span(path: Path) -> float:
    lo, hi = path.schedule.domain
    return float(hi) - float(lo)


def _combine(cost: float | Estimate, square: float | Estimate, factor: float) -> float | Estimate:
    """Return C − factor·W₂² with its error; the two are independent."""
    value = float(cost) - factor * float(square)
    errors = [item.standard_error if isinstance(item, Estimate) else 0.0 for item in (cost, square)]
    sampled = [item for item in (cost, square) if isinstance(item, Estimate)]
    if not sampled:
        return value
    return Estimate(value, math.hypot(errors[0], factor * errors[1]), min(item.n for item in sampled))
