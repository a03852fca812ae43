r"""The predictions of a mixture as functions that numba compiles, for ensembles that never meet the interpreter.

A prediction is two functions: ``prepare(t, parameters)``, what depends on time alone, and ``drift(t, x, out, given)``,
which takes what the first returned and writes the prediction at one point into ``out``: what
:class:`solvers.compiled.CompiledODE` is made of.

The same formulas as :mod:`interpolants.targets.components`, for positive eigenvalues: logits first, then
:math:`\sum_k\gamma_k[c\,m_k + U_k\,\mathrm{gain}\,U_k^\top z_k]`, with the coefficients' generated scalar code.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from sympy import Expr

from interpolants.prediction import Prediction, Velocity, expect_prediction
from interpolants.printing import PREAMBLE
from interpolants.schedule import Schedule
from solvers.errors import explain

if TYPE_CHECKING:
    from interpolants.targets.mixture import GaussianMixture

__all__ = ["compile_mixture"]


def compile_mixture(target: GaussianMixture, schedule: Schedule, prediction: Prediction | None) -> Callable[..., Any]:
    """Return ``f(t, x)`` for one t and x of shape (d,) or (B, d), compiled at its first use."""
    from numba import njit

    compile_one = njit(error_model="numpy")
    if not isinstance(schedule, Schedule):
        raise TypeError(explain("a Schedule", repr(schedule), "pass Linear(), GVP(), VP() or Schedule(...)"))
    wanted = expect_prediction(Velocity if prediction is None else prediction, "prediction")
    prepare, drift = parts_of_mixture(target, schedule, wanted.row(schedule))

    def many(t: float, x: Any) -> Any:
        given, result = prepare(t, None), np.empty(x.shape)
        for b in range(x.shape[0]):
            drift(t, x[b], result[b], given)
        return result

    return _either(compile_one(many), compile_one)


def parts_of_mixture(target: GaussianMixture, schedule: Schedule, row: tuple[Expr, Expr]) -> tuple[Any, Any]:
    """Return ``prepare`` and ``drift`` of E[a·x_data + b·ε | x], whose row is (a, b)."""
    from numba import njit

    inlined = njit(error_model="numpy", forceinline=True)
    covs = target.covariances
    if covs.singular:
        remedy = "add a small variance, or use path.velocity"
        raise ValueError(explain("positive eigenvalues for compiled code", "a zero eigenvalue", remedy))
    schedule.source("numba")  # says why not where a schedule has no expressions
    coefficients = _coefficients(target, schedule, row)
    if covs.basis is None:
        prepare, drift = _along_axes(coefficients, np.log(target.weights), target.means, covs.eigenvalues)
        return inlined(prepare), inlined(drift)
    floors = covs.parts[1].values[:, 0] if len(covs.parts) > 1 else np.ones(len(covs))
    missing = covs.parts[1].counts[:, 0] if len(covs.parts) > 1 else np.zeros(len(covs))
    arrays = (covs.basis, covs.parts[0].values, covs.parts[0].counts, floors, missing)
    prepare, drift = _rotated(coefficients, np.log(target.weights), target.means, *map(np.ascontiguousarray, arrays))
    return inlined(prepare), inlined(drift)


def _coefficients(target: GaussianMixture, schedule: Schedule, row: tuple[Expr, Expr]) -> Callable[[float], Any]:
    """Compile t → (α, σ, c, cα, dσ)."""
    from numba import njit

    alpha, sigma = schedule.expressions["alpha"], schedule.expressions["sigma"]
    expressions = target.products(*row, alpha, sigma)
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


def _shares(count: int) -> Any:
    """Compile the way from logits, in place, to responsibilities times the sum that is returned."""
    from numba import njit

    def shares(logits: Any) -> float:
        peak, mass = logits.max(), 0.0
        for k in range(count):
            logits[k] = math.exp(logits[k] - peak)
            mass += logits[k]
        return mass

    return njit(error_model="numpy", forceinline=True)(shares)


def _along_axes(coefficients: Any, log_weights: Any, means: Any, values: Any) -> tuple[Any, Any]:
    """Return the parts for variances along the axes."""
    count, d = means.shape
    shares = _shares(count)

    def prepare(t: float, parameters: Any) -> Any:
        alpha, sigma, c, c_alpha, d_sigma = coefficients(t)
        # One array with room for all, scratch of the drift included: each that is made takes as long as a logarithm.
        room, size = np.empty(2 * count * (d + 1)), count * d
        inverse, gain = room[:size].reshape((count, d)), room[size : 2 * size].reshape((count, d))
        start, logits = room[2 * size : -count], room[-count:]
        for k in range(count):
            total = 0.0
            for i in range(d):
                variance = alpha * alpha * values[k, i] + sigma * sigma
                inverse[k, i] = 1.0 / variance
                gain[k, i] = (c_alpha * values[k, i] + d_sigma) / variance
                total += math.log(variance)
            start[k] = log_weights[k] - 0.5 * total
        return alpha, c, inverse, gain, start, logits

    def drift(t: float, x: Any, out: Any, given: Any) -> None:
        alpha, c, inverse, gain, start, logits = given
        if count == 1:
            for i in range(d):
                out[i] = c * means[0, i] + gain[0, i] * (x[i] - alpha * means[0, i])
            return
        for k in range(count):
            total = 0.0
            for i in range(d):
                z = x[i] - alpha * means[k, i]
                total += z * z * inverse[k, i]
            logits[k] = start[k] - 0.5 * total
        mass = shares(logits)
        for i in range(d):
            total = 0.0
            for k in range(count):
                if logits[k] > 0.0:  # what has no share may be infinite
                    z = x[i] - alpha * means[k, i]
                    total += logits[k] * (c * means[k, i] + gain[k, i] * z)
            out[i] = total / mass

    return prepare, drift


def _split(means: Any, basis: Any, missing: Any) -> Any:
    """Compile the coordinates of z = x − αm along the columns, and what is left of z."""
    from numba import njit

    _, d, n = basis.shape

    def split(k: int, alpha: float, x: Any, z: Any, along: Any) -> None:
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

    return njit(error_model="numpy", forceinline=True)(split)


def _moved(means: Any, basis: Any) -> Any:
    """Compile an entry of what a component predicts, from the coordinates of z."""
    from numba import njit

    _, _, n = basis.shape

    def moved(k: int, i: int, c: float, rest: float, gain: Any, z: Any, along: Any) -> float:
        total: float = c * means[k, i] + rest * z[i]
        for j in range(n):
            total += basis[k, i, j] * gain[k, j] * along[j]
        return total

    return njit(error_model="numpy", forceinline=True)(moved)


def _rotated(
    coefficients: Any, log_weights: Any, means: Any, basis: Any, values: Any, counts: Any, floors: Any, missing: Any
) -> tuple[Any, Any]:
    """Return the parts for eigenvectors: columns, and a floor on the rest."""
    count, d, n = basis.shape
    split, moved, shares = _split(means, basis, missing), _moved(means, basis), _shares(count)

    def prepare(t: float, parameters: Any) -> Any:
        alpha, sigma, c, c_alpha, d_sigma = coefficients(t)
        # Two arrays for all, as above.
        table, room = np.empty((2, count, n)), np.empty((count, 4 + d + n))
        for k in range(count):
            floor = alpha * alpha * floors[k] + sigma * sigma
            logs = missing[k] * math.log(floor)
            for j in range(n):
                variance = alpha * alpha * values[k, j] + sigma * sigma
                table[0, k, j] = 1.0 / variance
                table[1, k, j] = (c_alpha * values[k, j] + d_sigma) / variance
                logs += counts[k, j] * math.log(variance)
            room[k, 0] = log_weights[k] - 0.5 * logs
            room[k, 1] = floor
            room[k, 2] = (c_alpha * floors[k] + d_sigma) / floor if missing[k] > 0.0 else 0.0
        return alpha, c, table, room

    def drift(t: float, x: Any, out: Any, given: Any) -> None:
        alpha, c, table, room = given
        inverse, gain, start, floor, rest, logits = table[0], table[1], room[:, 0], room[:, 1], room[:, 2], room[:, 3]
        z, along = room[:, 4 : 4 + d], room[:, 4 + d :]
        if count == 1:
            split(0, alpha, x, z[0], along[0])
            for i in range(d):
                out[i] = moved(0, i, c, rest[0], gain, z[0], along[0])
            return
        for k in range(count):
            split(k, alpha, x, z[k], along[k])
            total = 0.0
            for j in range(n):
                total += along[k, j] * along[k, j] * inverse[k, j]
            if missing[k] > 0.0:
                for i in range(d):
                    total += z[k, i] * z[k, i] / floor[k]
            logits[k] = start[k] - 0.5 * total
        mass = shares(logits)
        for i in range(d):
            sums = 0.0
            for k in range(count):
                if logits[k] > 0.0:
                    sums += logits[k] * moved(k, i, c, rest[k], gain, z[k], along[k])
            out[i] = sums / mass

    return prepare, drift
