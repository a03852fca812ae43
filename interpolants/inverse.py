"""The time at which a schedule has a given log-SNR, when nobody wrote the inverse down."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from sympy import Basic

from interpolants.coefficient import namespace
from solvers.errors import explain

if TYPE_CHECKING:
    from interpolants.schedule import Schedule

__all__ = ["solve"]


def solve(schedule: Schedule, log_snr: Any) -> Any:
    r"""Bisect :math:`\log\mathrm{SNR}(t) = \ell` to the last bit, in float64 on the host.

    For torch tensors one Newton step with the time detached makes the first derivative exact.
    """
    if isinstance(log_snr, Basic):
        remedy = "pass time_of_log_snr to Schedule as an expression of symbols.L"
        raise TypeError(explain("a number or an array", "a sympy expression", remedy))
    module = namespace(log_snr)
    if module is None:
        return float(_bisect(schedule, np.asarray([log_snr], np.float64))[0])
    if module is np:
        return _bisect(schedule, np.asarray(log_snr, np.float64)).astype(np.result_type(log_snr, np.float32))
    if module.__name__ == "torch":
        host = log_snr.detach().double().cpu().numpy()
        times = module.as_tensor(_bisect(schedule, host), dtype=log_snr.dtype, device=log_snr.device)
        if not log_snr.requires_grad:
            return times
        kappa = schedule._quantity("kappa")(times)
        slope = -2 * kappa / schedule.sigma(times) ** 2
        return times + (log_snr - log_snr.detach()) / slope
    return module.asarray(_bisect(schedule, np.asarray(log_snr, np.float64)), dtype=log_snr.dtype)


def _bisect(schedule: Schedule, target: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Bisect over the bit patterns of the distance to the data end: 62 halvings reach neighbouring floats.

    Positive doubles are ordered like their bits read as integers, so tiny times are found to full relative accuracy.
    """
    lo, hi = schedule.domain
    low = np.zeros(target.shape, np.int64)
    high = np.full(target.shape, hi - lo).view(np.int64).copy()
    for _ in range(63):
        middle = low + (high - low) // 2
        noisier = schedule.log_snr(lo + middle.view(np.float64)) < target
        high = np.where(noisier, middle, high)
        low = np.where(noisier, low, middle)
    return lo + low.view(np.float64)
