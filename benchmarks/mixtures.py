"""What does compiling a mixture gain? Euler with 100 steps on an ensemble, numba against the arrays of numpy.

``first`` is the loop over ``path.velocity`` and ``second`` one compiled function that calls ``target.compiled``; the
ratio is the gain. The two results agree to round-off, or the script stops.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from record import arguments, in_turn, record

from interpolants import VP, GaussianMixture, Linear, LowRank, Path, Schedule

STEPS = 100


def row(name: str, schedule: Schedule, target: GaussianMixture, particles: int, repeats: int) -> dict[str, Any]:
    """Time both loops on the same particles."""
    path, field = Path(schedule, target), target.compiled(schedule)
    start = np.random.default_rng(0).standard_normal((particles, target.dimension))
    steps = STEPS

    def arrays() -> Any:
        x = start
        for k in range(steps):
            x = x - path.velocity(1.0 - k / steps, x) / steps
        return x

    @numba.njit
    def compiled(x: Any) -> Any:
        for k in range(steps):
            x = x - field(1.0 - k / steps, x) / steps
        return x

    if not np.allclose(arrays(), compiled(start), rtol=1e-9, atol=1e-9):
        raise RuntimeError("the two loops differ")
    return {"case": f"{name}, {schedule.name}, B = {particles}", **in_turn(arrays, lambda: compiled(start), repeats)}


def main() -> None:
    """Run the cases."""
    options = arguments(__doc__ or "")
    rng = np.random.default_rng(1)
    repeats = 2 if options.smoke else 20
    few, many = rng.dirichlet(np.ones(8)), rng.dirichlet(np.ones(64))
    plane, space = rng.standard_normal((8, 2)), rng.standard_normal((64, 16))
    roots = rng.standard_normal((8, 2, 2))
    cases = [
        ("8 full in 2", VP(), GaussianMixture(few, plane, roots @ roots.swapaxes(1, 2) + 0.1 * np.eye(2)), 1),
        ("8 full in 2", VP(), GaussianMixture(few, plane, roots @ roots.swapaxes(1, 2) + 0.1 * np.eye(2)), 256),
        ("8 isotropic in 2", Linear(), GaussianMixture(few, plane, 0.1), 256),
        ("64 diagonal in 16", Linear(), GaussianMixture(many, space, rng.uniform(0.1, 1.0, (64, 16))), 256),
        ("64 of rank 4 in 16", Linear(), GaussianMixture(many, space, LowRank(rng.normal(size=(64, 16, 4)), 0.1)), 64),
    ]
    rows = [row(*case, repeats) for case in cases]
    record("mixtures", rows, ("numpy", "numba"), options.save)


if __name__ == "__main__":
    main()
