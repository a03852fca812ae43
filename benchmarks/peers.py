"""Solvers of other libraries as installed, behind one door: (velocity under the linear schedule, noise) → data.

All have t = 1 as noise here; where a library runs the other way, or in noise levels, the translation is in its entry.
Each entry yields (name, run) for a number of evaluations; ``run(x)`` returns the data and how often the velocity was
evaluated, counted by the velocity itself. What a library refuses or leaves non-finite is left out.
"""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

import numpy as np

Run = Callable[[np.ndarray], tuple[np.ndarray, int]]
Field = Callable[[float, np.ndarray], np.ndarray]

TOLERANCES = tuple(10.0 ** (-k / 3) for k in range(2, 25))
SHIFTS = (0.5, 1.0, 3.0)
POWERS = (0.7, 1.0, 1.5, 2.0, 3.0)


class Counted:
    """A velocity on numpy arrays that counts its calls, and takes arrays of other libraries."""

    def __init__(self, velocity: Field) -> None:
        self.velocity = velocity
        self.calls = 0

    def __call__(self, time: Any, x: Any) -> np.ndarray:
        """Evaluate. Adaptive steps of some libraries reach beyond the end, where the velocity is held."""
        self.calls += 1
        return self.velocity(min(max(float(time), 0.0), 1.0), np.asarray(x))

    def torch(self, time: Any, x: Any) -> Any:
        """Evaluate on a tensor."""
        import torch

        return torch.from_numpy(self(time, x.numpy()))


def powers(n: int) -> list[tuple[str, np.ndarray]]:
    """Return the grids that every library can be given: falling powers of equal steps."""
    return [(f"power {p:g}", np.linspace(1.0, 0.0, n + 1) ** p) for p in POWERS]


def scipy_runs(velocity: Field) -> Iterator[tuple[str, Run]]:
    """solve_ivp at every tolerance; it chooses its steps."""
    from scipy.integrate import solve_ivp

    def run(x: np.ndarray, method: str, tolerance: float) -> tuple[np.ndarray, int]:
        field = Counted(velocity)

        def flat(time: float, y: np.ndarray) -> np.ndarray:
            return field(time, y.reshape(x.shape)).ravel()

        found = solve_ivp(flat, (1.0, 0.0), x.ravel(), method=method, rtol=tolerance, atol=tolerance)
        return found.y[:, -1].reshape(x.shape), field.calls

    for method, tolerance in product(("RK23", "RK45", "DOP853", "LSODA"), TOLERANCES):
        yield f"{method} at {tolerance:.0e}", lambda x, m=method, tol=tolerance: run(x, m, tol)


def torchdiffeq_runs(velocity: Field, most: int) -> Iterator[tuple[str, Run]]:
    """Fixed steps on every grid, and its adaptive methods at every tolerance."""
    import torch
    from torchdiffeq import odeint

    def run(x: np.ndarray, ts: np.ndarray, **settings: Any) -> tuple[np.ndarray, int]:
        field = Counted(velocity)
        found = odeint(field.torch, torch.from_numpy(x), torch.from_numpy(ts), **settings)
        return found[-1].numpy(), field.calls

    for method, stages in (
        ("euler", 1),
        ("midpoint", 2),
        ("heun2", 2),
        ("heun3", 3),
        ("rk4", 4),
        ("explicit_adams", 1),
    ):
        for n in counts(most, stages):
            for name, ts in powers(n):
                yield f"{method}, {n} steps, {name}", lambda x, m=method, grid=ts: run(x, grid, method=m)
    ends = np.array([1.0, 0.0])
    for method, tol in product(("bosh3", "dopri5", "dopri8"), TOLERANCES):
        yield f"{method} at {tol:.0e}", lambda x, m=method, t=tol: run(x, ends, method=m, rtol=t, atol=t)


def flow_matching_runs(velocity: Field, most: int) -> Iterator[tuple[str, Run]]:
    """Its ODESolver, whose time is 1 − t."""
    import torch
    from flow_matching.solver import ODESolver

    def run(x: np.ndarray, ts: np.ndarray, method: str) -> tuple[np.ndarray, int]:
        field = Counted(velocity)

        class Model(torch.nn.Module):
            def forward(self, x: Any, t: Any) -> Any:
                return -field.torch(1.0 - float(t), x)

        grid = torch.from_numpy(1.0 - ts)
        found = ODESolver(Model()).sample(torch.from_numpy(x), None, method=method, time_grid=grid)
        return found.numpy(), field.calls

    for method, stages in (("euler", 1), ("midpoint", 2), ("heun3", 3), ("rk4", 4)):
        for n in counts(most, stages, few=True):
            for name, ts in powers(n)[1:4]:
                yield f"{method}, {n} steps, {name}", lambda x, m=method, grid=ts: run(x, grid, m)


