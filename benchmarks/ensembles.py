"""What does an ensemble cost in compiled code? Against jitted diffrax, and against our own loop over arrays.

Fixed steps: Euler, 250 or 2500 steps, states of shape (256, 2), one thread. Own steps: Dopri5 with a step for each of
1024 samples, diffrax under ``vmap``; ``error`` is the largest distance to a solution at 1e-12, in tolerances, and
``nfe`` the evaluations of all samples together. diffrax runs as ``jax.jit`` compiles it, without a limit on the number
of steps, which is its fastest form here. In every row ``first`` is :mod:`solvers.compiled`, and ``ratio`` its time over
that of the other. Noise: 250 steps on a Gaussian in two dimensions, beside drawing the same normals without a step, and
beside numpy's generator drawing as many; there the times are minima, for either is bound by the processor alone.
"""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from record import arguments, in_turn, record

from interpolants import (
    VP,
    Gaussian,
    GaussianMixture,
    Linear,
    Path,
    compiled_flow,
    compiled_sde,
    diffusion,
    probability_flow,
)
from solvers import ODE, RK4, Adaptive, Dopri5, Euler, EulerMaruyama, StochasticHeun, solve, uniform
from solvers.compiled import CompiledODE, CompiledSDE, RowNoise, solve_ensemble
from solvers.compiled.fixed import LANES
from solvers.compiled.jit import compiled
from solvers.compiled.normals import fill_normals

STEPS = 250
Drift = Callable[..., Any]


def decay(time: float, x: Any, out: Any, parameters: Any) -> None:
    """Write -x."""
    for r in range(x.size):
        out[r] = -x[r]


def cubic(time: float, x: Any, out: Any, parameters: Any) -> None:
    """Write t x - x³."""
    for r in range(x.size):
        out[r] = time * x[r] - x[r] * x[r] * x[r]


def sine(time: float, x: Any, out: Any, parameters: Any) -> None:
    """Write t x - sin x."""
    for r in range(x.size):
        out[r] = time * x[r] - math.sin(x[r])


def wave(time: float, x: Any, out: Any, parameters: Any) -> None:
    """Write a rotation that is the faster the larger the row, so that samples need different steps."""
    size = 1.0 + x[0] * x[0] + x[1] * x[1]
    c = math.cos(3.0 * time) / size
    out[0] = c * x[0] - size * x[1]
    out[1] = c * x[1] + size * x[0]


def wave_of_arrays(time: Any, x: Any, xp: Any) -> Any:
    """Return the same for the last axis of an array."""
    size = 1.0 + x[..., 0] * x[..., 0] + x[..., 1] * x[..., 1]
    c = xp.cos(3.0 * time) / size
    return xp.stack([c * x[..., 0] - size * x[..., 1], c * x[..., 1] + size * x[..., 0]], -1)


FIXED: dict[str, tuple[Drift, Drift]] = {
    "-x": (decay, lambda time, x, xp: -x),
    "t x - x^3": (cubic, lambda time, x, xp: time * x - x * x * x),
    "t x - sin x": (sine, lambda time, x, xp: time * x - xp.sin(x)),
}


def agree(a: Any, b: Any, tolerance: float) -> None:
    """Stop where two loops differ."""
    if not np.allclose(a, b, rtol=tolerance, atol=tolerance):
        raise RuntimeError("the two loops differ")


def diffrax_euler(drift: Drift, x: Any, steps: int) -> Callable[[], Any]:
    """Return Euler's method of diffrax on a drift, jitted, in the precision of x."""
    import diffrax
    import jax

    jax.config.update("jax_enable_x64", x.dtype == np.float64)
    term = diffrax.ODETerm(lambda time, y, _: drift(time, y, jax.numpy))

    @jax.jit
    def run(y: Any) -> Any:
        return diffrax.diffeqsolve(term, diffrax.Euler(), 0.0, 1.0, 1.0 / steps, y, max_steps=None).ys[-1]

    start = jax.numpy.asarray(x)
    return lambda: run(start).block_until_ready()


