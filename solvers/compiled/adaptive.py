"""Steps of their own length: each sample by itself, from its first time to its last."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

from solvers.adaptive.control import REMEMBERED
from solvers.compiled.arithmetic import arithmetic
from solvers.compiled.control import RUNNING, end, factor, first_length, probe_length, verdict
from solvers.compiled.jit import compiled, frozen, inlined


def _evaluation(drift: Any, prepare: Any, d: int, dtype: np.dtype[Any]) -> Callable[..., None]:
    """Compile the evaluation of slopes ``first`` to ``stop``, for which z is scratch."""
    combine = arithmetic(d, dtype).combine

    def evaluate(t0, t1, x, z, slopes, first, stop, lower, nodes, parameters):  # type: ignore[no-untyped-def]
        h = t1 - t0
        for i in range(first, stop):
            combine(z, x, slopes, lower[i], i, h)
            time = t1 if nodes[i] == 1.0 else t0 + nodes[i] * h
            drift(time, frozen(z), slopes[i], prepare(time, parameters))

    return compiled(evaluate)


def _beginning(evaluate: Any, d: int, dtype: np.dtype[Any]) -> Callable[..., tuple[float, int]]:
    """Compile the first slope and the length of the first step, with the number of evaluations."""
    size = arithmetic(d, dtype).size
    euler, ends = np.array([[0.0, 0.0], [1.0, 0.0]]), np.array([0.0, 1.0])

    def begin(start, stop, x, z, slopes, limit, parameters):  # type: ignore[no-untyped-def]
        evaluate(start, start, x, z, slopes, 0, 1, euler, ends, parameters)
        longest = min(abs(stop - start), limit.max_step)
        if not np.isnan(limit.first_step):
            return min(limit.first_step, longest), 1
        speed = size(slopes[0], x, limit)
        probe = probe_length(size(x, x, limit), speed, longest)
        there = start + probe if stop > start else start - probe
        evaluate(start, there, x, z, slopes, 1, 2, euler, ends, parameters)
        for r in range(d):
            slopes[1, r] -= slopes[0, r]
        return first_length(probe, speed, size(slopes[1], x, limit), longest, limit), 2

    return compiled(begin)


def _saving(evaluate: Any, d: int, dtype: np.dtype[Any]) -> Callable[..., tuple[int, int]]:
    """Compile dense output at the times that a step has passed; it returns the next time due, and evaluations."""
    dense = arithmetic(d, dtype).dense

    def save(t0, t1, x, z, slopes, lower, nodes, nested, last, ts, due, kept, parameters):  # type: ignore[no-untyped-def]
        sign, evaluations = 1.0 if t1 > t0 else -1.0, 0
        while due < ts.size - 1 and sign * ts[due] <= sign * t1:
            if evaluations == 0 and nested.shape[0] > last + 1:
                evaluate(t0, t1, x, z, slopes, last + 1, nested.shape[0], lower, nodes, parameters)
                evaluations = nested.shape[0] - last - 1
            dense(kept[due], x, slopes, nested, t1 - t0, (ts[due] - t0) / (t1 - t0))
            due += 1
        return due, evaluations

    return compiled(save)


def _sample(drift: Any, prepare: Any, d: int, dtype: np.dtype[Any]) -> Callable[..., Any]:
    """Compile the solve of one sample; x becomes its last state."""
    evaluate = _evaluation(drift, prepare, d, dtype)
    begin, save, error_of = _beginning(evaluate, d, dtype), _saving(evaluate, d, dtype), arithmetic(d, dtype).error

    def solve(x, z, spare, slopes, ts, weights, limit, kept, parameters):  # type: ignore[no-untyped-def]
        lower, nodes, estimates, nested, last = weights
        start, stop = ts[0], ts[-1]
        slopes[:] = np.nan
        length, evaluations = begin(start, stop, x, z, slopes, limit, parameters)
        t, t1, before, refused = start, start, 1.0, False
        steps, tried, due, status = 0, 0, 1, RUNNING
        while status == RUNNING:
            length, t1 = end(t, stop, length, limit.max_step)
            evaluate(t, t1, x, z, slopes, 1, last + 1, lower, nodes, parameters)
            error = error_of(x, z, slopes[: last + 1], estimates, t1 - t, limit)
            evaluations, tried, accepted = evaluations + last, tried + 1, error <= 1.0
            length *= factor(error, before, accepted, refused, limit.power)
            if accepted:
                if kept.shape[0] > 0:
                    arguments = (lower, nodes, nested, last, ts, due, kept, parameters)
                    due, more = save(t, t1, x, spare, slopes, *arguments)
                    evaluations += more
                for r in range(d):
                    x[r], slopes[0, r] = z[r], slopes[last, r]
                steps, t, before = steps + 1, t1, max(error, REMEMBERED)
            refused = not accepted
            status = verdict(start, stop, t, length, accepted, np.isfinite(error), tried, limit)
        for n in range(due, kept.shape[0]):
            for r in range(d):
                kept[n, r] = x[r]
        return status, t, t1, evaluations, steps, tried - steps

    return inlined(solve)


@lru_cache(maxsize=128)
def adaptive_kernel(drift: Any, prepare: Any, d: int, dtype: np.dtype[Any]) -> Callable[..., None]:
    """Compile the solve of samples ``begin`` to ``end``; per sample it writes where, when and why it ended."""
    solve, number = _sample(drift, prepare, d, dtype), dtype.type

    def march(x, ts, weights, limit, parameters, xs, status, times, counts, begin, end):  # type: ignore[no-untyped-def]
        state, z, spare = np.empty(d, number), np.empty(d, number), np.empty(d, number)
        slopes = np.empty((max(2, weights[0].shape[0]), d), number)
        for b in range(begin, end):
            for r in range(d):
                state[r] = x[b, r]
            found = solve(state, z, spare, slopes, ts, weights, limit, xs[b], parameters)
            status[b], times[0, b], times[1, b] = found[0], found[1], found[2]
            counts[0, b], counts[1, b], counts[2, b] = found[3], found[4], found[5]
            for r in range(d):
                x[b, r] = state[r]

    return compiled(march)
