r"""What does the diffusion coefficient w do? KL(p₀‖p̂₀) and W₂ against w where both can be computed.

``continuous``: N(½, ¼) and a velocity that is wrong by size · b(t) · (x − αm + ½): the law of the reverse SDE without
steps, from the equations of its moments, and the KL bound. The ODE is c = 0. ``steps``: the exact law of the
exponential sampler with n steps, from the prior. ``crossing``: the smallest n from which w = base is better than the
ODE with as many steps. ``line``: a mixture on the line and a prediction that is wrong by size · b(t) · cos 2x, or the
exact velocity of another mixture; the density of the same sampler's result without Monte Carlo, from the exact marginal
at t = 0.98. ``plane``: a mixture in the plane with half of its velocity taken from another, 250 steps of Euler–Maruyama
from there in compiled code; sliced W₂ from blocks of samples, with the standard error over blocks.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
from line_densities import kl, propagate, wasserstein2
from record import arguments, record

from interpolants import (
    GVP,
    VP,
    Gaussian,
    GaussianMixture,
    Linear,
    Noise,
    Path,
    Velocity,
    bures,
    compiled_sde,
    denoising,
    diffusion,
    kl_bound,
    sampler_law,
    sliced_wasserstein2,
)
from interpolants.divergence import exact_moments, gap
from solvers import EulerMaruyama, ExponentialEulerMaruyama, uniform
from solvers.compiled import CompiledSDE, RowNoise, solve_ensemble

Row = dict[str, Any]
SCHEDULES = (Linear(), GVP(), VP())
BASES = {
    "KL": diffusion.KL(),
    "sigma": diffusion.Sigma(),
    "sin^2": diffusion.SinSquared(),
    "KL, eta": diffusion.KLRegularized(0.5, 1),
}
SHAPES: dict[str, Callable[[float], float]] = {
    "near the noise": lambda time: time**4,
    "everywhere": lambda time: 1.0,
    "near the data": lambda time: (1.0 - time) ** 4,
}
SIZE, MULTIPLES, COUNTS = 0.2, (0.25, 0.5, 1.0, 2.0, 4.0), (10, 25, 50, 100, 250)
MEAN, VARIANCE, STOP = 0.5, 0.25, 0.98
EXPONENTIAL = ExponentialEulerMaruyama()
LINE = GaussianMixture([0.35, 0.65], [[-1.2], [0.8]], [[[0.09]], [[0.25]]])
OTHER_LINE = GaussianMixture([0.45, 0.55], [[-1.1], [0.8]], [[[0.09]], [[0.25]]])
PLANE = GaussianMixture([0.3, 0.4, 0.3], [[-1.0, -0.5], [1.0, -0.5], [0.0, 1.2]], [0.05, 0.1, 0.05])
OTHER_PLANE = GaussianMixture([0.4, 0.4, 0.2], [[-1.2, -0.5], [1.0, -0.3], [0.0, 1.2]], [0.05, 0.1, 0.08])


def gaussian(schedule: Any) -> Path:
    """Return the path to N(½, ¼)."""
    return Path(schedule, Gaussian([MEAN], VARIANCE))


def error(shape: str) -> tuple[Callable[[float], float], Callable[[float], float]]:
    """Return δ(t) and e(t)."""
    return lambda time: SIZE * SHAPES[shape](time), lambda time: 0.5 * SIZE * SHAPES[shape](time)


def continuous(schedule: Any, shape: str, base: str, c: float) -> Row:
    """Return the distances of the law without steps, and the KL bound, for w = c · base."""
    path, (delta, shift), w = gaussian(schedule), error(shape), c * BASES[base]

    def loss(time: float) -> float:
        variance = schedule.alpha(time) ** 2 * VARIANCE + schedule.sigma(time) ** 2
        return float(delta(time) ** 2 * variance + shift(time) ** 2)

    bound = float(kl_bound(path, None, w, excess_loss=loss)) if c else math.inf
    mean, cov = exact_moments(path, delta, shift, w)
    return {
        "kl": gap((VARIANCE - cov[0]) / cov[0], float((mean[0] - MEAN) ** 2 / cov[0, 0])),
        "w2": bures(mean, cov, [MEAN], VARIANCE),
        "bound": bound if math.isfinite(bound) else None,
    }


def continuous_rows(schedules: Sequence[Any], multiples: tuple[float, ...]) -> Iterator[Row]:
    """Yield the laws without steps; c = 0 is one row, for it has no base."""
    for schedule in schedules:
        for shape in SHAPES:
            for base, c in [("", 0.0)] + [(base, c) for base in BASES for c in multiples]:
                place = {"part": "continuous", "schedule": schedule.name, "error": shape, "w": base, "c": c}
                yield place | continuous(schedule, shape, base or "KL", c)


def stepped(schedule: Any, shape: str, base: str, c: float, n: int) -> Row:
    """Return the distances of the exponential sampler with n steps, with or without an error of the model."""
    path = gaussian(schedule)
    delta, shift = error(shape) if shape else (lambda time: 0.0,) * 2

    def model(time: float, x: Any) -> Any:
        return path.velocity(time, x) + delta(time) * (x - float(schedule.alpha(time)) * MEAN) + shift(time)

    law = sampler_law(path, EXPONENTIAL, uniform(n), c * BASES[base], model=model, from_prior=True)
    return {"kl": law.kl(), "w2": law.wasserstein2()}


def stepped_rows(schedules: Sequence[Any], counts: tuple[int, ...]) -> Iterator[Row]:
    """Yield the laws with n steps, and where w = base begins to be better than the ODE."""
    for schedule in schedules:
        for shape in ("", "everywhere"):
            for base in ("KL", "sigma"):
                found = {}
                for c in (0.0, 1.0, 4.0):
                    for n in counts:
                        place = {"schedule": schedule.name, "error": shape, "w": base, "c": c, "n": n}
                        found[c, n] = stepped(schedule, shape, base, c, n)
                        yield {"part": "steps"} | place | found[c, n]
                if shape:
                    gains = {n: found[1.0, n]["kl"] < found[0.0, n]["kl"] for n in counts}
                    first = crossing(gains, partial(_gain, schedule, shape, base))
                    place = {"schedule": schedule.name, "error": shape, "w": base, "c": 1.0, "n": first}
                    yield {"part": "crossing"} | place


def _gain(schedule: Any, shape: str, base: str, n: int) -> bool:
    return bool(stepped(schedule, shape, base, 1.0, n)["kl"] < stepped(schedule, shape, base, 0.0, n)["kl"])


def crossing(gains: dict[int, bool], gain: Callable[[int], bool]) -> int | None:
    """Return the n from which there is a gain, between the last count without and the first with one after it."""
    counts = sorted(gains)
    if not gains[counts[-1]]:
        return None
    losses = [n for n in counts if not gains[n]]
    low = max(losses, default=1)
    high = min(n for n in counts if n > low) if losses else counts[0]
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if gain(middle) else (middle, high)
    return high


def line_rows(schedules: Sequence[Any], counts: tuple[int, ...], points: int) -> Iterator[Row]:
    """Yield the distances on the line: every error and w with the last count, two errors with the others."""
    x = np.linspace(-7.0, 7.0, points)
    truth = LINE.log_density(x[:, None], alpha=1.0, sigma=0.0)
    for schedule in schedules:
        path, other = Path(schedule, LINE), Path(schedule, OTHER_LINE)
        start = path.log_density(STOP, x[:, None])
        for name in ("", "everywhere", "another law", "noise, everywhere"):
            prediction = Noise if name.startswith("noise") else Velocity
            model = other.velocity if name == "another law" else wrong(path, prediction, name.removeprefix("noise, "))
            for n in counts if name in ("", "everywhere") else counts[-1:]:
                for base, w in {"": diffusion.Zero(), **BASES}.items():
                    problem = denoising(schedule, model, prediction, w)
                    found = propagate(problem, EXPONENTIAL, uniform(n, STOP), x, start)
                    place = {"part": "line", "schedule": schedule.name, "error": name, "w": base, "n": n}
                    yield place | {"kl": kl(x, truth, found), "w2": wasserstein2(x, truth, found)}


def wrong(path: Path, prediction: Any, shape: str) -> Callable[[float, Any], Any]:
    """Return a prediction with an error of a shape, or without; at t = 0.98 one of ε̂ counts up to 49 times for x̂."""
    size = SIZE if prediction is Velocity else 0.25 * SIZE

    def model(time: float, x: Any) -> Any:
        exact = path.predict(prediction, time, x)
        return exact + size * SHAPES[shape](time) * np.cos(2.0 * x) if shape else exact

    return model


def between(first: CompiledSDE, second: CompiledSDE) -> CompiledSDE:
    """Return the SDE whose drift is that of the first, and the parameter times its difference from the second."""
    begin, begin_other, drift, drift_other = first.prepare, second.prepare, first.drift, second.drift

    def prepare(time: float, parameters: Any) -> Any:
        return begin(time, None), begin_other(time, None), np.empty(2), parameters

    def mixed(time: float, x: Any, out: Any, given: Any) -> None:
        drift(time, x, out, given[0])
        drift_other(time, x, given[2], given[1])
        for r in range(x.size):
            out[r] += given[3] * (given[2][r] - out[r])

    return CompiledSDE(mixed, first.diffusion, prepare, first.poles, first.domain)


def plane_rows(schedules: Sequence[Any], blocks: int, rows: int, bases: tuple[str, ...]) -> Iterator[Row]:
    """Yield sliced W₂ in the plane, for the exact velocity and for one that is half that of another mixture."""
    rng = np.random.default_rng(0)
    exact = [PLANE.sample(rows, rng) for _ in range(blocks)]
    place = {"part": "plane", "schedule": "", "error": "samples of the target", "w": "", "n": 0}
    yield place | _sliced([PLANE.sample(rows, rng) for _ in range(blocks)], exact)
    for schedule in schedules:
        path, other = Path(schedule, PLANE), Path(schedule, OTHER_PLANE)
        x = path.sample(STOP, blocks * rows, rng)
        for base in bases:
            w = BASES[base] if base else diffusion.Zero()
            problem, grid = between(compiled_sde(path, w), compiled_sde(other, w)), uniform(250, STOP)
            for name, part in (("", 0.0), ("half of another", 0.5)):
                found = solve_ensemble(problem, x, grid, EulerMaruyama(), rng=RowNoise(1), parameters=part).x
                place = {"part": "plane", "schedule": schedule.name, "error": name, "w": base, "n": 250}
                yield place | _sliced(np.split(found, blocks), exact)


def _sliced(found: list[Any], exact: list[Any]) -> Row:
    """Return the mean of sliced W₂ over blocks and its standard error, for the same directions in all."""
    values = [float(sliced_wasserstein2(a, b, 64)) for a, b in zip(found, exact)]
    return {"sliced": float(np.mean(values)), "standard error": float(np.std(values, ddof=1) / math.sqrt(len(values)))}


def main() -> None:
    """Run the parts."""
    options = arguments(__doc__ or "")
    smoke = options.smoke
    schedules = SCHEDULES[:1] if smoke else SCHEDULES
    rows = [
        *continuous_rows(schedules, (1.0,) if smoke else MULTIPLES),
        *stepped_rows(schedules, (5, 10) if smoke else COUNTS),
        *line_rows(schedules, (20,) if smoke else (10, 50, 250), 301 if smoke else 501),
        *plane_rows(schedules, 2 if smoke else 8, 200 if smoke else 5_000, ("sigma",) if smoke else ("", *BASES)),
    ]
    record("what_w_does", rows, ("numpy", "scipy", "sympy", "numba"), options.save)


if __name__ == "__main__":
    main()
