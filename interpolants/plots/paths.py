"""Paths of one-dimensional laws in time, and bounds on how far a wrong model strays."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from interpolants.bounds import kl_bound
from interpolants.diffusion import KL, DiffusionCoefficient
from interpolants.divergence import exact_kl
from interpolants.dynamics import probability_flow, reverse_sde
from interpolants.path import Path
from interpolants.plots.look import COLOURS, NOISE_FIRST, look, name_of
from interpolants.transport import expect_gaussian
from solvers import RK4, StochasticHeun, solve, uniform

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["bounds", "trajectories"]

_MULTIPLES = (0.125, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 4.0, 8.0)


def bounds(ax: Axes, path: Path, delta: Callable[[float], float], multiples: Sequence[float] = _MULTIPLES) -> Axes:
    r"""Draw the KL bound and the true divergence against the multiple c in w = c·wKL, for a Gaussian target.

    The model is wrong by :math:`v_\theta - v = \delta_t(x - \alpha_t m)`, whose excess loss is
    :math:`\delta_t^2\sum(\alpha_t^2 c + \sigma_t^2)`. Where that makes the bound infinite, its curve is missing.
    """
    schedule, values = path.schedule, expect_gaussian(path).eigenvalues[0]

    def loss(time: float) -> float:
        return float(delta(time) ** 2 * np.sum(schedule.alpha(time) ** 2 * values + schedule.sigma(time) ** 2))

    choices = [multiple * KL() for multiple in multiples]
    # With w = c·wKL the integrand is (1 + c)²/4c times that of wKL: one integral serves them all.
    best, c = kl_bound(path, None, KL(), excess_loss=loss), np.asarray(multiples)
    bound = (float(best) - best.terminal) * (1 + c) ** 2 / (4 * c) + best.terminal
    truth = [exact_kl(path, delta, 0.0, w) for w in choices]
    ax.plot(multiples, np.where(np.isfinite(bound), bound, np.nan), label="bound", **look(0))
    ax.plot(multiples, truth, label=r"$\mathrm{KL}(p_0\,\|\,\hat p_0)$", **look(1))
    ax.axvline(1.0, color="0.35", linewidth=1.0, linestyle=":")
    ax.set(xscale="log", yscale="log", xlabel=r"multiple c in $w = c\,w^{KL}$", ylabel="divergence")
    ax.set(title=name_of(schedule))
    ax.set_gid(schedule.name)
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
    for index, (line, place) in enumerate(zip(states.T, order)):
        ax.plot(
            solution.ts,
            line,
            gid=f"line {index + 1}",
            color=COLOURS[0] if place < 0.5 else COLOURS[1],
            linewidth=0.9,
            alpha=0.9,
        )
    ax.set(xlim=(1, 0), ylim=(-reach, reach), xlabel=NOISE_FIRST, ylabel="x")
    ax.set_gid(path.schedule.name)
    ax.grid(False)
    return ax


def _starting_points(path: Path, lines: int, start: float, rng: np.random.Generator) -> np.ndarray[Any, Any]:
    """Equally likely points of the law at ``start``, read off a large sample."""
    sample = np.sort(path.sample(start, 20_000, rng)[:, 0])
    places = ((np.arange(lines) + 0.5) / lines * len(sample)).astype(int)
    return np.array(sample[places][:, None])
