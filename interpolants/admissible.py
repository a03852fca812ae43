"""What a pair of expressions must be to count as a path from data to noise."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from interpolants.measure import Exact
from interpolants.symbols import t
from solvers.errors import explain

if TYPE_CHECKING:
    from interpolants.schedule import Schedule

__all__ = ["check_path"]


def check_path(schedule: Schedule) -> None:
    """Refuse a pair that is not a path from data to noise."""
    lo, hi = schedule.domain
    alpha = Exact(schedule.expressions["alpha"], t, schedule.exact_domain)
    sigma = Exact(schedule.expressions["sigma"], t, schedule.exact_domain)
    log_snr = Exact(schedule.expressions["log_snr"], t, schedule.exact_domain)
    starts = (("alpha", alpha.ends[0].limit, 1.0), ("sigma", sigma.ends[0].limit, 0.0))
    for what, value, wanted in starts:
        if abs(value - wanted) > 1e-12:
            remedy = f"normalise {what}, or pass check=False and read certify(schedule)"
            raise ValueError(explain(f"{what} = {wanted:g} at t = {lo:g}", f"{value:.6g}", remedy))
    previous = np.inf
    for time in np.linspace(lo, hi, 130)[1:-1]:
        for what, exact in (("alpha", alpha), ("sigma", sigma)):
            value = float(exact.at(time))
            if not value > 0:
                remedy = f"choose {what} positive between the ends"
                raise ValueError(explain(f"{what} > 0 inside the domain", f"{value:.6g} at t = {time:.4g}", remedy))
        value = float(log_snr.at(time))
        if not value < previous:
            remedy = "choose alpha/sigma strictly decreasing in t"
            raise ValueError(explain("a decreasing log-SNR", f"an increase at t = {time:.4g}", remedy))
        previous = value
