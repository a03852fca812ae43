"""The exact flow and the exact reverse SDE of a path as problems in compiled code, for ensembles."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sympy import Expr, Integer, sqrt

from interpolants.diffusion import DiffusionCoefficient, expect_diffusion
from interpolants.dynamics import drift_row
from interpolants.path import Path, expect_path
from interpolants.targets.mixture import GaussianMixture
from solvers import Pole
from solvers.errors import explain

if TYPE_CHECKING:
    from solvers.compiled import CompiledODE, CompiledSDE

__all__ = ["compiled_flow", "compiled_sde"]


def compiled_flow(path: Path) -> CompiledODE:
    r"""Return the exact probability flow of a path for ensembles in compiled code.

    :math:`\dot\alpha` and :math:`\dot\sigma` meet the target only in products that were simplified before they became
    code, so both ends are exact where the flow is finite, and what is infinite is a pole of the problem.

    >>> import numpy as np
    >>> from interpolants import Gaussian, Linear, Path, compiled_flow
    >>> from solvers import RK4, uniform
    >>> from solvers.compiled import solve_ensemble
    >>> path = Path(Linear(), Gaussian([0.5, -1.0], 0.25))
    >>> noise = path.prior(10_000, np.random.default_rng(0))
    >>> solution = solve_ensemble(compiled_flow(path), noise, uniform(50), RK4())
    >>> bool(abs(solution.x - path.flow(1.0, 0.0, noise)).max() < 1e-5)
    True

    Args:
        path: a schedule of expressions with a Gaussian or a mixture whose covariances have no zero eigenvalue.

    Raises:
        TypeError: another target; a schedule without expressions.
        ValueError: a zero eigenvalue, whose limits at σ = 0 the compiled code does not have.
        ImportError: without the extra ``numba``.
    """
    from solvers.compiled import CompiledODE

    prepare, drift, times = _parts(path, Integer(0), "probability_flow")
    poles = tuple(Pole(time, f"the velocity of {path!r} is infinite") for time in sorted(times))
    return CompiledODE(drift, prepare, poles, path.schedule.domain)


def compiled_sde(path: Path, w: DiffusionCoefficient) -> CompiledSDE:
    r"""Return the exact reverse SDE of a path with diffusion coefficient ``w`` for ensembles in compiled code.

    The drift :math:`v - \tfrac12 w s` is :math:`\mathbb E[\dot\alpha\,x_{\mathrm{data}} + (\dot\sigma +
    w/2\sigma)\varepsilon\,|\,x]`, whose coefficients are simplified before they become code, as those of
    :func:`compiled_flow` are.

    >>> import numpy as np
    >>> from interpolants import Gaussian, Linear, Path, compiled_sde, diffusion
    >>> from solvers import EulerMaruyama, uniform
    >>> from solvers.compiled import RowNoise, solve_ensemble
    >>> path = Path(Linear(), Gaussian([0.5, -1.0], 0.25))
    >>> x, problem = path.prior(20_000, np.random.default_rng(0)), compiled_sde(path, diffusion.Sigma())
    >>> solution = solve_ensemble(problem, x, uniform(100), EulerMaruyama(), rng=RowNoise(seed=1))
    >>> bool(abs(solution.x.mean(0) - [0.5, -1.0]).max() < 0.02)
    True

    Args:
        path: a schedule of expressions with a Gaussian or a mixture whose covariances have no zero eigenvalue.
        w: the diffusion coefficient.

    Raises:
        TypeError: another target; a schedule without expressions; no diffusion coefficient.
        ValueError: a zero eigenvalue; w is negative somewhere.
        ImportError: without the extra ``numba``.

    References: Ma et al. (2024), arXiv 2401.08740, eq. 4.
    """
    from solvers.compiled import CompiledSDE

    expect_path(path)
    schedule = path.schedule
    variance = expect_diffusion(w).of(schedule).expression
    noise = schedule.coefficient(sqrt(variance), f"the noise of the reverse SDE with w = {w}")
    prepare, drift, times = _parts(path, variance, "reverse_sde")
    reason = f"the reverse SDE of {path!r} with w = {w} is infinite"
    poles = tuple(Pole(time, reason) for time in sorted(times | set(noise.poles)))
    return CompiledSDE(drift, noise, prepare, poles, schedule.domain)


def _parts(path: Path, w: Expr, instead: str) -> tuple[Any, Any, set[float]]:
    """Return ``prepare`` and the drift v − ½ w s of a path, and the times at which it is infinite."""
    from interpolants.targets.compiled import parts_of_mixture

    expect_path(path)
    schedule, target = path.schedule, path.target
    if not isinstance(target, GaussianMixture):
        remedy = f"use {instead} and path.velocity"
        raise TypeError(explain("a Gaussian or a GaussianMixture", type(target).__name__, remedy))
    row = drift_row(schedule, w)
    prepare, drift = parts_of_mixture(target, schedule, row)
    expressions = target.products(*row, *(schedule.expressions[name] for name in ("alpha", "sigma")))
    return prepare, drift, {time for each in expressions.values() for time in schedule.coefficient(each).poles}