def diffrax_runs(velocity: Field, most: int) -> Iterator[tuple[str, Run]]:
    """Its explicit methods on every grid and at every tolerance; the velocity is called back on the host."""
    import diffrax
    import jax

    jax.config.update("jax_enable_x64", True)

    field = Counted(velocity)

    def drift(time: Any, y: Any, args: Any) -> Any:
        return jax.pure_callback(field, jax.ShapeDtypeStruct(y.shape, y.dtype), time, y)

    term = diffrax.ODETerm(drift)

    def run(x: np.ndarray, solver: Any, ts: np.ndarray | None, tolerance: float) -> tuple[np.ndarray, int]:
        field.calls = 0
        steps = diffrax.PIDController(tolerance, tolerance) if ts is None else diffrax.StepTo(ts)
        step = None if ts is not None else -0.05
        found = diffrax.diffeqsolve(term, solver, 1.0, 0.0, step, x, stepsize_controller=steps, max_steps=4096)
        return np.asarray(jax.block_until_ready(found.ys[0])), field.calls

    for solver, stages in ((diffrax.Ralston(), 2), (diffrax.Bosh3(), 3), (diffrax.Tsit5(), 6), (diffrax.Dopri5(), 6)):
        for n in counts(most, stages, few=True):
            for name, ts in powers(n)[1:4]:
                yield f"{type(solver).__name__}, {n} steps, {name}", lambda x, s=solver, grid=ts: run(x, s, grid, 0.0)
    for solver, tol in product((diffrax.Bosh3(), diffrax.Tsit5(), diffrax.Dopri8()), TOLERANCES[::3]):
        yield f"{type(solver).__name__} at {tol:.0e}", lambda x, s=solver, t=tol: run(x, s, None, t)


def diffusers_runs(velocity: Field, most: int) -> Iterator[tuple[str, Run]]:
    """Its schedulers for flows, on their own grids of noise levels; σ is the time of the linear schedule."""
    import diffusers
    import torch

    def run(x: np.ndarray, kind: str, n: int, options: dict[str, Any]) -> tuple[np.ndarray, int]:
        field, scheduler = Counted(velocity), getattr(diffusers, kind)(**options)
        scheduler.set_timesteps(n)
        y = torch.from_numpy(x)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for time in scheduler.timesteps:
                y = scheduler.step(field.torch(_level(scheduler, time), y), time, y, return_dict=False)[0].double()
        return y.numpy(), field.calls

    flow = {"prediction_type": "flow_prediction", "use_flow_sigmas": True}
    multistep = [
        *(("DPMSolverMultistepScheduler", {"solver_order": k}) for k in (1, 2, 3)),
        *(("UniPCMultistepScheduler", {"solver_order": k}) for k in (1, 2, 3)),
        *(("DEISMultistepScheduler", {"solver_order": k}) for k in (2, 3)),
    ]
    entries = [
        (kind, {**flow, **options, "flow_shift": shift}) for (kind, options), shift in product(multistep, SHIFTS)
    ]
    levels = ({}, {"use_karras_sigmas": True}, {"use_exponential_sigmas": True}, {"use_beta_sigmas": True})
    for options, shift in product(levels, SHIFTS):
        entries.append(("FlowMatchEulerDiscreteScheduler", {"shift": shift, **options}))
    entries += [("FlowMatchHeunDiscreteScheduler", {"shift": shift}) for shift in SHIFTS]
    for kind, options in entries:
        text = ", ".join(f"{key} {value}" for key, value in options.items() if key not in flow)
        for n in counts(most, 2 if "Heun" in kind else 1, few=True):
            yield f"{kind}, {n} steps, {text}", lambda x, k=kind, m=n, o=options: run(x, k, m, o)


def _level(scheduler: Any, time: Any) -> float:
    """Return σ at a timestep: where the scheduler stands, or the place of the time in its list."""
    index = scheduler.step_index
    if index is None:
        index = int((scheduler.timesteps == time).nonzero()[0])
    return float(scheduler.sigmas[index])


def counts(most: int, stages: int, *, few: bool = False) -> list[int]:
    """Return numbers of steps with about 5 to ``most`` evaluations: first all, then each 20 % larger, or 40 %."""
    found, n = [], max(1, -(-5 // stages) - 2)  # a start may cost two evaluations
    while n * stages <= most:
        found.append(n)
        n = n + 1 if n * stages < 24 and not few else max(n + 1, int(n * (1.4 if few else 1.2)))
    return found


LIBRARIES: dict[str, tuple[str, Callable[[Field, int], Iterator[tuple[str, Run]]]]] = {
    "scipy": ("scipy", lambda velocity, most: scipy_runs(velocity)),
    "torchdiffeq": ("torchdiffeq", torchdiffeq_runs),
    "flow_matching": ("flow_matching", flow_matching_runs),
    "diffrax": ("diffrax", diffrax_runs),
    "diffusers": ("diffusers", diffusers_runs),
}


def installed() -> list[str]:
    """Return the libraries that are here."""
    return [name for name, (module, _) in LIBRARIES.items() if importlib.util.find_spec(module) is not None]
