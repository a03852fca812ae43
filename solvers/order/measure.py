r"""The order of a sampler, measured on problems whose exact solutions are known."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from solvers.errors import explain
from solvers.grid import check_count
from solvers.order.adapters.function import Function
from solvers.order.adapters.ours import Ours
from solvers.order.bench import Bench
from solvers.order.report import OrderReport
from solvers.order.sampler import Sampler

__all__ = ["measure_order"]

_DTYPES: dict[str, type[np.floating[Any]]] = {"float64": np.float64, "float32": np.float32}
_FINEST = 256


def measure_order(
    sampler: Any,
    *,
    claimed: float | None = None,
    prediction: str = "velocity",
    schedule: str = "linear",
    stochastic: bool = False,
    dtype: str = "float64",
    finest: int = _FINEST,
) -> OrderReport:
    r"""Measure the order of a sampler, with its error constant, evaluations, marginals and behaviour at the ends.

    It is run with n, 2n, 4n, … steps from :math:`\sigma/\alpha = 4` to ¼ on unequal, smoothly varying steps, or on its
    own grid there: on a manufactured data prediction, on a mixture of Gaussians, and on Gaussian data, where the exact
    law of its answer is read off its own code. A deterministic sampler has the lower of the first two orders, a
    stochastic one the weak order of mean and variance on the third. Then it runs its own schedule up to the end.
    Results do not depend on a random number.

    >>> from solvers import Heun
    >>> from solvers.order import measure_order
    >>> report = measure_order(Heun())
    >>> round(report.observed, 1), report.evaluations, report.ok
    (2.0, (2.0, 0.0), True)

    Args:
        sampler: a method of this library; an adapter of ``solvers.order.find``; or a function (model, x, times) → x,
            that goes from times[0] to times[-1] by calling ``model(time, x)``. x has shape (rows, d).
        claimed: the order that a function claims; methods and adapters bring their own.
        prediction: what ``model`` predicts for a function: "velocity" :math:`\dot x`, "data" :math:`\hat x` or "noise"
            :math:`\hat\varepsilon`.
        schedule: its times: "linear", :math:`\alpha = 1 - t, \sigma = t`, or "edm", :math:`\alpha = 1, \sigma = t`.
        stochastic: the function is called with a fourth argument, ``noise(x)`` → standard normals like x, and draws
            all its noise there.
        dtype: "float64" or "float32", of the states.
        finest: the largest number of steps; slopes that have not settled there are followed to four times as many.

    Raises:
        TypeError: something else than a sampler; a function that returns no array like x.
        ValueError: a prediction, schedule, dtype or number of steps that is none.
    """
    if dtype not in _DTYPES:
        raise ValueError(explain("dtype: 'float64' or 'float32'", repr(dtype), "pass dtype='float64'"))
    target = _sampler(sampler, claimed, prediction, schedule, stochastic)
    least = 8 * target.coarsest
    if check_count("finest: the largest number of steps", finest) < least:
        wanted = f"finest: at least {least}, three halvings from the coarsest {target.coarsest} steps of this sampler"
        raise ValueError(explain(wanted, repr(finest), f"pass finest={least} or more"))
    counts = [target.coarsest * 2**k for k in range(int(math.log2(finest / target.coarsest)) + 1)]
    return Bench(target, counts, _DTYPES[dtype]).report()


def _sampler(sampler: Any, claimed: float | None, prediction: str, schedule: str, stochastic: bool) -> Sampler:
    known = isinstance(sampler, Sampler)
    if known or hasattr(sampler, "solves") or isinstance(sampler, type):
        if (claimed, prediction, schedule, stochastic) != (None, "velocity", "linear", False):
            wanted = "claimed, prediction, schedule and stochastic with a function alone"
            raise ValueError(explain(wanted, f"one of them with {sampler!r:.60}", "leave them out: it brings its own"))
        found: Sampler = sampler if known else Ours(sampler)
        return found
    if callable(sampler):
        return Function(sampler, claimed, prediction, schedule, stochastic)
    remedy = "pass Heun(), a function (model, x, times) -> x, or find('diffusers:DDIMScheduler')"
    raise TypeError(explain("sampler: a method, an adapter or a function", type(sampler).__name__, remedy))
