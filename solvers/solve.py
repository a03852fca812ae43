"""The only loop: from one time of a grid to the next, with a method, until the end.

What can be known without calling the problem is checked before it is called: the state, the grid, the domain, the
poles, the generator. Times are Python floats throughout, so nothing here waits for a device, but for the one look at
the result that tells NaN from numbers.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

import numpy as np

from solvers.adaptive import Adaptive, AdaptiveSolution, solve_adaptively
from solvers.arrays import Array, all_finite, check_state, describe, looks_finite, stack
from solvers.check import check_path, check_solve
from solvers.errors import NonFiniteError, explain
from solvers.grid import check_count
from solvers.guard import guard
from solvers.method import Method, on_grid
from solvers.noise import increments
from solvers.problem import Problem
from solvers.progress import shown
from solvers.solution import Solution
from solvers.trees import Layout, Tree, is_tree


@dataclass(frozen=True, slots=True)
class Step:
    """A state reached: after step ``index`` (the first is 1), at ``time``."""

    index: int
    time: float
    x: Array


class Run:
    """A solve whose arguments have been checked and which has not started."""

    def __init__(self, problem: Problem, x: Array, ts: Any, method: Method, rng: Any) -> None:
        self.times = check_solve(problem, ts, method)
        check_state(x)
        if method.stochastic:
            check_path(rng, self.times)
        self.noise = increments(rng, x) if method.stochastic else None
        self.problem, self.counted = guard(problem, x, method.evaluations)
        self.x = x
        self.method = on_grid(method, self.times)

    def states(self) -> Generator[Array, Array | None, None]:
        """Run the loop: yield the state after each step; one that is sent back takes its place and is yielded anew."""
        problem, times, noise, x = self.problem, self.times, self.noise, self.x
        advance = self.method.step
        t0 = times[0]
        state = self.method.init(problem, t0, x)
        for t1 in times[1:]:
            x, state = advance(problem, t0, t1, x, state, noise)
            sent = yield x
            while sent is not None:
                x = self._accepted(sent)
                sent = yield x
            t0 = t1
        self.check_end(x)

    def check_end(self, x: Array) -> None:
        """Refuse a state that has changed its kind: answers are compared with it in the first step only, for speed."""
        if x.shape != self.x.shape or x.dtype != self.x.dtype:
            name = self.problem.evaluated
            wanted = f"{name}(time, x) like x at every time: dtype {self.x.dtype} and shape {tuple(self.x.shape)}"
            remedy = f"look for a branch of {name} that returns another dtype or shape"
            raise TypeError(explain(wanted, f"a last state that is a {describe(x)}", remedy))

    def _accepted(self, sent: Array) -> Array:
        """Refuse a replacement that the rest of the solve could not go on with."""
        shape, dtype = self.x.shape, self.x.dtype
        if getattr(sent, "shape", None) == shape and getattr(sent, "dtype", None) == dtype:
            return sent
        wanted = f"a state like x: dtype {dtype} and shape {tuple(shape)}"
        raise TypeError(explain(wanted, f"{describe(sent)} from send()", "send an array like step.x, or None"))


def steps(problem: Problem, x: Tree, ts: Any, method: Method, rng: Any = None) -> Generator[Step, Tree | None, None]:
    """Solve one step at a time: the loop of ``solve`` as a generator, for previews, callbacks and constraints.

    ``send(x)`` replaces the state that was just reached and returns that step anew, so a loop reads::

        run = steps(problem, x, ts, method, rng)
        for step in run:
            run.send(constrained(step.time, step.x))

    The arguments are those of ``solve``, trees included, and are checked when ``steps`` is called, not at the first
    step. The states are not checked for NaN: nothing here looks at a value, so the loop can be traced and transformed.

    Yields:
        Step(index, time, x) after each step; the start is not among them.
    """
    if isinstance(method, Adaptive):
        remedy = "call solve with Adaptive, or give steps the method inside it"
        raise TypeError(explain("a method of fixed steps, such as Dopri5()", "Adaptive", remedy))
    if is_tree(x):
        layout = Layout(x)
        return layout.steps(steps(layout.problem(problem), layout.x, ts, method, layout.noise(rng)))
    return _labelled(Run(problem, x, ts, method, rng))


def _labelled(run: Run) -> Generator[Step, Array | None, None]:
    states = run.states()
    for index, x in enumerate(states, start=1):
        sent = yield Step(index, run.times[index], x)
        while sent is not None:
            sent = yield Step(index, run.times[index], states.send(sent))


def solve(
    problem: Problem,
    x: Tree,
    ts: Any,
    method: Method | Adaptive,
    *,
    rng: Any = None,
    save: bool = False,
    progress: bool = False,
    check_every: int | None = None,
) -> Solution:
    """Solve a problem over a grid of times, with a step from each time to the next, or with steps of its own choice.

    Args:
        problem: an ODE, an SDE or a Denoising.
        x: the state at the first time, a numpy, torch or jax array with a real floating dtype; it is not changed. Or a
            tuple, list or dict of such arrays, nested as you like (:mod:`solvers.trees`): the problem is then called
            with, and returns, a tree of the same structure, and so are the states returned.
        ts: times, in the order in which they are visited: ``uniform(n)`` for n steps from noise to data.
        method: such as ``Heun()``; of the kind that the problem needs. :class:`Adaptive` chooses the steps itself
            and takes from ``ts`` the first time, the last and those at which the states are kept.
        rng: randomness for a stochastic method: a numpy Generator, a torch Generator on the device of x, a jax key, or
            an object with ``increments(x)`` such as those of :mod:`solvers.noise`; not used by a deterministic method.
        save: keep the states of all times. Without it memory does not grow with the number of steps.
        progress: show a bar on stderr; tqdm's if it is installed, a line of text if not.
        check_every: look for NaN and infinity every so many steps, not only at the end. Each look waits for the device.

    Returns:
        The solution; an :class:`AdaptiveSolution` from :class:`Adaptive`. Under ``torch.compile`` and ``jax.jit`` the
        values cannot be looked at, and none is checked. For ``torch.compile`` pass the times as a list
        (``uniform(8).tolist()``, made outside), for an array would be traced as a tensor; and noise from an object with
        ``increments(x)``, for a torch Generator cannot be traced.

    Raises:
        TypeError: an argument of the wrong kind; an answer of the problem with another dtype than ``x``.
        ValueError: an impossible grid; an answer of another shape; a diffusion that is negative or not a number.
        PoleError: the method would evaluate the problem at a pole; raised before the first evaluation.
        NonFiniteError: the result is not finite; it carries the solution so far.
    """
    if is_tree(x):
        return _of_tree(problem, Layout(x), ts, method, rng, save, progress, check_every)
    if isinstance(method, Adaptive):
        return _adaptive(problem, x, ts, method, rng, save, progress, check_every)
    run = Run(problem, x, ts, method, rng)
    last = len(run.times) - 1
    every = last if check_every is None else check_count("check_every: a number of steps", check_every)
    xs = [x] if save else None
    states = shown(run.states(), last) if progress else run.states()
    current = x
    if xs is None and every >= last:
        (current,) = deque(states, maxlen=1)  # nothing to do between the steps, and no loop to pay for
    else:
        for index, current in enumerate(states, start=1):
            if xs is not None:
                xs.append(current)
            if index % every == 0 and index < last and not looks_finite(current):
                _raise_non_finite(run, current, xs, index, every)
    if not looks_finite(current):
        _raise_non_finite(run, current, xs, last, every)
    return Solution(current, None if xs is None else stack(xs), np.array(run.times), run.counted.count, "success")


def _of_tree(
    problem: Problem,
    layout: Layout,
    ts: Any,
    method: Method | Adaptive,
    rng: Any,
    save: bool,
    progress: bool,
    check_every: int | None,
) -> Solution:
    """Solve for the leaves of a tree, joined into one array."""
    joined, method, rng = layout.problem(problem), layout.method(method), layout.noise(rng)
    try:
        found = solve(joined, layout.x, ts, method, rng=rng, save=save, progress=progress, check_every=check_every)
    except NonFiniteError as error:
        raise NonFiniteError(str(error), layout.solution(error.solution)) from None
    return layout.solution(found)


def _adaptive(
    problem: Problem, x: Array, ts: Any, method: Adaptive, rng: Any, save: bool, progress: bool, check_every: int | None
) -> AdaptiveSolution:
    """Solve with steps of its own choice; refuse the wishes that need a known number of steps."""
    if progress or check_every is not None:
        wish = "progress" if progress else "check_every"
        remedy = f"leave {wish} out: every step is checked, and their number is not known beforehand"
        raise ValueError(explain("a method of fixed steps", f"Adaptive with {wish}", remedy))
    return solve_adaptively(problem, x, ts, method, save, rng)


def _raise_non_finite(run: Run, x: Array, xs: list[Array] | None, index: int, every: int) -> None:
    """Say as exactly as the states at hand allow where the numbers ended."""
    so_far = Solution(
        x, None if xs is None else stack(xs), np.array(run.times[: index + 1]), run.counted.count, "non-finite"
    )
    seen = max(0, (index - 1) // every * every)
    remedy = "look at the problem there; keep the grid away from times where it diverges, or take smaller steps"
    if not all_finite(run.x):
        where = f"NaN or infinity in the initial state x, at time {run.times[0]!r}"
        remedy = "look at where x comes from; the problem is not to blame"
    elif xs is not None:
        first = next(k for k, state in enumerate(xs) if not all_finite(state))
        where = f"NaN or infinity first in step {first}, from time {run.times[first - 1]!r} to {run.times[first]!r}"
    elif index - seen == 1:
        where = f"NaN or infinity first in step {index}, from time {run.times[seen]!r} to {run.times[index]!r}"
    else:
        where = f"NaN or infinity between step {seen + 1} (from time {run.times[seen]!r}) and step {index}"
        where += f" (to time {run.times[index]!r})"
        remedy = "solve again with check_every=1 or save=True to learn the first bad step"
    raise NonFiniteError(explain("a finite state after every step", where, remedy), so_far)
