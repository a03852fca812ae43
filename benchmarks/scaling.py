"""How do the seconds of a solve grow with batch, dimension, steps and processes?

Euler's method on the flow of a mixture of eight Gaussians under Linear, arrays of numpy, one thread. Every case runs in
turn with the smallest of its part, so that a busy machine meets both: ``ratio`` is its time over that of the smallest,
and ``work`` what the ratio would be if time were proportional to the work. Processes: the same batch in each of k at a
time; ``ratio`` near 1 is perfect scaling, and the cores that are free bound it.
"""

from __future__ import annotations

import multiprocessing
import time
from multiprocessing.pool import Pool
from typing import Any

import numpy as np
from record import arguments, in_turn, record
from threadpoolctl import threadpool_limits

from interpolants import GaussianMixture, Linear, Path, probability_flow
from solvers import Euler, solve, uniform


class Case:
    """A solve of one size, ready to be timed."""

    def __init__(self, batch: int = 256, dimension: int = 2, steps: int = 50):
        rng = np.random.default_rng(0)
        means = list(rng.standard_normal((8, dimension)))
        path = Path(Linear(), GaussianMixture([1 / 8] * 8, means, [0.1 * np.eye(dimension)] * 8))
        self.problem, self.grid = probability_flow(path.schedule, path.velocity), uniform(steps)
        self.x = path.prior(batch, rng)

    def __call__(self) -> Any:
        """Solve once."""
        return solve(self.problem, self.x, self.grid, Euler())


def grow(part: str, values: tuple[int, ...], repeats: int) -> list[dict[str, Any]]:
    """Time the sizes of one part, each in turn with the first."""
    first, rows = Case(**{part: values[0]}), []
    for value in values[1:]:
        times = in_turn(Case(**{part: value}), first, repeats)
        rows.append({"part": part, "from": values[0], "to": value, "work": value / values[0], **times})
    return rows


def _work(repeats: int) -> float:
    case = Case(batch=2048)
    case()
    began = time.perf_counter()
    for _ in range(repeats):
        case()
    return time.perf_counter() - began


def processes(counts: tuple[int, ...], repeats: int, each: int) -> list[dict[str, Any]]:
    """Time k processes at once against one alone; what counts is the slowest."""
    context, rows = multiprocessing.get_context("spawn"), []
    for count in counts:
        with context.Pool(count) as pool:
            pool.map(_work, [1] * count, chunksize=1)
            times = in_turn(lambda pool=pool, count=count: _at_once(pool, count, each), lambda: _work(each), repeats)
        rows.append({"part": "processes", "from": 1, "to": count, "work": 1.0, **times})
    return rows


def _at_once(pool: Pool, count: int, each: int) -> float:
    return max(pool.map(_work, [each] * count, chunksize=1))


def main() -> None:
    """Run the parts."""
    options = arguments(__doc__ or "", parts=("batch", "dimension", "steps", "processes"))
    repeats = 2 if options.smoke else 9
    sizes = {"batch": (1, 16, 256, 4096), "dimension": (2, 16, 128), "steps": (10, 100, 1000)}
    rows: list[dict[str, Any]] = []
    with threadpool_limits(1):
        for part in options.parts:
            if part in sizes:
                rows += grow(part, sizes[part][:2] if options.smoke else sizes[part], repeats)
            else:
                rows += processes((2,) if options.smoke else (1, 2), min(repeats, 7), 1 if options.smoke else 10)
    record("scaling", rows, ("numpy", "interpolants"), options.save)


if __name__ == "__main__":
    main()
