"""Backpropagation through a solve that keeps a few states and repeats the steps between them."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from functools import partial
from itertools import count, pairwise
from typing import Any, TypeAlias

import numpy as np

from solvers.adaptive import Adaptive
from solvers.arrays import Array, is_numpy, is_torch, looks_finite
from solvers.errors import NonFiniteError, explain
from solvers.grid import check_count
from solvers.method import Method
from solvers.noise import Increment, increments, interval_of, with_area
from solvers.problem import Problem
from solvers.solution import Solution
from solvers.solve import Run
from solvers.trees import Layout, Tree, is_tree, leaves, shaped

Advance: TypeAlias = Callable[[Array, Any], tuple[Array, Any]]


def checkpointed(
    problem: Problem, x: Tree, ts: Any, method: Method, *, rng: Any = None, segments: int | None = None
) -> Solution:
    r"""Solve as :func:`solvers.solve` does, with the same result and the same derivatives in less memory.

    The n steps are cut into m segments. Forward, only the state at the start of each is kept, with what the method
    carries: the slopes or predictions of a multistep method, at most three of them. Backward, the segments are run
    once more, the last first. With e bytes for the intermediate numbers of a step, and c for a state and what is
    carried, the peak is about

    .. math:: m\,c + \frac{n}{m}\,e,

    which for :math:`m \approx \sqrt n`, the default, grows like :math:`\sqrt n`. The price is a second evaluation of
    the problem everywhere.

    Args:
        problem: as for ``solve``. With torch, its evaluations must not depend on when they are made: those of
            torch's own generators, as for dropout, are repeated faithfully; other hidden states are not.
        x: torch or jax arrays, or a tree of them.
        ts: times, as for ``solve``.
        method: a method of fixed steps.
        rng: as for ``solve``. The draws of a torch Generator are repeated from its state and those of a path from its
            seed; those of other objects with ``increments`` are kept, n of them.
        segments: m, from 1 to n.

    Returns:
        The solution; its ``nfe`` are the evaluations forward.

    Raises:
        TypeError: numpy arrays, which have no derivatives; Adaptive, whose steps are not known beforehand.
        ValueError: more segments than steps; and all that ``solve`` raises.

    References: Griewank & Walther, Evaluating Derivatives (2008), ch. 12; Chen, Xu, Zhang & Guestrin (2016), Training
    deep nets with sublinear memory cost, arXiv 1604.06174, §4.
    """
    if isinstance(method, Adaptive):
        remedy = "call solve, through whose accepted steps derivatives flow, or pass the method inside"
        raise TypeError(explain("a method of fixed steps, such as Dopri5()", "Adaptive", remedy))
    if is_tree(x):
        layout = Layout(x)
        problem = layout.problem(problem)
        rng = layout.noise(rng)
        return layout.solution(checkpointed(problem, layout.x, ts, method, rng=rng, segments=segments))
    run = Run(problem, x, ts, method, rng)
    if is_numpy(x):
        raise TypeError(explain("torch or jax arrays", "numpy arrays, which have no derivatives", "call solve"))
    n = len(run.times) - 1
    m = math.isqrt(n - 1) + 1 if segments is None else check_count("segments: a number of them", segments)
    if m > n:
        raise ValueError(explain(f"segments: at most {n}, the number of steps", repr(m), "leave it out"))
    bounds = [k * n // m for k in range(m + 1)]
    state = run.method.init(run.problem, run.times[0], x)
    for first, last in pairwise(bounds):
        x, state = _recomputed(_segment(run, rng, run.times[first : last + 1]), x, state)
    run.check_end(x)
    solution = Solution(x, None, np.array(run.times), run.counted.count, "success")
    if not looks_finite(x):
        where = f"NaN or infinity between time {run.times[0]!r} and time {run.times[-1]!r}"
        remedy = "call solve with check_every=1 or save=True to learn the first bad step"
        raise NonFiniteError(explain("a finite state after every step", where, remedy), solution)
    return solution


def _segment(run: Run, rng: Any, times: list[float]) -> Advance:
    """Return the steps over some times as a function that does the same whenever it is called."""
    source = _repeatable(run, rng)

    def advance(x: Array, state: Any) -> tuple[Array, Any]:
        noise = source()
        for t0, t1 in pairwise(times):
            x, state = run.method.step(run.problem, t0, t1, x, state, noise)
        return x, state

    return advance


def _repeatable(run: Run, rng: Any) -> Callable[[], Increment | None]:
    """Return a source of the noise of a segment: the first time it is drawn, later the same comes again."""
    noise, x = run.noise, run.x
    if interval_of(rng) is not None:
        # A path is the same at each visit; what it remembers of one segment, jax must not see in another.
        return lambda: increments(rng, x)
    if noise is None or not is_torch(x):
        # jax looks at a segment once and repeats what it saw.
        return lambda: noise
    torch = sys.modules["torch"]
    if isinstance(rng, torch.Generator):
        start, first = rng.get_state(), [noise]

        def from_state() -> Increment:
            if first:
                return first.pop()
            again = torch.Generator(rng.device)
            again.set_state(start)
            return increments(again, x)

        return from_state
    kept: list[Any] = []
    return lambda: _Kept(noise, kept)


class _Kept:
    """Noise whose draws are kept: asked anew in the same order, it gives the same."""

    def __init__(self, noise: Increment, kept: list[Any]) -> None:
        self.noise = noise
        self.kept = kept
        self.places = count()

    def __call__(self, t0: float, t1: float) -> Array:
        return self._drawn(self.noise, t0, t1)

    def with_area(self, t0: float, t1: float) -> tuple[Array, Array]:
        found: tuple[Array, Array] = self._drawn(partial(with_area, self.noise), t0, t1)
        return found

    def _drawn(self, draw: Callable[[float, float], Any], t0: float, t1: float) -> Any:
        place = next(self.places)
        if place == len(self.kept):
            self.kept.append(draw(t0, t1))
        return self.kept[place]


def _recomputed(advance: Advance, x: Array, state: Any) -> tuple[Array, Any]:
    """Call a segment so that its intermediate numbers are not kept."""
    if is_torch(x):
        from torch.utils.checkpoint import checkpoint

        found: tuple[Array, Any] = checkpoint(advance, x, state, use_reentrant=False)
        return found
    jax = sys.modules["jax"]
    arrays, filled = _split(state)
    after: list[Callable[[list[Array]], Any]] = []

    def pure(x: Array, arrays: list[Array]) -> tuple[Array, list[Array]]:
        x, state = advance(x, filled(arrays))
        arrays, refilled = _split(state)
        after.append(refilled)
        return x, arrays

    x, arrays = jax.checkpoint(pure)(x, arrays)
    return x, after[-1](arrays)


def _split(state: Any) -> tuple[list[Array], Callable[[list[Array]], Any]]:
    """Return the jax arrays of what a method carries, and a function that puts others in their places.

    What is carried beside them, times and coefficients, are numbers of the host, and jax must not see them.
    """
    jax = sys.modules["jax"]
    everything = [leaf for _, leaf in leaves(state, state, "")]

    def filled(arrays: list[Array]) -> Any:
        fresh = iter(arrays)
        return shaped(state, iter([next(fresh) if isinstance(leaf, jax.Array) else leaf for leaf in everything]))

    return [leaf for leaf in everything if isinstance(leaf, jax.Array)], filled
