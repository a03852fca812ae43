"""The quick start on an install that has the core dependencies alone: no torch, no matplotlib, no tqdm."""

import importlib.util
import sys

import numpy as np

from interpolants import Gaussian, Path, Schedule, certify, reverse_sde, t, transport_cost
from interpolants import diffusion as w
from solvers import EulerMaruyama, solve, uniform

HEAVY = ("torch", "matplotlib", "tqdm", "numba", "sklearn", "safetensors")


def main() -> None:
    schedule = Schedule("quadratic", alpha=1 - t**2, sigma=t**2)
    path = Path(schedule, Gaussian([1.0, -1.0], [[1.0, 0.6], [0.6, 0.5]]))
    rng = np.random.default_rng(0)
    sde = reverse_sde(schedule, path.velocity, w.Sigma())
    solution = solve(sde, path.prior(10_000, rng), uniform(50), EulerMaruyama(), rng=rng)
    loaded = [name for name in HEAVY if name in sys.modules]
    installed = [name for name in HEAVY if importlib.util.find_spec(name)]
    if loaded or not certify(schedule).ok or not np.isfinite(solution.x).all():
        sys.exit(f"quick start failed: loaded {loaded}, certificate {certify(schedule).ok}")
    print(
        f"cost {transport_cost(path):.6f}, {solution.nfe} evaluations, heavy packages installed: {installed or 'none'}"
    )


if __name__ == "__main__":
    main()
