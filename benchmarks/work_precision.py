"""How small is the error for a number of evaluations? The flow of two mixtures from t = 1 to t = 0, against peers.

Every solver gets the same noise and the same exact velocity under the linear schedule; the error is the root mean
square distance per coordinate to the flow at 1e-12. For each number of evaluations from 5 to 100 the best of all
methods and grids of a library stands for it. Grids from measured local errors were measured on other noise.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any

import numpy as np
from peers import LIBRARIES, Run, counts, installed, powers
from record import arguments, in_turn, record

from interpolants import (
    GaussianMixture,
    Linear,
    Path,
    cosine_optimal,
    denoising,
    probability_flow,
)
from solvers import (
    DDIM,
    DEIS,
    DOP853,
    RES,
    RK4,
    SSPRK3,
    AdamsBashforth,
    Adaptive,
    Bosh3,
    Dopri5,
    DPMSolverPP,
    Euler,
    Heun,
    Midpoint,
    Preconditioned,
    Ralston,
    Tsit5,
    UniPC,
    equidistributed,
    local_errors,
    solve,
    uniform,
)
from solvers.method import evaluation_times

MOST = 100
ODES = (Euler(), Midpoint(), Heun(), Ralston(), SSPRK3(), RK4(), Bosh3(), Dopri5(), Tsit5(), DOP853())
ADAMS = tuple(AdamsBashforth(order) for order in (2, 3, 4))
INNER = (DPMSolverPP(2), DPMSolverPP(3), UniPC(3), UniPC(3, half=True), UniPC(4), DEIS(2), DEIS(3))
EXPONENTIAL = (*INNER, DPMSolverPP(3, "singlestep"), UniPC(2), RES(2, "multistep"), DDIM())
VARIANCES = (0.03, 0.3)
SHIFTS = (0.3, 0.5, 0.7, 2.0, 3.0)


class Case:
    """A mixture, its flow, noise to start from, other noise to measure grids on, and the exact end."""

    def __init__(self, name: str, target: GaussianMixture, rows: int) -> None:
        self.name, self.path = name, Path(Linear(), target)
        self.flow = probability_flow(self.path.schedule, self.path.velocity)
        self.denoising = denoising(self.path.schedule, self.path.velocity)
        self.x = self.path.prior(rows, np.random.default_rng(1))
        self.pilot = self.path.prior(64, np.random.default_rng(2))
        data = target.sample(20_000, np.random.default_rng(3))
        self.mean, self.variance = data.mean(0), float(data.var(0).mean())

    @cached_property
    def exact(self) -> np.ndarray:
        """The data that the flow leads to."""
        return solve(self.flow, self.x, [1.0, 0.0], Adaptive(DOP853(), rtol=1e-12, atol=1e-12)).x

    def error(self, x: np.ndarray) -> float:
        """Return the root mean square distance to it."""
        return float(np.sqrt(((x - self.exact) ** 2).mean()))

    def grids(self, problem: Any, method: Any, n: int, errors: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
        """Yield the grids that a method is tried on."""
        yield from powers(n)
        for shift in SHIFTS:
            yield f"shift {shift:g}", shift * uniform(n) / (1.0 + (shift - 1.0) * uniform(n))
        for variance in (*VARIANCES, self.variance):
            yield f"cosine-optimal for {variance:.2g}", cosine_optimal(self.path.schedule, n, variance)
        yield "equal local errors", equidistributed(n, uniform(32), errors, method.order)


def circle() -> GaussianMixture:
    """Eight narrow Gaussians on a circle."""
    angles = 2.0 * np.pi * np.arange(8) / 8
    means = 1.5 * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    return GaussianMixture([0.125] * 8, means, [0.15**2 * np.eye(2)] * 8)


def clusters() -> GaussianMixture:
    """Ten Gaussians in 64 dimensions."""
    rng = np.random.default_rng(0)
    means, weights = rng.standard_normal((10, 64)), rng.dirichlet(np.full(10, 5.0))
    return GaussianMixture(weights, means, [0.3**2 * np.eye(64)] * 10)


def ours(case: Case, smoke: bool) -> Iterator[tuple[str, Run]]:
    """Yield every method on every grid, and adaptive steps."""
    preconditioned = [Preconditioned(inner, case.mean, case.variance) for inner in INNER]
    pairs = [(case.flow, method) for method in (*ODES, *ADAMS)]
    pairs += [(case.denoising, method) for method in (*EXPONENTIAL, *preconditioned)]

    if smoke:
        pairs = [pairs[2], pairs[-1]]

    def run(x: np.ndarray, problem: Any, ts: Any, method: Any) -> tuple[np.ndarray, int]:
        solution = solve(problem, x, ts, method)
        return solution.x, solution.nfe

    for problem, method in pairs:
        errors = local_errors(problem, case.pilot, uniform(32), method)
        for n in counts(MOST, method.evaluations):
            if evaluations(problem, method, n) > MOST:
                break
            for name, ts in case.grids(problem, method, n, errors):
                yield f"{label(method)}, {n} steps, {name}", lambda x, p=problem, g=ts, m=method: run(x, p, g, m)
    for method in (Bosh3(), Dopri5(), Tsit5(), DOP853()):
        for tol in (10.0 ** (-k / 3) for k in range(2, 25)):
            settings = Adaptive(method, rtol=tol, atol=tol)
            yield f"{label(method)} at {tol:.0e}", lambda x, s=settings: run(x, case.flow, [1.0, 0.0], s)


def evaluations(problem: Any, method: Any, n: int) -> int:
    """Return how often a method evaluates in n steps, start-up included."""
    return sum(1 for _ in evaluation_times(method, uniform(n).tolist(), problem))


def label(method: Any) -> str:
    """Return the class, its order where it has several, and the method inside."""
    inner = f" of {label(method.method)}" if isinstance(method, Preconditioned) else ""
    half = ", half" if getattr(method, "half", False) else ""
    order = f"({method.order}{half})" if "order" in getattr(method, "__dataclass_fields__", {}) else ""
    return type(method).__name__ + order + inner


Best = dict[int, tuple[float, str, Run]]


def envelope(case: Case, runs: Iterator[tuple[str, Run]]) -> Best:
    """Return for each number of evaluations the smallest error that no more than so many reached."""
    found: dict[int, tuple[float, str, Run]] = {}
    for name, run in runs:
        with np.errstate(all="ignore"):
            try:
                x, calls = run(case.x)
            except (ValueError, RuntimeError, IndexError, AssertionError):
                continue  # refused, or no longer finite: no result
        error = case.error(x)
        if calls <= MOST and math.isfinite(error) and error < found.get(calls, (math.inf,))[0]:
            found[calls] = (error, name, run)
    best: Best = {}
    for budget in range(1, MOST + 1):
        candidates = [best[budget - 1]] if budget - 1 in best else []
        candidates += [found[budget]] if budget in found else []
        if candidates:
            best[budget] = min(candidates, key=lambda entry: entry[0])
    return best


def needed(best: Best, error: float) -> int | None:
    """Return the fewest evaluations that reach an error."""
    return next((budget for budget in sorted(best) if best[budget][0] <= error), None)


def rows_of(case: Case, smoke: bool) -> list[dict[str, Any]]:
    """Compare on one case: errors at some budgets, the worst ratio over all, evaluations and seconds to 1e-3."""
    names = ["scipy"] if smoke else installed()
    mine = envelope(case, ours(case, smoke))
    theirs = {name: envelope(case, LIBRARIES[name][1](case.path.velocity, MOST)) for name in names}
    rows: list[dict[str, Any]] = []
    for budget in (budget for budget in (5, 7, 10, 15, 20, 30, 50, 70, 100) if budget in mine):
        row: dict[str, Any] = {"case": case.name, "nfe": budget, "ours": mine[budget][0], "method": mine[budget][1]}
        rows.append(row | {name: best[budget][0] for name, best in theirs.items() if budget in best})
    for name, best in theirs.items():
        ratios = {
            budget: mine[budget][0] / best[budget][0]
            for budget in range(5, MOST + 1)
            if budget in best and budget in mine
        }
        worst = max(ratios, key=lambda budget: ratios[budget])
        rows.append({"case": case.name, "against": name, "worst ratio": ratios[worst], "at nfe": worst})
        for error in (1e-2, 1e-3, 1e-4):
            rows.append({"case": case.name, "against": name, **race(case, mine, best, error, smoke)})
    return rows


def race(case: Case, mine: Best, best: Best, error: float, smoke: bool) -> dict[str, Any]:
    """Count and time what each needs to reach an error."""
    own, other = needed(mine, error), needed(best, error)
    row: dict[str, Any] = {"error": error, "nfe, ours": own, "nfe, theirs": other}
    if own is None or other is None:
        return row
    first, second = mine[own][2], best[other][2]
    return row | {"theirs": best[other][1]} | in_turn(lambda: first(case.x), lambda: second(case.x), 2 if smoke else 20)


def main() -> None:
    """Run both cases."""
    options = arguments(__doc__ or "")
    cases: list[Callable[[], Case]] = [lambda: Case("8 Gaussians, d = 2", circle(), 8 if options.smoke else 128)]
    if not options.smoke:
        cases.append(lambda: Case("10 Gaussians, d = 64", clusters(), 128))
    rows = [row for case in cases for row in rows_of(case(), options.smoke)]
    packages = ("numpy",) if options.smoke else ("numpy", "torch", *installed())
    record("work_precision", rows, packages, options.save)


if __name__ == "__main__":
    main()
