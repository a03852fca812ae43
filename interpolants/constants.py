r"""The constant in front of a sampler's leading error, from exact laws on finer and finer grids."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from interpolants.diffusion import DiffusionCoefficient, Zero
from interpolants.laws import Sampler
from interpolants.path import Path
from interpolants.prediction import Prediction, Velocity
from solvers import uniform
from solvers.errors import explain
from solvers.method import Method

__all__ = ["error_constant"]

_COARSEST = 128
_GRIDS = 5
_ZERO = Zero()


def error_constant(
    path: Path,
    method: Method,
    w: DiffusionCoefficient = _ZERO,
    prediction: Prediction = Velocity,
    *,
    start: float | None = None,
    stop: float | None = None,
    tolerance: float = 1e-4,
) -> NDArray[np.float64]:
    r"""Return the constant K of :math:`\log(\hat\rho/\rho) = K h^p + O(h^{p+1})` along each eigenvector of the target.

    ρ̂ is the standard deviation that the sampler has after uniform steps of length h from the exact marginal at
    ``start``, ρ the exact one, p the order of the method. Exact laws on grids of n, 2n, 4n, … steps are extrapolated to
    h = 0 (Richardson).

    For Euler's method :math:`K = -\tfrac12\int\ddot\rho/\rho\,dt`; Linear from 1 to 0:
    :math:`-(\tfrac12 + \pi(1 + c)/8\sqrt c)`.

    >>> from interpolants import Gaussian, Linear, Path, error_constant
    >>> from solvers import Euler
    >>> path = Path(Linear(), Gaussian([0.0], 1.0))
    >>> error_constant(path, Euler()).round(6)  # -(1/2 + pi/4)
    array([-1.285398])

    Args:
        path: a path with a Gaussian target.
        method: any method of ``solvers`` whose law is Gaussian.
        w: the diffusion coefficient, as in :func:`sampler_law`.
        prediction: what the model predicts.
        start: the first time; the noise end if absent.
        stop: the last time; the data end if absent.
        tolerance: the relative accuracy that the extrapolation must reach.

    Returns:
        K per eigenvalue, ascending, shape (d,).

    Raises:
        ValueError: no constant is found: the order on this interval is another one, or the error vanishes.

    References: Hairer, Nørsett & Wanner (1993), Solving Ordinary Differential Equations I, II.8 and II.9.
    """
    sampler, order = Sampler(path, method, w, prediction), method.order
    lo, hi = path.schedule.domain
    first, last = hi if start is None else float(start), lo if stop is None else float(stop)
    rows = []
    for k in range(_GRIDS):
        n = _COARSEST * 2**k
        law = sampler.law(uniform(n, first, last))
        rows.append(np.log(law.spreads / law.exact_spreads) * (n / abs(first - last)) ** order)
    value, before = _extrapolated(rows), _extrapolated(rows[:-1])
    error = float(np.max(np.abs(value - before)))
    if not error <= tolerance * float(np.max(np.abs(value))):
        received = f"{value} with an error of {error:.1g}"
        remedy = "choose start and stop inside the domain, where the method has its order"
        raise ValueError(explain(f"an error of order {order} for {type(method).__name__}", received, remedy))
    return value


def _extrapolated(rows: list[Any]) -> NDArray[np.float64]:
    """Eliminate the powers h, h², … from values at h, h/2, h/4, … by Neville's scheme; the last three are kept."""
    column = [np.asarray(row) for row in rows]
    for power in range(1, min(3, len(rows))):
        column = [(2.0**power * fine - coarse) / (2.0**power - 1.0) for coarse, fine in pairwise(column)]
    return np.asarray(column[-1])
