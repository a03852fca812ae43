r"""The predictions of a mixture as functions that numba compiles, for ensembles that never meet the interpreter.

The same formulas as :mod:`interpolants.targets.components`, for positive eigenvalues: logits first, then
:math:`\sum_k\gamma_k[c\,m_k + U_k\,\mathrm{gain}\,U_k^\top z_k]`, with the coefficients' generated scalar code.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from interpolants.prediction import Prediction, Velocity, expect_prediction
from interpolants.printing import PREAMBLE
from interpolants.schedule import Schedule
from solvers.errors import explain

if TYPE_CHECKING:
    from interpolants.targets.mixture import GaussianMixture

__all__ = ["compile_mixture"]


def compile_mixture(target: GaussianMixture, schedule: Schedule, prediction: Prediction | None) -> Callable[..., Any]:
    """Return ``f(t, x)`` for one t and x of shape (d,) or (B, d), compiled at its first use."""
    wanted = expect_prediction(Velocity if prediction is None else prediction, "prediction")
    if not isinstance(schedule, Schedule):
        raise TypeError(explain("a Schedule", repr(schedule), "pass Linear(), GVP(), VP() or Schedule(...)"))
    covs = target.covariances
    if covs.singular:
        remedy = "add a small variance, or use path.velocity"
        raise ValueError(explain("positive eigenvalues for compiled code", "a zero eigenvalue", remedy))
    schedule.source("numba")  # says why not where a schedule has no expressions
    coefficients = _coefficients(target, schedule, wanted)
    if covs.basis is None:
        return _along_axes(coefficients, np.log(target.weights), target.means, covs.eigenvalues)
    floors = covs.parts[1].values[:, 0] if len(covs.parts) > 1 else np.ones(len(covs))
    missing = covs.parts[1].counts[:, 0] if len(covs.parts) > 1 else np.zeros(len(covs))
    arrays = (covs.basis, covs.parts[0].values, covs.parts[0].counts, floors, missing)
    return _rotated(coefficients, np.log(target.weights), target.means, *map(np.ascontiguousarray, arrays))


def _coefficients(target: GaussianMixture, schedule: Schedule, prediction: Prediction) -> Callable[[float], Any]:
    """Compile t → (α, σ, c, cα, dσ)."""
    from numba import njit

    alpha, sigma = schedule.expressions["alpha"], schedule.expressions["sigma"]
    expressions = target.products(*prediction.row(schedule), alpha, sigma)
    texts = [schedule.coefficient(e).lowered.source(f"_{name}", "scalar") for name, e in expressions.items()]
    space: dict[str, Any] = {"xp": math}
    exec("\n\n".join([PREAMBLE["scalar"], *texts]), space)  # what schedule.source prints
    compile_one: Any = njit(error_model="numpy")
    space.update({name: compile_one(space[name]) for name in ("_sinpi", "_cospi")})
    a, s, c, c_alpha, d_sigma = (compile_one(space[f"_{name}"]) for name in expressions)

    def coefficients(t: float) -> Any:
        return a(t), s(t), c(t), c_alpha(t), d_sigma(t)

    return compile_one(coefficients)  # type: ignore[no-any-return]


def _either(many: Callable[..., Any], compile_one: Any) -> Callable[..., Any]:
    """Let one point stand for a batch of one."""

    def field(t: float, x: Any) -> Any:
        if x.ndim == 1:
            return many(t, x.reshape(1, x.shape[0]))[0]
        else:  # noqa: RET505 - numba drops the branch of the other dimension only so
            return many(t, x)

    return compile_one(field)  # type: ignore[no-any-return]


def _along_axes(coefficients: Any, log_weights: Any, means: Any, values: Any) -> Callable[..., Any]:
    """Compile the field of a mixture with variances along the axes."""
    from numba import njit

    compile_one = njit(error_model="numpy")
    count, d = means.shape

    def many(t: float, x: Any) -> Any:
        alpha, sigma, c, c_alpha, d_sigma = coefficients(t)
        result, logits = np.zeros(x.shape), np.empty(count)
        inverse, gain, start = np.empty((count, d)), np.empty((count, d)), np.empty(count)
        for k in range(count):
            total = 0.0
            for i in range(d):
                variance = alpha * alpha * values[k, i] + sigma * sigma
                inverse[k, i] = 1.0 / variance
                gain[k, i] = (c_alpha * values[k, i] + d_sigma) / variance
                total += math.log(variance)
            start[k] = log_weights[k] - 0.5 * total
        for b in range(x.shape[0]):
            for k in range(count):
                total = 0.0
                for i in range(d):
                    z = x[b, i] - alpha * means[k, i]
                    total += z * z * inverse[k, i]
                logits[k] = start[k] - 0.5 * total
            peak, mass = logits.max(), 0.0
            for k in range(count):
                share = math.exp(logits[k] - peak)
                mass += share
                if share > 0.0:
                    for i in range(d):
                        z = x[b, i] - alpha * means[k, i]
                        result[b, i] += share * (c * means[k, i] + gain[k, i] * z)
            for i in range(d):
                result[b, i] /= mass
        return result

    return _either(compile_one(many), compile_one)


def _parts(means: Any, basis: Any, missing: Any) -> tuple[Any, Any]:
    """Compile the coordinates of z = x − αm along the columns, and zᵀS⁻¹z from them."""
    from numba import njit

    compile_one = njit(error_model="numpy")
    _, d, n = basis.shape

    def split(k: int, alpha: float, x: Any, z: Any, along: Any) -> None:
        """Write z in the coordinates of the columns, and what is left of it."""
        for j in range(n):
            along[j] = 0.0
        for i in range(d):
            z[i] = x[i] - alpha * means[k, i]
            for j in range(n):
                along[j] += basis[k, i, j] * z[i]
        if missing[k] > 0.0:
            for i in range(d):
                for j in range(n):
                    z[i] -= basis[k, i, j] * along[j]

    def quadratic(k: int, inverse: Any, floor: float, z: Any, along: Any) -> float:
        """Return zᵀS⁻¹z of what ``split`` wrote."""
        total = 0.0
        for j in range(n):
            total += along[j] * along[j] * inverse[j]
        if missing[k] > 0.0:
            for i in range(d):
                total += z[i] * z[i] / floor
        return total

    return compile_one(split), compile_one(quadratic)


def _rotated(
    coefficients: Any, log_weights: Any, means: Any, basis: Any, values: Any, counts: Any, floors: Any, missing: Any
) -> Callable[..., Any]:
    """Compile the field of a mixture with eigenvectors: columns, and a floor on the rest."""
    from numba import njit

    compile_one = njit(error_model="numpy")
    count, d, n = basis.shape
    split, quadratic = _parts(means, basis, missing)

    def many(t: float, x: Any) -> Any:
        alpha, sigma, c, c_alpha, d_sigma = coefficients(t)
        result, z, along = np.zeros(x.shape), np.empty((count, d)), np.empty((count, n))
        logits, start = np.empty(count), np.empty(count)
        variances, floor = alpha * alpha * values + sigma * sigma, alpha * alpha * floors + sigma * sigma
        inverse, gain = 1.0 / variances, (c_alpha * values + d_sigma) / variances
        for k in range(count):
            logs = (counts[k] * np.log(variances[k])).sum() + missing[k] * math.log(floor[k])
            start[k] = log_weights[k] - 0.5 * logs
        for b in range(x.shape[0]):
            for k in range(count):
                split(k, alpha, x[b], z[k], along[k])
                logits[k] = start[k] - 0.5 * quadratic(k, inverse[k], floor[k], z[k], along[k])
            shares = np.exp(logits - logits.max())
            shares /= shares.sum()
            for k in range(count):
                if shares[k] > 0.0:
                    rest = (c_alpha * floors[k] + d_sigma) / floor[k] if missing[k] > 0.0 else 0.0
                    for i in range(d):
                        moved = c * means[k, i] + rest * z[k, i]
                        for j in range(n):
                            moved += basis[k, i, j] * gain[k, j] * along[k, j]
                        result[b, i] += shares[k] * moved
        return result

    return _either(compile_one(many), compile_one)
