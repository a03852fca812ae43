r"""The density that a flow gives to its points, by the change of variables along the trajectory.

.. math:: \log p_{t_0}(x) = \log p_{t_1}(X_{t_1}) + \int_{t_0}^{t_1} \nabla\cdot f(s, X_s)\,ds

for :math:`\dot X = f(t, X)`, :math:`X_{t_0} = x`. State and integral are solved together, with one method on one grid;
an estimated divergence has one integral for each probe.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from solvers.adaptive import Adaptive
from solvers.arrays import Array, namespace
from solvers.errors import explain
from solvers.likelihood.estimate import LogLikelihood
from solvers.likelihood.traces import Trace, divergence
from solvers.method import Method
from solvers.problem import ODE, Field
from solvers.solve import solve

__all__ = ["log_likelihood", "log_likelihood_of_samples"]

Density = Callable[[Array], Array]


def log_likelihood(
    problem: ODE,
    x: Array,
    ts: Any,
    method: Method | Adaptive,
    log_prior: Density,
    trace: Field | None = None,
) -> LogLikelihood:
    r"""Return :math:`\log p(x)` at the first time of the grid, from the density at its last.

    Args:
        problem: the ODE of the flow.
        x: points, shape (B, …), at the first time of ``ts``.
        ts: times from the points to the prior, such as ``uniform(100, start=0.0, stop=1.0)``.
        method: a deterministic method, such as ``RK4()`` or ``Adaptive(Dopri5())``; the errors of the integrals are
            then controlled with that of the state.
        log_prior: the log-density at the last time: (B, …) → (B,).
        trace: :func:`divergence` of the drift, exact, when absent; :func:`hutchinson` or :func:`hutch_plus_plus` of
            it, estimates; or :math:`\nabla\cdot f` itself, (time, x) → (B,). A trace of ``problem.drift`` costs no
            evaluation of its own.

    Raises:
        TypeError: no ODE; numpy arrays without a trace.
        ValueError: x without a batch axis; probes that do not fit it; a solve that ends before the last time; and all
            that :func:`solvers.solve` raises.

    References: Chen et al. (2018), arXiv 1806.07366, eq. 8; Song et al. (2021), arXiv 2011.13456, eq. 39.
    """
    moved, integrals, nfe, made = _carried(problem, x, ts, method, trace)
    return _result(log_prior(moved), integrals, moved, nfe, made)


def log_likelihood_of_samples(
    problem: ODE,
    x: Array,
    ts: Any,
    method: Method | Adaptive,
    log_prior: Density,
    trace: Field | None = None,
) -> LogLikelihood:
    r"""Return samples and their :math:`\log p`, from the density at the first time of the grid.

    .. math:: \log p_{t_1}(X_{t_1}) = \log p_{t_0}(x) - \int_{t_0}^{t_1} \nabla\cdot f(s, X_s)\,ds

    Args:
        problem: the ODE of the flow.
        x: noise, shape (B, …), at the first time of ``ts``.
        ts: times from the noise to the samples, such as ``uniform(100)``.
        method: as for :func:`log_likelihood`.
        log_prior: the log-density at the first time: (B, …) → (B,).
        trace: as for :func:`log_likelihood`.

    Returns:
        The samples are ``x`` of the result, ``value`` their log-densities.

    Raises:
        TypeError, ValueError: what :func:`log_likelihood` raises.
    """
    moved, integrals, nfe, made = _carried(problem, x, ts, method, trace)
    return _result(log_prior(x), -integrals, moved, nfe, made)


def _result(log_prior: Array, integrals: Array, x: Array, nfe: int, trace: Field) -> LogLikelihood:
    estimates = log_prior[:, None] + integrals
    if not isinstance(trace, Trace):
        return LogLikelihood(estimates[:, 0], x, nfe, estimates)
    return LogLikelihood(estimates.mean(1), x, nfe, estimates, trace.count, not trace.per_point(x))


def _carried(
    problem: ODE, x: Array, ts: Any, method: Method | Adaptive, trace: Field | None
) -> tuple[Array, Array, int, Field]:
    """Return the points at the last time, the integral of each estimate of the divergence, (B, m), and nfe."""
    _check(problem, x, method, trace)
    trace = divergence(problem.drift) if trace is None else trace
    count = max(1, trace.count) if isinstance(trace, Trace) else 1
    shape, size = x.shape[1:], int(np.prod(x.shape[1:]))
    evaluate = _evaluation(problem, trace)

    def joined(points: Array, numbers: Array) -> Array:
        return namespace(points).concat([points.reshape(len(points), size), numbers], axis=1)

    def drift(time: Any, state: Array) -> Array:
        return joined(*evaluate(time, state[:, :size].reshape(-1, *shape)))

    zeros = namespace(x).zeros_like(x.reshape(len(x), size)[:, :1])
    start = joined(x, namespace(x).broadcast_to(zeros, (len(x), count)))
    solution = solve(replace(problem, drift=drift), start, ts, method)
    if solution.status != "success":
        wanted = "a solve that reaches the last time, where the prior is known"
        remedy = "raise max_steps, loosen the tolerances, or leave out events"
        raise ValueError(explain(wanted, f"the status {solution.status!r}", remedy))
    return solution.x[:, :size].reshape(x.shape), solution.x[:, size:], solution.nfe, trace


def _evaluation(problem: ODE, trace: Field) -> Callable[[Any, Array], tuple[Array, Array]]:
    """Return the function of time and points that gives the drift and the estimates of its divergence, (B, m)."""
    if not isinstance(trace, Trace):
        return lambda time, points: (problem.drift(time, points), trace(time, points)[:, None])
    if trace.drift is problem.drift:
        return trace.with_drift
    return lambda time, points: (problem.drift(time, points), trace.with_drift(time, points)[1])


def _check(problem: ODE, x: Array, method: Method | Adaptive, trace: Field | None) -> None:
    """Refuse what is no ODE, points without a batch, and probes that do not fit them."""
    if not isinstance(problem, ODE):
        raise TypeError(explain("an ODE", type(problem).__name__, "pass probability_flow(schedule, model)"))
    if getattr(x, "ndim", 0) < 2:
        raise ValueError(explain("points of shape (B, …)", f"shape {np.shape(x)}", "give x a batch axis: x[None]"))
    if isinstance(trace, Trace):
        trace.check(x)
        if isinstance(method, Adaptive) and method.per_sample and trace.per_point(x):
            wanted = "probes for all points alike where finished samples leave the batch"
            remedy = "draw them with shared=True, or leave per_sample out"
            raise ValueError(explain(wanted, "probes of each point with per_sample=True", remedy))
