r"""What moving the noise to the data costs.

For a Gaussian target with eigenvalues :math:`c` and :math:`\rho_t^2 = \alpha_t^2 c + \sigma_t^2`,

.. math::
   C(v) = \int \mathbb E|v|^2\,dt = |m|^2\int\dot\alpha^2\,dt + \sum_c \int\dot\rho^2\,dt, \qquad
   W_2^2 = |m|^2(\alpha_0 - \alpha_1)^2 + \sum_c(\rho_0 - \rho_1)^2,

with the actual end marginals. The flow of a Gaussian path is the optimal map between its ends, so the straightness
defect :math:`C - \mathbb E|X_1 - X_0|^2` is :math:`C - W_2^2`.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np

from interpolants.path import Path
from interpolants.targets import Gaussian
from solvers.errors import explain

__all__ = ["straightness", "transport_cost", "wasserstein2"]

BREAKS = np.array([0, 1e-12, 1e-10, 1e-8, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 0.05, 0.2, 0.5, 0.8, 0.95, 0.99, 1 - 1e-4, 1])
"""Fractions of the domain between which integrands are smooth enough for adaptive Gauss–Kronrod.

A variance c makes a layer of width √c (Linear) or c (VP) at the data end.
"""


def transport_cost(path: Path) -> float:
    r"""Return the kinetic energy :math:`C(v) = \int_0^1 \mathbb E|v(x_t, t)|^2\,dt`, to 1e-9.

    This is what the SiT paper plots as "path length". Linear: :math:`|m|^2 + \sum(1 + c - \tfrac\pi2\sqrt c)`; GVP:
    exactly :math:`\tfrac{\pi^2}{8}W_2^2`; VP(0.1, 20): no elementary form, log-divergent as c → 0.

    References: Ma et al. (2024), arXiv 2401.08740, §2.2; Albergo, Boffi & Vanden-Eijnden (2023), arXiv 2303.08797.
    """
    target = expect_gaussian(path)
    cost = _energy_of_mean(path) * float(target.mean @ target.mean)
    values, counts = np.unique(target.eigenvalues[0], return_counts=True)
    return cost + sum(int(k) * _energy_of_spread(path, float(c)) for c, k in zip(values, counts))


def wasserstein2(path: Path) -> float:
    r"""Return the Wasserstein distance :math:`W_2` (not squared) between the two end marginals of the path."""
    target = expect_gaussian(path)
    lo, hi = path.schedule.domain
    ends = [(path.schedule.alpha(time), path.schedule.sigma(time)) for time in (lo, hi)]
    spreads = [np.sqrt(alpha**2 * target.eigenvalues[0] + sigma**2) for alpha, sigma in ends]
    shift = (ends[0][0] - ends[1][0]) * target.mean
    return float(np.sqrt(np.sum(shift**2) + np.sum((spreads[0] - spreads[1]) ** 2)))


def straightness(path: Path) -> float:
    r"""Return the straightness defect :math:`C(v) - \mathbb E|X_1 - X_0|^2 \ge 0` of the flow's own coupling.

    Zero where every trajectory is straight and run at constant speed. References: Liu, Gong & Liu (2022), arXiv
    2209.03003, eq. 4.
    """
    return transport_cost(path) - wasserstein2(path) ** 2


def expect_gaussian(path: Path) -> Gaussian:
    """Return the target of a path that has a Gaussian one."""
    if not isinstance(path, Path):
        raise TypeError(explain("a Path", repr(path), "pass Path(schedule, Gaussian(mean, cov))"))
    if not isinstance(path.target, Gaussian):
        raise TypeError(explain("a Path with a Gaussian target", type(path.target).__name__, "use Gaussian(mean, cov)"))
    return path.target


def _energy_of_mean(path: Path) -> float:
    d_alpha = path.schedule.coefficient(path.schedule.expressions["d_alpha"], "d_alpha")
    return _integrate(path, lambda time: float(d_alpha(time)) ** 2)


def _energy_of_spread(path: Path, c: float) -> float:
    """Integrate ρ̇², with ρρ̇ = αα̇c + σσ̇ from the products that stay finite where σ̇ does not."""
    schedule = path.schedule
    growth = schedule.coefficient(schedule.expressions["alpha"] * schedule.expressions["d_alpha"])
    noise = schedule.coefficient(schedule.expressions["sigma"] * schedule.expressions["d_sigma"])

    def integrand(time: float) -> float:
        variance = schedule.alpha(time) ** 2 * c + schedule.sigma(time) ** 2
        rate = growth(time) * c + noise(time)
        return float(rate * rate / variance)

    return _integrate(path, integrand)


def _integrate(path: Path, integrand: Callable[[float], float]) -> float:
    from scipy import integrate  # half of the import time of the package, and only quadrature needs it

    lo, hi = path.schedule.domain
    breaks = lo + (hi - lo) * BREAKS
    parts = (integrate.quad(integrand, a, b, epsabs=1e-15, epsrel=1e-12, limit=400)[0] for a, b in pairwise(breaks))
    return float(sum(parts))
