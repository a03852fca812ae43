"""The solve of an ensemble: what is refused, how samples are shared among threads, what comes back."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from solvers.adaptive import Adaptive
from solvers.arrays import all_finite, describe
from solvers.check import check_interval, check_poles, check_within, expect_method
from solvers.compiled.adaptive import adaptive_kernel
from solvers.compiled.control import NON_FINITE, STATUSES, SUCCESS, limits
from solvers.compiled.fixed import LANES, fixed_kernel
from solvers.compiled.problem import Compiled, CompiledODE, CompiledSDE
from solvers.compiled.row_noise import expect_noise
from solvers.compiled.solution import EnsembleSolution
from solvers.compiled.stochastic import stochastic_kernel
from solvers.compiled.weights import weights
from solvers.errors import NonFiniteError, explain
from solvers.grid import check_count, check_grid
from solvers.guard import checked_scalar
from solvers.runge_kutta import RungeKutta
from solvers.stochastic import EulerMaruyama, StochasticHeun

Samples = NDArray[Any]
March = Callable[[Samples, Samples, int, int, int], int]
"""Solves rows ``begin`` to ``end`` of x in place, of which the first is row ``row`` of the ensemble."""


def solve_ensemble(
    problem: CompiledODE | CompiledSDE,
    x: Samples,
    ts: Any,
    method: RungeKutta | Adaptive | EulerMaruyama | StochasticHeun,
    *,
    rng: Any = None,
    parameters: Any = None,
    save: bool = False,
    threads: int = 1,
) -> EnsembleSolution:
    """Solve a problem for every row of ``x``, in compiled code.

    The result is that of :func:`solvers.solve`, to round-off. A sample does not depend on the others, nor on the
    number of threads, to the last bit: the noise of row i is a function of the seed and of i. With a float32 state sums
    of slopes are taken in float32; times, steps and error norms are float64 in any case.

    Args:
        problem: the drift.
        x: the states at the first time, a numpy array of float64 or float32, shape (B, d); it is not changed.
        ts: times, in the order in which they are visited: ``uniform(n)`` for n steps from noise to data.
        method: a Runge–Kutta method for the steps of the grid, or ``Adaptive(Dopri5(), per_sample=True)``, without
            events: each sample then has its own time and steps, and ``ts`` has the first time, the last, and those
            between them at which states are saved from dense output. For a :class:`CompiledSDE`
            ``EulerMaruyama()`` or ``StochasticHeun()``.
        rng: for a :class:`CompiledSDE`, a :class:`RowNoise`, or a numpy Generator, from which its seed is drawn.
        parameters: what the drift is given besides time and state, the same for all samples: None, a number, an array,
            or a tuple of these. A number that differs between samples is one more entry of x, with slope 0.
        save: keep the states of all times, ``xs`` of shape (n + 1, B, d).
        threads: how many threads share the samples.

    Returns:
        The solution, with the status and the number of evaluations of each sample.

    Raises:
        TypeError: an argument of the wrong kind; a drift that numba does not compile, with numba's reason.
        ValueError: an impossible grid or shape; adaptive settings that mean something else here.
        PoleError: the problem would be evaluated at a pole; raised before the first evaluation.
        NonFiniteError: a sample is not finite; the message names it and the time, and the solution holds all others.
    """
    _check(problem, x, method)
    grid = check_grid(ts)
    check_within(problem, [float(grid[0]), float(grid[-1])])
    if isinstance(method, Adaptive):
        check_interval(problem, grid.tolist())
    elif problem.poles:
        check_poles(problem, grid.tolist(), method)
    threads = check_count("threads: how many share the samples", threads)
    if isinstance(problem, CompiledSDE):
        return _fixed(_noisy(problem, x, grid, method, rng, parameters), x, grid, save, threads)
    if isinstance(method, Adaptive):
        return _adaptive(problem.functions(x.dtype, parameters, "C"), x, grid, method, parameters, save, threads)
    return _fixed(_plain(problem, x, grid, method, parameters), x, grid, save, threads)


def _check(problem: Any, x: Any, method: Any) -> None:
    """Refuse arguments of another kind."""
    if not isinstance(problem, Compiled):
        remedy = "wrap the function: CompiledODE(drift), or CompiledSDE(drift, diffusion)"
        raise TypeError(explain("a CompiledODE or a CompiledSDE", type(problem).__name__, remedy))
    if not isinstance(x, np.ndarray) or x.dtype not in (np.float32, np.float64):
        remedy = "convert it first, e.g. np.asarray(x, dtype=np.float64)"
        raise TypeError(explain("x: a numpy array of float64 or float32", describe(x), remedy))
    if x.ndim != 2 or 0 in x.shape:
        remedy = "give each sample a row: x.reshape(B, d), or x[None] for one sample"
        raise ValueError(explain("x of shape (B, d), neither of them 0", f"shape {x.shape}", remedy))
    if isinstance(problem, CompiledSDE):
        if not isinstance(method, (EulerMaruyama, StochasticHeun)):
            remedy = "choose one of these; solvers.solve has the others"
            received = repr(method) if isinstance(method, type) else type(method).__name__
            raise TypeError(explain("EulerMaruyama() or StochasticHeun() for a CompiledSDE", received, remedy))
    elif isinstance(method, Adaptive):
        if not method.per_sample or method.events:
            received = "events" if method.per_sample else "per_sample=False"
            remedy = "pass Adaptive(Dopri5(), per_sample=True); solvers.solve knows shared steps and events"
            raise ValueError(explain("Adaptive with per_sample=True and without events", received, remedy))
    elif not isinstance(method, RungeKutta):
        expect_method(method)
        remedy = "choose one of solvers.runge_kutta, such as RK4(), or Adaptive(Dopri5(), per_sample=True)"
        raise TypeError(explain("a Runge–Kutta method", type(method).__name__, remedy))


def _share(work: Callable[[int, int], Any], count: int, grain: int, threads: int) -> list[Any]:
    """Call ``work(begin, end)`` on pieces of about ``grain`` samples, in threads; no result depends on the pieces."""
    if threads == 1 or count <= grain:
        return [work(0, count)]
    pieces = [(begin, min(begin + grain, count)) for begin in range(0, count, grain)]
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(lambda piece: work(*piece), pieces))


def _plain(problem: CompiledODE, x: Samples, ts: Samples, method: Any, parameters: Any) -> March:
    """Return the steps of a Runge–Kutta method."""
    kernel = fixed_kernel(*problem.functions(x.dtype, parameters, "A"), x.shape[1], x.dtype)
    lower, nodes, _, _, last = weights(method.tableau)

    def march(x: Samples, xs: Samples, row: int, begin: int, end: int) -> int:
        return kernel(x, ts, lower, nodes, last, parameters, xs, begin, end)

    return march


def _noisy(problem: CompiledSDE, x: Samples, ts: Samples, method: Any, rng: Any, parameters: Any) -> March:
    """Return the steps of a stochastic method, with the size of the noise of every step."""
    noise, heun = expect_noise(rng), isinstance(method, StochasticHeun)
    remedy = "look at the diffusion there; keep the grid away from times where it diverges"
    diffusion = checked_scalar("diffusion", problem.diffusion, remedy)
    levels = np.array([diffusion(float(time)) for time in (ts if heun else ts[:-1])])
    kicks = np.sqrt(abs(np.diff(ts))) * (0.5 * (levels[:-1] + levels[1:]) if heun else levels)
    kernel = stochastic_kernel(*problem.functions(x.dtype, parameters, "A"), heun, x.shape[1], x.dtype)
    seed = np.uint64(noise.seed)

    def march(x: Samples, xs: Samples, row: int, begin: int, end: int) -> int:
        return kernel(x, ts, kicks, parameters, xs, seed, np.uint64(noise.first + row), begin, end)

    return march


def _fixed(march: March, start: Samples, ts: Samples, save: bool, threads: int) -> EnsembleSolution:
    """Solve over the grid."""
    count, d = start.shape
    x, xs = start.copy(order="C"), np.empty((ts.size if save else 0, count, d), start.dtype)
    if save:
        xs[0] = x
    blocks = -(-count // LANES)
    grain = LANES * -(-blocks // threads)
    nfe = _share(lambda begin, end: march(x, xs, 0, begin, end), count, grain, threads)[0]
    counts = np.empty((3, count), np.int64)
    counts[0], counts[1], counts[2] = nfe, ts.size - 1, 0
    time = np.full(count, ts[-1])
    if all_finite(x):
        names = np.full(count, STATUSES[SUCCESS], "<U10")
        return EnsembleSolution(x, xs if save else None, ts, nfe, STATUSES[SUCCESS], time, names, *counts)
    bad = ~np.isfinite(x).all(1)
    # The first bad sample is solved again by itself, which gives the same numbers, for the step in which they ended.
    sample = int(bad.argmax())
    alone, states = start[[sample]], np.empty((ts.size, 1, d), start.dtype)
    states[0] = alone
    march(alone, states, sample, 0, 1)
    step = int((~np.isfinite(states).all((1, 2))).argmax())
    where = f"NaN or infinity first in step {step} of sample {sample}, "
    where += f"from time {float(ts[step - 1])!r} to {float(ts[step])!r}"
    status = np.where(bad, NON_FINITE, SUCCESS)
    solution = _solution(x, xs if save else None, ts, time, status, counts)
    raise _not_finite([where], start, solution)


def _adaptive(
    functions: Any, start: Samples, ts: Samples, method: Adaptive, parameters: Any, save: bool, threads: int
) -> EnsembleSolution:
    """Solve with steps of each sample's own."""
    count, d = start.shape
    kernel, table = adaptive_kernel(*functions, d, start.dtype), weights(method.method.tableau)
    limit, x = limits(method), start.copy(order="C")
    xs = np.empty((count, ts.size if save else 0, d), x.dtype)
    if save:
        xs[:, 0] = x
    status, times, counts = np.empty(count, np.int64), np.empty((2, count)), np.empty((3, count), np.int64)

    def work(begin: int, end: int) -> None:
        kernel(x, ts, table, limit, parameters, xs, status, times, counts, begin, end)

    _share(work, count, max(1, -(-count // (8 * threads))), threads)
    # A drift that does not look at the state can carry it to infinity without an error.
    if not all_finite(x):
        status[~np.isfinite(x).all(1)] = NON_FINITE
    solution = _solution(x, xs.swapaxes(0, 1) if save else None, ts, times[0], status, counts)
    bad = np.flatnonzero(status == NON_FINITE)
    if not bad.size:
        return solution
    tried = counts[1] + counts[2]
    where = [
        f"NaN or infinity in step {tried[b]} of sample {b}, from time {float(times[0, b])!r} to {float(times[1, b])!r}"
        for b in bad[:3]
    ]
    raise _not_finite(where, start, solution)


def _solution(
    x: Samples, xs: Samples | None, ts: Samples, time: Samples, status: Samples, counts: Samples
) -> EnsembleSolution:
    names, worst = np.array(STATUSES)[status], STATUSES[status.max()]
    return EnsembleSolution(x, xs, ts, int(counts[0].max()), worst, time, names, *counts)


def _not_finite(where: list[str], start: Samples, solution: EnsembleSolution) -> NonFiniteError:
    """Say where numbers were not finite; a start that is not finite is looked for only where the end is not either."""
    remedy = "look at the problem there; keep the grid away from times where it diverges; write all of out in the drift"
    if not all_finite(start):
        sample = int((~np.isfinite(start).all(1)).argmax())
        where = [f"NaN or infinity in sample {sample} of the initial state x, at time {float(solution.ts[0])!r}"]
        remedy = "look at where x comes from; the problem is not to blame"
    count = int((solution.statuses == STATUSES[NON_FINITE]).sum())
    more = f" ({count} samples in all)" if count > len(where) else ""
    return NonFiniteError(explain("a finite state after every step", "; ".join(where) + more, remedy), solution)
