"""How much dearer than its closed form is a transport cost by Monte Carlo, and does it agree?

For each path the exact number, the estimate from n trajectories of the flow (RK4, 64 steps) with its standard error,
how many standard errors lie between them, and the seconds of both, which ran in turn. ``draws for 1e-6`` is the number
of trajectories that would have the relative standard error 1e-6.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from record import arguments, in_turn, record

from interpolants import GVP, VP, Gaussian, GaussianMixture, Linear, Path, transport_cost


def paths() -> dict[str, Path]:
    """Return Gaussian targets in 2 and 64 dimensions under three schedules, and a mixture on the line."""
    rng, found = np.random.default_rng(0), {}
    for schedule in (Linear(), GVP(), VP()):
        for d in (2, 64):
            target = Gaussian(rng.standard_normal(d), np.geomspace(0.1, 2.0, d))
            found[f"{schedule.name}, Gaussian, d = {d}"] = Path(schedule, target)
    modes = GaussianMixture([0.5, 0.5], [[-1.5], [1.5]], [[[0.04]], [[0.04]]])
    return found | {"linear, two modes, d = 1": Path(Linear(), modes)}


def row(name: str, path: Path, n: int, repeats: int) -> dict[str, Any]:
    """Compare both ways on one path."""
    estimate = transport_cost(path, path.velocity, n=n)
    exact, error = float(transport_cost(path)), estimate.standard_error
    times = in_turn(
        lambda: transport_cost(path, path.velocity, n=n, rng=np.random.default_rng(1)),
        lambda: transport_cost(path),
        repeats,
    )
    return {
        "case": name,
        "exact": exact,
        "estimate": float(estimate),
        "standard error": error,
        "deviation": (float(estimate) - exact) / error,
        "n": n,
        "draws for 1e-6": n * (error / exact / 1e-6) ** 2,
        **times,
    }


def main() -> None:
    """Run the cases."""
    options = arguments(__doc__ or "")
    n, repeats = (64, 2) if options.smoke else (4096, 7)
    cases = list(paths().items())
    rows = [row(name, path, n, repeats) for name, path in (cases[:1] if options.smoke else cases)]
    record("transport_cost", rows, ("numpy", "scipy", "interpolants"), options.save)


if __name__ == "__main__":
    main()
