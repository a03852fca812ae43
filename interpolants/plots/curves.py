"""Curves of schedules, of w_t, and of what Gaussian targets cost."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from interpolants.diffusion import DiffusionCoefficient
from interpolants.path import Path
from interpolants.plots.look import TIME, look, name_of
from interpolants.schedule import Schedule
from interpolants.targets import Gaussian
from interpolants.transport import path_length, transport_cost, wasserstein2

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Floats = NDArray[np.float64]

__all__ = [
    "diffusion_curves",
    "path_length_curves",
    "schedule_curves",
    "transport_cost_curves",
    "transport_cost_table",
]


def schedule_curves(ax: Axes, schedules: Sequence[Schedule], quantity: str = "alpha") -> Axes:
    r"""Draw ``alpha``, ``sigma``, ``log_snr``, ``kappa`` or another quantity of the schedules against time."""
    for index, schedule in enumerate(schedules):
        lo, hi = schedule.domain
        inset = 0.004 * (hi - lo) if quantity not in ("alpha", "sigma") else 0.0
        times = np.linspace(lo + inset, hi - inset, 400)
        ax.plot(times, schedule.quantity(quantity)(times), label=name_of(schedule), **look(index))
    symbol = {"alpha": r"$\alpha_t$", "sigma": r"$\sigma_t$", "log_snr": r"$\log(\alpha_t^2/\sigma_t^2)$"}
    ax.set(xlabel=TIME, ylabel=symbol.get(quantity, quantity))
    ax.set_gid(quantity)
    ax.legend()
    return ax


def diffusion_curves(ax: Axes, schedule: Schedule, choices: Sequence[DiffusionCoefficient], top: float = 6.0) -> Axes:
    """Draw several choices of w_t under one schedule; curves that leave through ``top`` are infinite at an end."""
    lo, hi = schedule.domain
    times = np.linspace(lo, hi, 500)[1:-1]
    for index, choice in enumerate(choices):
        ax.plot(times, choice.of(schedule)(times), label=repr(choice), **look(index))
    ax.set(xlabel=TIME, ylabel="$w_t$", ylim=(0, top), title=name_of(schedule))
    ax.set_gid(f"w under {schedule.name}")
    ax.legend()
    return ax


def transport_cost_curves(ax: Axes, schedules: Sequence[Schedule], points: int = 61) -> Axes:
    r"""Draw the transport cost :math:`C(v)` of N(0, s²) against s, with the bound that no schedule can beat.

    The bound :math:`W_2^2 = (1 - s)^2` is that of the exact ends N(0, s²) and N(0, 1).
    """
    deviations = np.geomspace(0.03, 10.0, points)
    bound = (1 - deviations) ** 2
    _against_deviation(ax, schedules, deviations, lambda path: float(transport_cost(path)))
    _floor(ax, deviations, bound, r"$W_2^2 = (1-s)^2$, lower bound")
    ax.set(yscale="log", ylim=(3e-3, 100), ylabel=r"transport cost  $\int_0^1 \mathbb{E}|v|^2\,dt$")
    ax.set_gid("transport cost")
    ax.legend()
    return ax


def path_length_curves(ax: Axes, schedules: Sequence[Schedule], points: int = 61) -> Axes:
    r"""Draw the mean path length of N(0, s²) against s, with the mean distance between the ends of optimal transport.

    That bound is :math:`\mathbb E|X_1 - X_0| = \sqrt{2/\pi}\,|1 - s|`; schedules whose ρ is monotone attain it.
    """
    deviations = np.geomspace(0.03, 10.0, points)
    bound = math.sqrt(2 / math.pi) * np.abs(1 - deviations)
    _against_deviation(ax, schedules, deviations, lambda path: float(path_length(path)))
    _floor(ax, deviations, bound, r"$\mathbb{E}|X_1 - X_0| = \sqrt{2/\pi}\,|1-s|$, lower bound")
    ax.set(yscale="log", ylim=(1e-2, 20), ylabel=r"path length  $\int_0^1 \mathbb{E}|v|\,dt$")
    ax.set_gid("path length")
    ax.legend()
    return ax


def _against_deviation(
    ax: Axes, schedules: Sequence[Schedule], deviations: Floats, measure: Callable[[Path], float]
) -> None:
    for index, schedule in enumerate(schedules):
        values = [measure(Path(schedule, Gaussian([0.0], s**2))) for s in deviations]
        ax.plot(deviations, values, label=name_of(schedule), **look(index))
    ax.set(xscale="log", xlim=(deviations[0], deviations[-1]), xlabel="data standard deviation s")
    ticks = [tick for tick in (0.03, 0.1, 0.3, 1.0, 3.0, 10.0) if deviations[0] <= tick <= deviations[-1]]
    ax.set_xticks(ticks, [f"{tick:g}" for tick in ticks])


def _floor(ax: Axes, x: Floats, bound: Floats, label: str) -> None:
    ax.fill_between(x, 0, bound, color="0.85", linewidth=0, zorder=0)
    ax.plot(x, bound, color="0.35", linewidth=1.0, label=label, zorder=1)


def transport_cost_table(schedules: Sequence[Schedule], deviations: Sequence[float]) -> list[dict[str, float | str]]:
    """Return the numbers behind :func:`transport_cost_curves`, W₂² taken between the actual end marginals."""
    rows: list[dict[str, float | str]] = []
    for schedule in schedules:
        for s in deviations:
            path = Path(schedule, Gaussian([0.0], s**2))
            cost, bound = float(transport_cost(path)), float(wasserstein2(path)) ** 2
            rows.append({"schedule": schedule.name, "s": s, "cost": cost, "W2_squared": bound})
    return rows
