"""How large are the weak and the strong error of every stochastic method, for a number of evaluations?

The reverse SDE of N(0.7, 0.3) under Linear with w = σ, from t = 0.9 to 0.2. ``weak``: the relative error of the
variance from the exact law, without Monte Carlo. ``strong``: the root mean square distance to the solution on a grid 16
times as fine, by a method of strong order 3/2, along the same Brownian paths. Orders are slopes over all counts.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from record import arguments, record

from interpolants import Gaussian, Linear, Path, diffusion, reverse_sde, sampler_law
from solvers import SRA1, SRA3, EulerMaruyama, LeimkuhlerMatthews, ShARK, SiTHeun, StochasticHeun, solve, uniform
from solvers.noise import BrownianPath

START, STOP = 0.9, 0.2
METHODS = (EulerMaruyama(), SiTHeun(), StochasticHeun(), LeimkuhlerMatthews(), SRA1(), SRA3(), ShARK())


def rows_of(counts: tuple[int, ...], particles: int) -> list[dict[str, Any]]:
    """Measure all methods on the same paths of noise."""
    path, w = Path(Linear(), Gaussian([0.7], 0.3)), diffusion.Sigma()
    sde, noise = reverse_sde(path.schedule, path.velocity, w), BrownianPath(11, STOP, START)
    x = path.sample(START, particles, np.random.default_rng(0))
    truth = path.schedule.alpha(STOP) ** 2 * 0.3 + path.schedule.sigma(STOP) ** 2
    reference = solve(sde, x, uniform(16 * counts[-1], START, STOP), SRA1(), rng=noise).x
    rows = []
    for method in METHODS:
        errors = []
        for n in counts:
            grid = uniform(n, START, STOP)
            law = sampler_law(path, method, grid, w)
            solution = solve(sde, x, grid, method, rng=noise)
            strong = math.sqrt(float(np.mean((solution.x - reference) ** 2)))
            errors.append((solution.nfe, abs(law.cov.item() / truth - 1), strong))
        orders = [-float(np.polyfit(np.log(counts), np.log([e[k] for e in errors]), 1)[0]) for k in (1, 2)]
        for n, (nfe, weak, strong) in zip(counts, errors):
            row = {"method": type(method).__name__, "steps": n, "nfe": nfe, "weak": weak, "strong": strong}
            rows.append(row | {"weak order": orders[0], "strong order": orders[1]})
    return rows


def main() -> None:
    """Run all methods."""
    options = arguments(__doc__ or "")
    counts, particles = ((4, 8), 10) if options.smoke else ((10, 20, 40, 80, 160), 400)
    record("stochastic_orders", rows_of(counts, particles), ("numpy", "interpolants"), options.save)


if __name__ == "__main__":
    main()
