r"""The exact law of what a sampler returns on Gaussian data: no Monte Carlo, the sampler's own code is run.

On Gaussian data a sampler that adds, scales and evaluates maps its start x and its standard normals to :math:`b + Mx +
\sum_k N_k\xi_k`. A row for the zero state, one for the unit state and one for each unit of noise show b, M and every N.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from solvers.order.draws import Draws, Units, basis
from solvers.order.sampler import Drive
from solvers.order.trials import Gaussians, Model


@dataclass(frozen=True)
class Law:
    r"""How far the law of the samples is from the exact marginal, and how the sampler came to it.

    Args:
        mean: largest error of a mean, in standard deviations of the marginal.
        variance: largest relative error of a variance.
        error: root mean square of both over the coordinates.
        noise: whether any of the sampler's own noise reached its answer.
        affine: whether the map was affine, as far as a test with another state shows.
        evaluations: calls of the model.
    """

    mean: float
    variance: float
    error: float
    noise: bool
    affine: bool
    evaluations: int


def law(drive: Drive, dtype: type[np.floating]) -> Law:
    """Return the law of a drive on Gaussian data that starts in the exact marginal."""
    trial = Gaussians()
    d = len(trial.means)
    model, draws = Model(trial), Draws()
    drive.answer(model, np.zeros((1, d), dtype=dtype), draws)
    shares = basis(draws.asked)
    count = shares.shape[1]
    states = np.zeros((3 + count, d), dtype=dtype)
    states[1], states[-1] = 1.0, 3.0
    ends = np.asarray(drive.answer(Model(trial), states, Units(shares)), dtype=np.float64)
    offset, rows = ends[0], ends[1:] - ends[0]
    transfer, noise, check = rows[0], rows[1:-1], rows[-1]
    size = np.abs(offset) + 3.0 * np.abs(transfer) + np.abs(noise).sum(0) + 1.0
    # The units of the Brownian pieces and the plain ones were all halved in the last row.
    near = math.sqrt(float(np.finfo(dtype).eps)) * size
    affine = bool((np.abs(check - (3.0 * transfer + 0.5 * noise.sum(0))) <= near).all())
    mean, variance = trial.law(drive.start)
    wanted_mean, wanted_variance = trial.law(drive.stop)
    means = (offset + transfer * mean - wanted_mean) / np.sqrt(wanted_variance)
    variances = (transfer**2 * variance + (noise**2).sum(0)) / wanted_variance - 1.0
    error = math.sqrt(float(np.mean(means**2 + variances**2)))
    reached = bool((np.abs(noise) > near).any())
    size_of = [float(np.abs(values).max()) for values in (means, variances)]
    return Law(size_of[0], size_of[1], error, reached, affine, model.evaluations)
