r"""Time grids that are usual for diffusion models, for any schedule.

They are given by noise levels :math:`r = \sigma/\alpha`, by log-SNR, or by the timesteps of a discrete model; the
schedule says at which times these are met. n steps are n + 1 times; the last is the data end where no stop is given.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np

from interpolants.grids import ends, uniform_in_log_snr
from interpolants.schedule import Schedule
from interpolants.schedules.discrete import Discrete
from solvers.errors import closest, explain
from solvers.grid import Grid, check_count, check_grid

__all__ = ["align_your_steps", "karras", "log_snr_uniform", "timestep_strides"]

_PUBLISHED = {
    "stable-diffusion-1.5": (14.615, 6.475, 3.861, 2.697, 1.886, 1.396, 0.963, 0.652, 0.399, 0.152, 0.029),
    "sdxl": (14.615, 6.315, 3.771, 2.181, 1.342, 0.862, 0.555, 0.380, 0.234, 0.113, 0.029),
    "deepfloyd-if": (160.41, 8.081, 3.315, 1.885, 1.207, 0.785, 0.553, 0.293, 0.186, 0.030, 0.006),
    "stable-video-diffusion": (700.0, 54.5, 15.886, 7.977, 4.248, 1.789, 0.981, 0.403, 0.173, 0.034, 0.002),
}
"""Noise levels of the published grids of 10 steps, from the largest to the smallest."""

Spacing = Literal["trailing", "leading", "linspace", "quadratic"]


def karras(schedule: Schedule, n: int, rho: float = 7.0, sigma_min: float = 0.002, sigma_max: float = 80.0) -> Grid:
    r"""Return the grid of EDM: n noise levels that are equally spaced in their ρ-th root, and the data.

    .. math:: r_k = \Bigl(r_{\max}^{1/\varrho} + \frac{k}{n - 1}\bigl(r_{\min}^{1/\varrho} - r_{\max}^{1/\varrho}\bigr)
              \Bigr)^\varrho, \quad k = 0 \dots n - 1, \qquad r_n = 0, \qquad r = \sigma/\alpha

    >>> from interpolants import Linear, karras
    >>> karras(Linear(), 3, rho=1.0, sigma_min=1.0, sigma_max=3.0).round(12).tolist()
    [0.75, 0.666666666667, 0.5, 0.0]

    Args:
        schedule: the schedule.
        n: number of steps; n = 1 goes from the largest level to the data.
        rho: ϱ > 0; 7 in EDM.
        sigma_min: the smallest level but zero.
        sigma_max: the largest; a level beyond those of the schedule is its noise end.

    Raises:
        ValueError: levels or ρ that are not positive, or not in order; two levels beyond the schedule.

    References: Karras, Aittala, Aila & Laine (2022), arXiv 2206.00364, eq. 5.
    """
    count = check_count("n: the number of steps", n)
    if not 0.0 < rho < math.inf or not 0.0 < sigma_min < sigma_max < math.inf:
        received = f"rho = {rho!r}, sigma_min = {sigma_min!r} and sigma_max = {sigma_max!r}"
        raise ValueError(explain("rho > 0 and 0 < sigma_min < sigma_max", received, "EDM has 7, 0.002 and 80"))
    fractions = np.arange(count) / max(1, count - 1)
    roots = (1.0 - fractions) * sigma_max ** (1.0 / rho) + fractions * sigma_min ** (1.0 / rho)
    return _to_data(schedule, roots**rho)


def align_your_steps(schedule: Schedule, n: int = 10, model: str = "stable-diffusion-1.5") -> Grid:
    r"""Return a published grid of 10 steps of "Align Your Steps" at the noise levels of another schedule.

    The levels :math:`r = \sigma/\alpha` were found for one model each. For other n the logarithms of the eleven are
    interpolated, as the authors advise; the last is replaced by the data.

    Args:
        schedule: the schedule, whose times of these levels are returned.
        n: number of steps.
        model: "stable-diffusion-1.5", "sdxl", "deepfloyd-if" or "stable-video-diffusion".

    Raises:
        ValueError: another model; two levels beyond the schedule.

    References: Sabour, Fidler & Kreis (2024), Align Your Steps, arXiv 2404.14507, table 3.
    """
    count = check_count("n: the number of steps", n)
    if model not in _PUBLISHED:
        raise ValueError(explain("model: one with a published grid", repr(model), closest(str(model), _PUBLISHED)))
    levels = np.log(_PUBLISHED[model])
    found = np.interp(np.linspace(0.0, 1.0, count + 1), np.linspace(0.0, 1.0, len(levels)), levels)
    return _to_data(schedule, np.exp(found[:-1]))


def log_snr_uniform(schedule: Schedule, n: int, start: float, stop: float) -> Grid:
    r"""Return n steps of equal length in :math:`\log(\alpha^2/\sigma^2)`.

    Args:
        schedule: the schedule.
        n: number of steps.
        start: first time, where the log-SNR is finite.
        stop: last time, likewise; append 0 to the grid to go on to the data.

    Raises:
        ValueError: an end with an infinite log-SNR, or a start that is not after the stop.

    References: Lu et al. (2022), DPM-Solver, arXiv 2206.00927, §5.1.
    """
    count, (first, last) = check_count("n: the number of steps", n), ends(schedule, start, stop)
    found = uniform_in_log_snr(schedule, count, first, last)
    if not found:
        received = f"start {first!r} and stop {last!r}"
        remedy = "move the ends inside the domain, e.g. start=0.999, stop=0.001"
        raise ValueError(explain(f"ends with a finite log-SNR under {schedule.name}", received, remedy))
    return found[0]


def timestep_strides(schedule: Schedule, n: int, spacing: Spacing = "trailing") -> Grid:
    r"""Return n timesteps of a discrete model, and the data: the strided grids of DDIM and its successors.

    With T timesteps of index 0 … T − 1, at the times :math:`(i + 1)/T`, the indices are, for k = 0 … n − 1 and from
    the last to the first,

    ================  =============================================  =============================
    "trailing"        :math:`\mathrm{round}(T(k + 1)/n) - 1`         the last is T − 1
    "leading"         :math:`k\lfloor T/n\rfloor`                    the first is 0; T − 1 is missed
    "linspace"        :math:`\mathrm{round}((T - 1)k/(n - 1))`       both
    "quadratic"       :math:`\lfloor (T - 1)k^2/(n - 1)^2\rfloor`    both
    ================  =============================================  =============================

    and T − 1 alone for n = 1, but for "leading", whose one index is 0.

    Args:
        schedule: a discrete model's schedule.
        n: number of steps, at most T.
        spacing: which of these.

    Raises:
        TypeError, ValueError: no discrete schedule; another spacing; more steps than timesteps differ.

    References: Song, Meng & Ermon (2021), arXiv 2010.02502, appendix D.2 ("linear" is leading, and "quadratic"); Lin,
    Liu, Li & Yang (2024), Common diffusion noise schedules and sample steps are flawed, arXiv 2305.08891, table 2.
    """
    count = check_count("n: the number of steps", n)
    if not isinstance(schedule, Discrete):
        remedy = "pass DDPMLinear() or another discrete schedule, or take uniform(n)"
        raise TypeError(explain("a schedule with timesteps", type(schedule).__name__, remedy))
    total = schedule.num_train_timesteps
    if count > total:
        raise ValueError(explain(f"n: at most the {total} timesteps of the model", repr(n), "take fewer steps"))
    k, whole = np.arange(count), max(1, count - 1)
    if count == 1 and spacing in ("linspace", "quadratic"):
        k = k + 1
    indices: dict[str, Any] = {
        "trailing": np.floor(total * (k + 1) / count + 0.5) - 1,
        "leading": k * (total // count),
        "linspace": np.floor((total - 1) * k / whole + 0.5),
        "quadratic": (total - 1) * k**2 // whole**2,
    }
    if spacing not in indices:
        raise ValueError(explain("spacing of the timesteps", repr(spacing), closest(str(spacing), indices)))
    times = schedule.time_of_timestep(indices[spacing][::-1])
    return check_grid(np.concatenate([times, [schedule.domain[0]]]))


def _to_data(schedule: Schedule, levels: Any) -> Grid:
    """Return the times of falling noise levels, and the data end."""
    return check_grid(np.concatenate([schedule.time_of_log_snr(-2.0 * np.log(levels)), [schedule.domain[0]]]))
