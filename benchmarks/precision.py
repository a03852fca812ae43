"""How many units in the last place is every coefficient off, in every backend, and where?

For each built-in schedule the module of ``schedule.source(backend)`` is executed and compared with 200 digits at the
probes of the search and at 240 seeded random times. The error is in units of the last place of the type, divided by
what the condition number makes unavoidable where that is more than four; a log-SNR counts absolutely below 1. The table
of the documentation is ``benchmarks/results/precision.csv``, which ``--save`` writes.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from record import RESULTS, arguments

from interpolants import Schedule
from interpolants.measure import Exact, ulp_errors
from interpolants.modules import BACKENDS
from interpolants.schedules import BUILT_IN, by_name
from interpolants.symbols import t

COLUMNS = ("schedule", "quantity", "backend", "dtype", "ulp", "time")
RANDOM = 240

Array = NDArray[Any]
Row = dict[str, str]


def functions(schedule: Schedule, backend: str) -> dict[str, Callable[[Array], Array]]:
    """Execute the module that ``schedule.source`` writes; every function takes and gives numpy arrays."""
    space: dict[str, Any] = {}
    exec(schedule.source(backend), space)
    return {name: _with_numpy(space["lambda_" if name == "lambda" else name], backend) for name in schedule.expressions}


def _with_numpy(function: Callable[[Any], Any], backend: str) -> Callable[[Array], Array]:
    if backend == "torch":
        import torch

        return lambda times: function(torch.from_numpy(times)).numpy()
    if backend == "jax":
        import jax

        jax.config.update("jax_enable_x64", True)
        compiled = jax.jit(function)
        return lambda times: np.asarray(compiled(jax.numpy.asarray(times)))
    if backend == "numba":
        return lambda times: np.asarray([function(time) for time in times], times.dtype)
    return function


def measure(name: str, backend: str, *, random: int = RANDOM) -> Iterator[Row]:
    """Yield a row for every quantity and both types, with the worst error and its time."""
    schedule = by_name(name)
    for quantity, function in functions(schedule, backend).items():
        exact = Exact(schedule.expressions[quantity], t, schedule.exact_domain)
        times = np.union1d(exact.probes, exact.random_probes(random, seed=7))
        values = exact.values(times)
        for dtype in (np.float64, np.float32):
            with np.errstate(all="ignore"):
                got = function(times.astype(dtype))
            if got.dtype != dtype:
                raise RuntimeError(f"{backend} turned {np.dtype(dtype)} into {got.dtype}")
            errors = ulp_errors(got, values, floor=schedule.quantity(quantity).floor)
            if backend == "jax":  # XLA flushes subnormal numbers to zero
                errors[np.abs(np.asarray(values, float)) < np.finfo(dtype).tiny] = 0.0
            large = errors > 4
            errors[large] = np.maximum(4.0, errors[large] / exact.allowance(times[large]))
            worst = int(np.argmax(errors))
            row = (name, quantity, backend, np.dtype(dtype).name, f"{errors[worst]:.2f}", f"{times[worst]:.6g}")
            yield dict(zip(COLUMNS, row, strict=True))


def main() -> None:
    """Measure all, or one schedule with ``--smoke``."""
    options = arguments(__doc__ or "")
    names = ["linear"] if options.smoke else list(BUILT_IN)
    rows = [row for name in names for backend in BACKENDS for row in measure(name, backend)]
    for row in sorted(rows, key=lambda row: -float(row["ulp"]))[:20]:
        print("  ".join(row.values()))
    if options.save:
        RESULTS.mkdir(exist_ok=True)
        with (RESULTS / "precision.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)


if __name__ == "__main__":
    main()
