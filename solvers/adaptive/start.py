"""An adaptive solve from its arguments to its solution."""

from __future__ import annotations

from typing import Any

import numpy as np

from solvers.adaptive.path_run import PathRun, expect_path
from solvers.adaptive.run import Run
from solvers.adaptive.settings import Adaptive
from solvers.adaptive.solution import AdaptiveSolution
from solvers.arrays import Array, all_finite, check_state
from solvers.check import check_adaptive
from solvers.errors import NonFiniteError, explain
from solvers.problem import Problem


def solve_adaptively(problem: Problem, x: Array, ts: Any, settings: Adaptive, save: bool, rng: Any) -> AdaptiveSolution:
    """Return what ``solve`` returns with an :class:`Adaptive` method."""
    times = check_adaptive(problem, ts, settings.method)
    check_state(x)
    if settings.per_sample and x.ndim == 0:
        remedy = "give x a batch axis, or leave per_sample out"
        raise ValueError(explain("x of shape (B, …) for per_sample=True", "shape ()", remedy))
    if 0 in x.shape:
        raise ValueError(explain("a state with entries, for their error is measured", f"{x.shape}", "skip the solve"))
    if settings.method.stochastic:
        path = expect_path(rng, times)
        run: Run = PathRun(problem, x, np.array(times), settings, save, path)
    else:
        run = Run(problem, x, np.array(times), settings, save)
    if not all_finite(x):
        run.record.finish(run.alive, run.t, x, np.full(run.alive.size, "non-finite"))
        where = f"NaN or infinity in the initial state x, at time {times[0]!r}"
        remedy = "look at where x comes from; the problem is not to blame"
        raise NonFiniteError(explain("a finite state after every step", where, remedy), run.solution())
    # Trial steps may overflow: the estimate sees it and the step is refused, so numpy need not say it as well.
    with np.errstate(over="ignore", invalid="ignore"):
        run.begin()
        while run.alive.size:
            run.advance()
    return run.solution_or_error()
