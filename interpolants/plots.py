"""Figures. Each function draws on the Axes it is given and returns them; :func:`style` is the one look they share.

Colours are those of Okabe & Ito, told apart with every common form of colour blindness; curves also differ in dash.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import numpy as np

from interpolants.bounds import kl_bound
from interpolants.diffusion import KL, DiffusionCoefficient
from interpolants.divergence import exact_kl
from interpolants.dynamics import probability_flow, reverse_sde
from interpolants.path import Path
from interpolants.schedule import Schedule
from interpolants.targets import Gaussian
from interpolants.transport import expect_gaussian, transport_cost, wasserstein2
from solvers import RK4, StochasticHeun, solve, uniform

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = [
    "COLOURS",
    "bounds",
    "diffusion_curves",
    "schedule_curves",
    "style",
    "trajectories",
    "transport_cost_curves",
    "transport_cost_table",
]

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_DASHES: tuple[Any, ...] = ("-", (0, (6, 2)), (0, (2, 1.5)), (0, (6, 2, 1, 2)), (0, (1, 1)), "-", "--")
_MULTIPLES = (0.125, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 4.0, 8.0)
_NAMES = {"linear": "Linear", "gvp": "GVP", "vp": "VP"}


def style() -> AbstractContextManager[None]:
    """Return a context in which every figure has the same look."""
    import matplotlib as mpl

    settings: Any = {
        "figure.dpi": 150,
        "savefig.bbox": "tight",
        "font.size": 10,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "grid.alpha": 0.25,
        "grid.linewidth": 0.6,
        "axes.titlesize": 11,
        "axes.titlelocation": "left",
        "lines.linewidth": 1.8,
        "legend.frameon": False,
    }
    return mpl.rc_context(settings)


def _look(index: int) -> dict[str, Any]:
    return {"color": COLOURS[index % len(COLOURS)], "linestyle": _DASHES[index % len(_DASHES)]}


def _name(schedule: Schedule) -> str:
    return _NAMES.get(schedule.name, schedule.name)


def schedule_curves(ax: Axes, schedules: Sequence[Schedule], quantity: str = "alpha") -> Axes:
    r"""Draw ``alpha``, ``sigma``, ``log_snr``, ``kappa`` or another quantity of the schedules against time."""
    for index, schedule in enumerate(schedules):
        lo, hi = schedule.domain
        inset = 0.004 * (hi - lo) if quantity not in ("alpha", "sigma") else 0.0
        times = np.linspace(lo + inset, hi - inset, 400)
        ax.plot(times, schedule.quantity(quantity)(times), label=_name(schedule), **_look(index))
    symbol = {"alpha": r"$\alpha_t$", "sigma": r"$\sigma_t$", "log_snr": r"$\log(\alpha_t^2/\sigma_t^2)$"}
    ax.set(xlabel="t   (0 data, 1 noise)", ylabel=symbol.get(quantity, quantity))
    ax.legend()
    return ax


def diffusion_curves(ax: Axes, schedule: Schedule, choices: Sequence[DiffusionCoefficient], top: float = 6.0) -> Axes:
    """Draw several choices of w_t under one schedule; curves that leave through ``top`` are infinite at an end."""
    lo, hi = schedule.domain
    times = np.linspace(lo, hi, 500)[1:-1]
    for index, choice in enumerate(choices):
        ax.plot(times, choice.of(schedule)(times), label=repr(choice), **_look(index))
    ax.set(xlabel="t   (0 data, 1 noise)", ylabel="$w_t$", ylim=(0, top), title=_name(schedule))
    ax.legend()
    return ax


def transport_cost_curves(ax: Axes, schedules: Sequence[Schedule], points: int = 61) -> Axes:
    r"""Draw the transport cost :math:`C(v)` of N(0, s²) against s, with the bound that no schedule can beat.

    The bound :math:`W_2^2 = (1 - s)^2` is that of the exact ends N(0, s²) and N(0, 1).
    """
    deviations = np.geomspace(0.03, 10.0, points)
    for index, schedule in enumerate(schedules):
        costs = [float(transport_cost(Path(schedule, Gaussian([0.0], s**2)))) for s in deviations]
        ax.plot(deviations, costs, label=_name(schedule), **_look(index))
    bound = (1 - deviations) ** 2
    ax.fill_between(deviations, 0, bound, color="0.85", linewidth=0, zorder=0)
    ax.plot(deviations, bound, color="0.35", linewidth=1.0, label=r"$W_2^2 = (1-s)^2$, lower bound")
    ax.set(xscale="log", yscale="log", ylim=(3e-3, 100), xlim=(deviations[0], deviations[-1]))
    ax.set(xlabel="data standard deviation s", ylabel=r"transport cost  $\int_0^1 \mathbb{E}|v|^2\,dt$")
    ax.legend()
    return ax


def transport_cost_table(schedules: Sequence[Schedule], deviations: Sequence[float]) -> list[dict[str, float | str]]:
    """Return the numbers behind :func:`transport_cost_curves`, W₂² taken between the actual end marginals."""
    rows: list[dict[str, float | str]] = []
    for schedule in schedules:
        for s in deviations:
            path = Path(schedule, Gaussian([0.0], s**2))
            cost, bound = float(transport_cost(path)), float(wasserstein2(path)) ** 2
            rows.append({"schedule": schedule.name, "s": s, "cost": cost, "W2_squared": bound})
    return rows


def bounds(ax: Axes, path: Path, delta: Callable[[float], float], multiples: Sequence[float] = _MULTIPLES) -> Axes:
    r"""Draw the KL bound and the true divergence against the multiple c in w = c·wKL, for a Gaussian target.

    The model is wrong by :math:`v_\theta - v = \delta_t(x - \alpha_t m)`, whose excess loss is
    :math:`\delta_t^2\sum(\alpha_t^2 c + \sigma_t^2)`. Where that makes the bound infinite, its curve is missing.
    """
    schedule, values = path.schedule, expect_gaussian(path).eigenvalues[0]

    def loss(time: float) -> float:
        return float(delta(time) ** 2 * np.sum(schedule.alpha(time) ** 2 * values + schedule.sigma(time) ** 2))

    choices = [multiple * KL() for multiple in multiples]
    bound = np.asarray([float(kl_bound(path, None, w, excess_loss=loss)) for w in choices])
    truth = [exact_kl(path, delta, 0.0, w) for w in choices]
    ax.plot(multiples, np.where(np.isfinite(bound), bound, np.nan), label="bound", **_look(0))
    ax.plot(multiples, truth, label=r"$\mathrm{KL}(p_0\,\|\,\hat p_0)$", **_look(1))
    ax.axvline(1.0, color="0.35", linewidth=1.0, linestyle=":")
    ax.set(xscale="log", yscale="log", xlabel=r"multiple c in $w = c\,w^{KL}$", ylabel="divergence")
    ax.set(title=_name(schedule))
    ax.legend()
    return ax


def trajectories(
    ax: Axes,
    path: Path,
    *,
    lines: int = 15,
    w: DiffusionCoefficient | None = None,
    start: float = 1.0,
    stop: float = 0.0,
    seed: int = 0,
) -> Axes:
    """Draw the density of a one-dimensional path in time, noise on the left, with flow lines or SDE paths over it.

    With ``w`` the lines are paths of the reverse SDE from ``start`` to ``stop``; without, exact flow lines between
    equally likely points.
    """
    rng = np.random.default_rng(seed)
    ends = np.concatenate([path.sample(time, 4000, rng) for time in (0.0, 1.0)])
    reach = 1.1 * float(np.quantile(np.abs(ends), 0.997))
    times, heights = np.linspace(0, 1, 201), np.linspace(-reach, reach, 241)
    inner = np.clip(times, 1e-3, 1.0)
    density = np.stack([np.exp(path.log_density(float(time), heights[:, None])) for time in inner], axis=1)
    shade = density / density.max(axis=0)
    ax.imshow(shade, extent=(0, 1, -reach, reach), origin="lower", aspect="auto", cmap="Greys", vmax=2.2, alpha=0.9)
    x, grid = _starting_points(path, lines, start, rng), uniform(400, start, stop)
    if w is None:
        solution = solve(probability_flow(path.schedule, path.velocity), x, grid, RK4(), save=True)
    else:
        problem = reverse_sde(path.schedule, path.velocity, w)
        solution = solve(problem, x, grid, StochasticHeun(), rng=rng, save=True)
    last = solution.x[:, 0]
    order = (last - last.min()) / max(float(np.ptp(last)), 1e-12)
    states = np.asarray(solution.xs)[:, :, 0]
    for line, place in zip(states.T, order):
        ax.plot(solution.ts, line, color=COLOURS[0] if place < 0.5 else COLOURS[1], linewidth=0.9, alpha=0.9)
    ax.set(xlim=(1, 0), ylim=(-reach, reach), xlabel="t   (1 noise → 0 data)", ylabel="x")
    ax.grid(False)
    return ax


def _starting_points(path: Path, lines: int, start: float, rng: np.random.Generator) -> np.ndarray[Any, Any]:
    """Equally likely points of the law at ``start``, read off a large sample."""
    sample = np.sort(path.sample(start, 20_000, rng)[:, 0])
    places = ((np.arange(lines) + 0.5) / lines * len(sample)).astype(int)
    return np.array(sample[places][:, None])
