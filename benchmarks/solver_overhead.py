"""What does a solve cost beside a hand-written loop? Euler, 250 steps, x of shape (256, 2), torch, one thread.

Euler–Maruyama too, also beside torchsde where it is installed, and with the other sources of noise. And what does a
plan save of the exponential methods, whose coefficients are computed on the host? 100 steps.
"""

from __future__ import annotations

import importlib.util
import math
import time
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any

import torch
from record import arguments, in_turn, record

from interpolants import GVP, VP, Data, Gaussian, Linear, Path, denoising, probability_flow, reverse_sde
from interpolants import diffusion as w
from solvers import DEIS, ODE, SDE, DPMSolverPP, Euler, EulerMaruyama, UniPC, solve, uniform
from solvers.noise import Antithetic, BrownianPath, PerSample

Field = Callable[[float, torch.Tensor], torch.Tensor]


def ode_row(name: str, field: Field, x: torch.Tensor, repeats: int) -> dict[str, object]:
    """Time solve(ODE(field), Euler) against x = x + h f(t, x)."""
    grid = uniform(250)
    times = grid.tolist()

    def by_hand() -> torch.Tensor:
        y = x
        for t0, t1 in pairwise(times):
            y = y + (t1 - t0) * field(t0, y)
        return y

    problem, method = ODE(field), Euler()
    if not torch.equal(by_hand(), solve(problem, x, grid, method).x):
        raise RuntimeError("the two loops differ")
    return {"case": name, **in_turn(lambda: solve(problem, x, grid, method), by_hand, repeats)}


def sde_row(x: torch.Tensor, repeats: int) -> dict[str, object]:
    """Time reverse_sde(GVP, w = σ) against the same coefficients worked out beforehand and a hand-written loop."""
    schedule, grid = GVP(), uniform(250)
    path = Path(schedule, Gaussian([0.0, 0.0], 0.25))
    times = grid.tolist()
    sigma = [math.sin(math.pi * time / 2) for time in times]
    alpha = [math.cos(math.pi * time / 2) if time < 1 else 0.0 for time in times]

    def by_hand() -> torch.Tensor:
        rng, y = torch.Generator().manual_seed(0), x
        for k, (t0, t1) in enumerate(pairwise(times)):
            v, h = path.velocity(t0, y), t1 - t0
            drift = sigma[k] / 2 * y + (1 + alpha[k] / math.pi) * v
            y = y + h * drift + math.sqrt(sigma[k] * -h) * torch.randn(x.shape, generator=rng)
        return y

    problem, method = reverse_sde(schedule, path.velocity, w.Sigma()), EulerMaruyama()

    def ours() -> torch.Tensor:
        return solve(problem, x, grid, method, rng=torch.Generator().manual_seed(0)).x

    if not torch.allclose(by_hand(), ours(), atol=1e-4):
        raise RuntimeError("the two loops differ")
    return {"case": "reverse SDE, GVP, w = sigma, Gaussian", **in_turn(ours, by_hand, repeats)}


def ornstein_uhlenbeck_rows(x: torch.Tensor, repeats: int) -> list[dict[str, object]]:
    """Time Euler–Maruyama for dX = −X dt + ½ dW against a hand-written loop, torchsde, and with other noise."""
    grid, method = uniform(250), EulerMaruyama()
    times, problem = grid.tolist(), SDE(lambda time, x: -x, lambda time: 0.5)

    def by_hand() -> torch.Tensor:
        rng, y = torch.Generator().manual_seed(0), x
        for t0, t1 in pairwise(times):
            h = t1 - t0
            y = y + h * -y + 0.5 * math.sqrt(-h) * torch.randn(x.shape, generator=rng)
        return y

    def ours(source: Callable[[], Any] = lambda: torch.Generator().manual_seed(0)) -> torch.Tensor:
        return solve(problem, x, grid, method, rng=source()).x

    if not torch.allclose(by_hand(), ours(), atol=1e-5):
        raise RuntimeError("the two loops differ")
    name, few = "EulerMaruyama, OU", max(5, repeats // 30)
    rows = [{"case": name, **in_turn(ours, by_hand, repeats)}]
    for source in (PerSample(0), BrownianPath(0), Antithetic(torch.Generator())):
        times_of = in_turn(partial(ours, lambda source=source: source), by_hand, few)
        rows.append({"case": f"{name}, {type(source).__name__}", **times_of})
    if importlib.util.find_spec("torchsde"):
        rows.append({"case": f"{name} / torchsde", **in_turn(ours, _by_torchsde(x), few)})
    return rows


def _by_torchsde(x: torch.Tensor) -> Callable[[], torch.Tensor]:
    import torchsde

    class Decay(torch.nn.Module):
        noise_type, sde_type = "diagonal", "ito"

        def f(self, time: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
            return -x

        def g(self, time: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
            return torch.full_like(x, 0.5)

    problem, ts = Decay(), torch.tensor([0.0, 1.0])
    return lambda: torchsde.sdeint(problem, x, ts, method="euler", dt=1.0 / 250)[-1]


def plan_row(method: Any, repeats: int) -> dict[str, object]:
    """Time a solve that follows its plan against the same solve without; ``plan`` is what making it costs."""
    x, grid = torch.randn(256, 2, generator=torch.Generator().manual_seed(0)), uniform(100, start=0.999, stop=0.001)
    problem = denoising(VP(), lambda time, x: torch.tanh(x), prediction=Data)
    began = time.perf_counter()
    planned = method.plan(problem, grid)
    spent = time.perf_counter() - began
    times = in_turn(lambda: solve(problem, x, grid, planned), lambda: solve(problem, x, grid, method), repeats)
    return {"case": f"planned / not, {type(method).__name__}({method.order}), VP", "plan": spent, **times}


def main() -> None:
    """Run the cases."""
    options = arguments(__doc__ or "")
    torch.set_num_threads(1)
    repeats = 5 if options.smoke else 300
    x = torch.randn(256, 2, generator=torch.Generator().manual_seed(0))
    network = torch.nn.Sequential(torch.nn.Linear(2, 64), torch.nn.SiLU(), torch.nn.Linear(64, 2))
    with torch.no_grad():
        rows = [
            ode_row("-x", lambda time, x: -x, x, repeats),
            ode_row("t x - sin x", lambda time, x: time * x - torch.sin(x), x, repeats),
            ode_row("MLP 2-64-2", lambda time, x: network(x), x, repeats),
            sde_row(x, max(5, repeats // 10)),
            *ornstein_uhlenbeck_rows(x, repeats),
        ]
        for schedule in (Linear(), VP()):
            flow = probability_flow(schedule, lambda time, x: -x).drift
            rows.append(ode_row(f"probability flow, {schedule.name}", flow, x, repeats))
        rows += [
            plan_row(method, max(5, repeats // 10)) for method in (DPMSolverPP(2), DPMSolverPP(3), UniPC(3), DEIS(3))
        ]
    record("solver_overhead", rows, ("torch", "numpy"), options.save)


if __name__ == "__main__":
    main()
