"""What do adaptive steps cost? Against scipy's solve_ivp and torchdiffeq, and per sample against shared.

Work is counted as well as timed: ``nfe`` are calls of the drift, ``rows`` the rows in them, ``error`` the largest
distance to a solution at 1e-13, in tolerances.
"""

from __future__ import annotations

import importlib.util
import math
from typing import Any

import numpy as np
import torch
from record import arguments, in_turn, record
from scipy.integrate import solve_ivp

from interpolants import GaussianMixture, Linear, Path, probability_flow
from solvers import DOP853, ODE, Adaptive, Dopri5, Tsit5, solve

SPAN = (0.0, 20.0)
PAIRS = ((Dopri5(), "RK45"), (Tsit5(), "RK45"), (DOP853(), "DOP853"))


def pendulum(time: float, x: Any) -> Any:
    """A driven, damped pendulum: (angle, speed)."""
    return np.stack([x[1], -2.0 * np.sin(x[0]) + 0.3 * math.cos(2.0 * time) - 0.1 * x[1]])


def scipy_rows(tolerance: float, repeats: int) -> list[dict[str, object]]:
    """Time solve with Adaptive against solve_ivp on 64 pendulums with a shared step."""
    x = np.stack([np.linspace(0.1, 2.0, 64), np.linspace(-0.5, 0.5, 64)])
    problem, flat, rows = ODE(pendulum), x.ravel(), []

    def drift(time: float, y: Any) -> Any:
        return pendulum(time, y.reshape(2, 64)).ravel()

    exact = solve_ivp(drift, SPAN, flat, method="DOP853", rtol=1e-13, atol=1e-13).y[:, -1].reshape(2, 64)
    for method, name in PAIRS:
        settings = Adaptive(method, rtol=tolerance, atol=tolerance)
        ours = solve(problem, x, SPAN, settings)
        theirs = solve_ivp(drift, SPAN, flat, method=name, rtol=tolerance, atol=tolerance)
        times = in_turn(
            lambda chosen=settings: solve(problem, x, SPAN, chosen),
            lambda chosen=name: solve_ivp(drift, SPAN, flat, method=chosen, rtol=tolerance, atol=tolerance),
            repeats,
        )
        work = {
            "nfe": ours.nfe,
            "nfe_scipy": theirs.nfev,
            "error": float(abs(ours.x - exact).max()) / tolerance,
            "error_scipy": float(abs(theirs.y[:, -1].reshape(2, 64) - exact).max()) / tolerance,
        }
        rows.append({"case": f"{type(method).__name__} / scipy {name}, tolerance {tolerance:g}", **work, **times})
    return rows


def torchdiffeq_row(tolerance: float, repeats: int) -> dict[str, object]:
    """Time Dopri5 against torchdiffeq's on a network with a shared step."""
    from torchdiffeq import odeint

    network = torch.nn.Sequential(torch.nn.Linear(2, 64), torch.nn.SiLU(), torch.nn.Linear(64, 2))
    x = torch.randn(256, 2, generator=torch.Generator().manual_seed(0))
    problem, ends = ODE(lambda time, x: network(x)), torch.tensor([1.0, 0.0])
    settings = Adaptive(Dopri5(), rtol=tolerance, atol=tolerance)
    times = in_turn(
        lambda: solve(problem, x, [1.0, 0.0], settings),
        lambda: odeint(lambda time, x: network(x), x, ends, rtol=tolerance, atol=tolerance, method="dopri5"),
        repeats,
    )
    return {"case": f"Dopri5 / torchdiffeq, tolerance {tolerance:g}", **times}


def sample_row(tolerance: float, rows: int, repeats: int) -> dict[str, object]:
    """Time and count per_sample against a shared step on the flow of a narrow mixture."""
    means, weights = [[-2.0, 0.0], [2.0, 0.0]], [0.5, 0.5]
    schedule = Linear()
    path = Path(schedule, GaussianMixture(weights, means, [0.01 * np.eye(2)] * 2))
    problem, x = probability_flow(schedule, path.velocity), np.random.default_rng(0).standard_normal((rows, 2))
    own, shared = (Adaptive(Dopri5(), rtol=tolerance, atol=tolerance, per_sample=each) for each in (True, False))
    span = (0.999, 1e-3)
    work = {"rows": solve(problem, x, span, own).rows, "rows_shared": solve(problem, x, span, shared).rows}
    times = in_turn(lambda: solve(problem, x, span, own), lambda: solve(problem, x, span, shared), repeats)
    return {"case": f"per sample / shared, {rows} rows, tolerance {tolerance:g}", **work, **times}


def main() -> None:
    """Run the cases."""
    options = arguments(__doc__ or "")
    torch.set_num_threads(1)
    repeats = 3 if options.smoke else 30
    packages = ["numpy", "scipy", "torch"]
    rows = [row for tolerance in (1e-4, 1e-8) for row in scipy_rows(tolerance, repeats)]
    rows += [sample_row(tolerance, count, repeats) for tolerance in (1e-4, 1e-7) for count in (64, 1024)]
    if importlib.util.find_spec("torchdiffeq") is not None:
        packages.append("torchdiffeq")
        with torch.no_grad():
            rows += [torchdiffeq_row(tolerance, repeats) for tolerance in (1e-4, 1e-6)]
    record("adaptive", rows, tuple(packages), options.save)


if __name__ == "__main__":
    main()
