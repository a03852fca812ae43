"""The time at which a schedule has a given log-SNR, when nobody wrote the inverse down."""

from __future__ import annotations

from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
from sympy import Basic

from interpolants.coefficient import Coefficient, namespace
from solvers.errors import explain

if TYPE_CHECKING:
    from interpolants.schedule import Schedule

__all__ = ["time_of_log_snr"]


def time_of_log_snr(schedule: Schedule, log_snr: Any, closed: Coefficient | None) -> Any:
    r"""Return the time with a log-SNR, by the closed form where there is one; beyond the range, the nearer end.

    Without a closed form, :math:`\log\mathrm{SNR}(t) = \ell` is bisected to the last bit, in float64 on the host; for
    torch tensors one Newton step with the time detached makes the first derivative exact.
    """
    if isinstance(log_snr, Basic):
        if closed is None:
            remedy = "pass time_of_log_snr to Schedule as an expression of symbols.L"
            raise TypeError(explain("a number or an array", "a sympy expression", remedy))
        return closed(log_snr)
    most, least = (end.limit for end in schedule.quantity("log_snr").ends)
    module = namespace(log_snr)
    if module is None:
        inside = min(max(float(log_snr), least), most)
        return closed(inside) if closed is not None else float(_bisect(schedule, np.asarray([inside]))[0])
    if closed is not None:
        return module.clip(closed(module.clip(log_snr, least, most)), *schedule.domain)
    if module is np:
        return _bisect(schedule, np.asarray(log_snr, np.float64)).astype(np.result_type(log_snr, np.float32))
    if module.__name__ == "torch":
        return _differentiable(schedule, log_snr, module)
    return module.asarray(_bisect(schedule, np.asarray(log_snr, np.float64)), dtype=log_snr.dtype)


def _differentiable(schedule: Schedule, log_snr: Any, torch: ModuleType) -> Any:
    host = log_snr.detach().double().cpu().numpy()
    times = torch.as_tensor(_bisect(schedule, host), dtype=log_snr.dtype, device=log_snr.device)
    if not log_snr.requires_grad:
        return times
    slope = -2 * schedule.quantity("kappa")(times) / schedule.sigma(times) ** 2
    return times + (log_snr - log_snr.detach()) / slope


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
    found = lo + low.view(np.float64)
    # Next to the noise end a halved distance lowers the log-SNR by about 2 log 2; half a step on, the end is nearer.
    last = high.view(np.float64) == hi - lo
    beyond = target <= np.where(last, schedule.log_snr(found) - 1.4, schedule.log_snr(np.full(target.shape, hi)))
    return np.where(beyond, hi, found)