def fixed_rows(repeats: int, peers: bool) -> list[dict[str, object]]:
    """Time Euler's method on three drifts; ten times the steps show what is left without the cost of a call."""
    rows: list[dict[str, object]] = []
    for dtype in (np.float64, np.float32):
        x = np.random.default_rng(0).standard_normal((256, 2)).astype(dtype)
        for name, (row, arrays) in FIXED.items():
            case = f"Euler, {name}, {x.dtype}"
            if peers:
                for steps in (STEPS, 10 * STEPS):
                    run = diffrax_euler(arrays, x, steps)
                    rows.append(fixed_row(f"{case}, {steps} steps / diffrax", row, x, steps, run, repeats))
            for library, xp, start in (("numpy", np, x), ("torch", torch, torch.from_numpy(x))):
                problem = ODE(lambda time, y, f=arrays, xp=xp: f(time, y, xp))
                run = solved(problem, start)
                rows.append(fixed_row(f"{case}, {STEPS} steps / solve, {library}", row, x, STEPS, run, repeats))
    return rows


def solved(problem: ODE, x: Any) -> Callable[[], Any]:
    """Return our own loop over arrays."""
    grid, method = uniform(STEPS, 0.0, 1.0), Euler()
    return lambda: solve(problem, x, grid, method).x


def fixed_row(
    case: str, drift: Drift, x: Any, steps: int, theirs: Callable[[], Any], repeats: int
) -> dict[str, object]:
    """Time Euler's method in compiled code against another."""
    problem, grid, method = CompiledODE(drift), uniform(steps, 0.0, 1.0), Euler()

    def ours() -> Any:
        return solve_ensemble(problem, x, grid, method).x

    agree(ours(), theirs(), 1e-9 if x.dtype == np.float64 else 1e-3)
    found = in_turn(ours, theirs, repeats)
    return {"case": case, "us_per_step": found["first"] / steps * 1e6} | found


def diffrax_dopri5(x: Any, span: tuple[float, float], tolerance: float) -> Callable[[], tuple[Any, Any]]:
    """Return Dopri5 of diffrax on the wave, a step for each sample, jitted; it gives states and numbers of steps."""
    import diffrax
    import jax

    jax.config.update("jax_enable_x64", True)
    term = diffrax.ODETerm(lambda time, y, _: wave_of_arrays(time, y, jax.numpy))
    control = diffrax.PIDController(rtol=tolerance, atol=tolerance)

    def one(y: Any) -> Any:
        found = diffrax.diffeqsolve(term, diffrax.Dopri5(), *span, None, y, stepsize_controller=control, max_steps=None)
        return found.ys[-1], found.stats["num_steps"]

    run, start = jax.jit(jax.vmap(one)), jax.numpy.asarray(x)
    return lambda: jax.block_until_ready(run(start))


def adaptive_rows(repeats: int, peers: bool) -> list[dict[str, object]]:
    """Time Dopri5 on samples of different difficulty, and compare errors and evaluations."""
    x = np.geomspace(0.01, 1.5, 1024)[:, None] * np.array([[1.0, -0.7]])
    span, problem, rows = (0.0, 3.0), CompiledODE(wave), []
    arrays = ODE(lambda time, y: wave_of_arrays(time, y, np))

    def settings(tolerance: float) -> Adaptive:
        return Adaptive(Dopri5(), rtol=tolerance, atol=tolerance, per_sample=True)

    exact = solve_ensemble(problem, x, span, settings(1e-12)).x
    for tolerance in (1e-4, 1e-7, 1e-10):
        chosen = settings(tolerance)
        found = solve_ensemble(problem, x, span, chosen)
        work: dict[str, object] = {"nfe": int(found.nfes.sum()), "error": float(abs(found.x - exact).max()) / tolerance}

        def ours(chosen: Adaptive = chosen) -> Any:
            return solve_ensemble(problem, x, span, chosen)

        name = f"Dopri5 per sample, 1024 rows, tolerance {tolerance:g}"
        if peers:
            theirs = diffrax_dopri5(x, span, tolerance)
            states, steps = theirs()
            # First same as last: six evaluations a step, and two for the first slope and length.
            other = {
                "nfe_other": int((6 * steps + 2).sum()),
                "error_other": float(abs(states - exact).max()) / tolerance,
            }
            rows.append({"case": f"{name} / diffrax vmap", **work, **other, **in_turn(ours, theirs, repeats)})
        rows.append(
            {
                "case": f"{name} / solve, numpy",
                **work,
                **in_turn(ours, lambda s=chosen: solve(arrays, x, span, s), min(repeats, 5)),
            }
        )
    return rows


