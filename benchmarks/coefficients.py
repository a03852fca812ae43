"""What does a coefficient cost? The first use of a schedule, one call, and a million times in torch on one thread.

``first`` is ours and ``second`` the alternative: ``sympy.lambdify`` for the first use, the generated arithmetic without
the checks for one call, and the formula that an expert writes by hand for a million times.
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import torch
from record import arguments, in_turn, record

from interpolants import GVP, VP, Linear, Schedule
from interpolants.schedules import Cosine, Follmer

FIRST_USE = """
import json, sys, time
import numpy, sympy
from interpolants import GVP, VP, Linear, Schedule, t
makes = {
    "linear": Linear, "gvp": GVP, "vp": VP,
    "quadratic": lambda: Schedule("quadratic", 1 - t**2, t**2),
    "vp(0.2, 15)": lambda: VP(0.2, 15.0),
    "exp-log": lambda: Schedule("e", "1 - log(1 + (E - 1)*t)", "(exp(t) - 1)/(E - 1)"),
    "1 - cos^2": lambda: Schedule("c", "cos(pi*t/2)**2", "1 - cos(pi*t/2)**2"),
}
make = makes[sys.argv[1]]
sympy.lambdify(t, t + 1, "numpy")
began = time.perf_counter()
schedule = make()
schedule(0.3)
ours = time.perf_counter() - began
pair = make().expressions
began = time.perf_counter()
for name in ("alpha", "sigma", "d_alpha", "d_sigma"):
    sympy.lambdify(t, pair[name], "numpy")(0.3)
print(json.dumps([ours, time.perf_counter() - began]))
"""


def first_use(name: str, repeats: int) -> dict[str, Any]:
    """Time the first evaluation of α, σ and their derivatives, each time in a new process."""
    runs = []
    for _ in range(repeats):
        done = subprocess.run([sys.executable, "-c", FIRST_USE, name], capture_output=True, text=True, check=True)
        runs.append(json.loads(done.stdout))
    ours, theirs = sorted(runs)[len(runs) // 2]
    return {"case": f"first use, {name}", "first": ours, "second": theirs, "ratio": ours / theirs}


def one_call(schedule: Schedule, name: str, repeats: int) -> dict[str, Any]:
    """Time 1000 calls with a float against the bare generated function; both in seconds per call."""
    ours: Callable[[float], float] = getattr(schedule, name)
    bare = schedule.quantity(name).lowered.function(math, "scalar")
    row = in_turn(lambda: [ours(0.3) for _ in range(1000)], lambda: [bare(0.3) for _ in range(1000)], repeats)
    return {"case": f"one call, {schedule.name} {name}", **row, "above_us": 1e3 * (row["first"] - row["second"])}


def sigma_vp(time: torch.Tensor) -> torch.Tensor:
    """Return √(1 − e^{−B}), B = t(0.1 + 9.95 t)."""
    return torch.sqrt(-torch.expm1(-time * (0.1 + 9.95 * time)))


def log_snr_linear(time: torch.Tensor) -> torch.Tensor:
    """Return 2 log((1 − t)/t), from the distance to one."""
    return 2 * torch.log1p((1 - 2 * time) / time)


def alpha_gvp(time: torch.Tensor) -> torch.Tensor:
    """Return cos(πt/2), from the nearer quarter turn."""
    early = torch.cos(0.5 * math.pi * time)
    return torch.where(time < 0.5, early, torch.sin(0.5 * math.pi * (1 - time)))


def sigma_cosine(time: torch.Tensor) -> torch.Tensor:
    """Return √(sin φ sin(φ + 2φ₀)) / cos φ₀."""
    first = math.pi / 2 * 0.008 / 1.008
    phase = math.pi / 2 / 1.008 * time
    return torch.sqrt(torch.sin(phase) * torch.sin(phase + 2 * first)) / math.cos(first)


def sigma_follmer(time: torch.Tensor) -> torch.Tensor:
    """Return √(t(2 − t))."""
    return torch.sqrt(time * (2 - time))


def million(schedule: Schedule, name: str, by_hand: Callable[..., Any], repeats: int, n: int) -> dict[str, Any]:
    """Time a million float32 times in (0, 1) against the stable formula written by hand."""
    times = torch.rand(n, generator=torch.Generator().manual_seed(0)).clamp(1e-6, 1 - 1e-6)
    ours = getattr(schedule, name)
    if not torch.allclose(ours(times), by_hand(times), rtol=1e-4, atol=1e-5):
        raise RuntimeError(f"the two formulas of {schedule.name} {name} differ")
    row = in_turn(lambda: ours(times), lambda: by_hand(times), repeats)
    return {"case": f"{n:,} times, {schedule.name} {name}", **row, "speed": 1 / row["ratio"]}


def main() -> None:
    """Run the cases."""
    options = arguments(__doc__ or "")
    torch.set_num_threads(1)
    names = ("linear", "gvp", "vp", "quadratic", "vp(0.2, 15)", "exp-log", "1 - cos^2")
    rows = [first_use(name, 1 if options.smoke else 5) for name in (names[:1] if options.smoke else names)]
    repeats, n = (3, 1000) if options.smoke else (200, 1_000_000)
    rows += [one_call(schedule, name, repeats) for schedule in (Linear(), GVP(), VP()) for name in ("alpha", "log_snr")]
    pairs: list[tuple[Schedule, str, Callable[..., Any]]] = [
        (VP(), "sigma", sigma_vp),
        (Linear(), "log_snr", log_snr_linear),
        (GVP(), "alpha", alpha_gvp),
        (Cosine(), "sigma", sigma_cosine),
        (Follmer(), "sigma", sigma_follmer),
    ]
    rows += [million(schedule, name, by_hand, max(3, repeats // 4), n) for schedule, name, by_hand in pairs]
    record("coefficients", rows, ("torch", "numpy", "sympy"), options.save)


if __name__ == "__main__":
    main()