def flow_rows(points: int, repeats: int) -> list[dict[str, object]]:
    """Time the exact flow of mixtures of eight Gaussians, RK4 with 50 steps, with one thread and with two."""
    rng, grid, method = np.random.default_rng(1), uniform(50), RK4()
    means, weights = rng.standard_normal((8, 2)), rng.dirichlet(np.ones(8))
    rows = []
    for schedule in (Linear(), VP()):
        path = Path(schedule, GaussianMixture(weights, means, 0.05))
        problem, arrays = compiled_flow(path), probability_flow(schedule, path.velocity)
        x = path.prior(points, rng)
        agree(solve_ensemble(problem, x, grid, method).x, solve(arrays, x, grid, method).x, 1e-9)
        for threads in (1, 2):
            found = in_turn(
                lambda p=problem, x=x, n=threads: solve_ensemble(p, x, grid, method, threads=n),
                lambda p=arrays, x=x: solve(p, x, grid, method),
                repeats,
            )
            each = found["first"] / points / 200 * 1e9
            name = f"flow of 8 in 2, {schedule.name}, {points} points, threads {threads} / solve, numpy"
            rows.append({"case": name, "ns_per_evaluation": each} | found)
    return rows


def drawing(d: int) -> Callable[[int, int, int], float]:
    """Compile a loop that draws the normals of a solve and does nothing with them but to add one of 64."""
    fill = fill_normals(d, LANES)

    @compiled
    def draw(rows: int, steps: int, seed: int) -> float:
        z, words, total = np.empty((d, LANES)), np.empty((2, LANES), np.uint64), 0.0
        for base in range(0, rows, LANES):
            for step in range(steps):
                fill(z, words, np.uint64(base), np.uint64(step), np.uint64(seed))
                total += z[0, 0]
        return total

    return draw


def noise_rows(rows: int, repeats: int) -> list[dict[str, object]]:
    """Time steps with noise beside the drawing of their normals, by the same generator and by numpy's."""
    path, grid, found = Path(Linear(), Gaussian([0.5, -1.0], [0.25, 0.5])), uniform(STEPS), []
    full = Path(Linear(), Gaussian([0.5, -1.0], [[0.25, 0.1], [0.1, 0.5]]))
    x, noise = path.prior(rows, np.random.default_rng(0)), RowNoise(1)
    normals, rng, room = drawing(2), np.random.default_rng(0), np.empty(100_000)

    def by_numpy() -> None:
        for _ in range(rows * 2 * STEPS // room.size):
            rng.standard_normal(out=room)

    for method, target in ((EulerMaruyama(), path), (EulerMaruyama(), full), (StochasticHeun(), path)):
        problem = compiled_sde(target, diffusion.Sigma())

        def ours(problem: CompiledSDE = problem, method: Any = method) -> Any:
            return solve_ensemble(problem, x, grid, method, rng=noise)

        name = f"{type(method).__name__}, {'full' if target is full else 'diagonal'} Gaussian in 2, {rows} rows"
        others = {"the same normals": lambda: normals(rows, STEPS, 1)}
        if not found:
            others["numpy's normals"] = by_numpy
        for other, theirs in others.items():
            timed = in_turn(ours, theirs, repeats, least=True)
            each = timed["first"] / rows / STEPS / 2 * 1e9
            found.append({"case": f"{name} / {other}", "ns_per_normal": each} | timed)
    return found


def main() -> None:
    """Run the cases."""
    options = arguments(__doc__ or "")
    torch.set_num_threads(1)
    peers = importlib.util.find_spec("diffrax") is not None
    repeats = 3 if options.smoke else 100
    rows = fixed_rows(repeats, peers)
    rows += adaptive_rows(3 if options.smoke else 15, peers)
    rows += flow_rows(2_000 if options.smoke else 100_000, 3)
    rows += noise_rows(1_000 if options.smoke else 1_000_000, 3)
    packages = ("numpy", "numba", "torch", *(("jax", "diffrax") if peers else ()))
    record("ensembles", rows, packages, options.save)


if __name__ == "__main__":
    main()
