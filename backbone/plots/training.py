"""Curves of trainings: the loss, and what else was written down."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from backbone.plots.runs import Run
from interpolants.plots import style
from interpolants.plots.look import look
from solvers.errors import explain

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["QUANTITIES", "running_mean", "training_curves", "training_page"]

Floats = NDArray[np.float64]
QUANTITIES = {
    "loss": ("loss", True),
    "lr": ("learning rate", False),
    "grad_norm": ("norm of the gradient", True),
    "frechet": ("Fréchet distance", False),
    "images_per_second": ("images per second", False),
}
"""What has a panel: its name, and whether it is noisy enough for a running mean."""


def running_mean(values: Floats, reach: int) -> Floats:
    r"""Return the means over :math:`2r + 1` values around each; at the ends over those of them that are there.

    Args:
        values: shape (n,).
        reach: r.
    """
    index = np.arange(len(values))
    first, last = np.maximum(index - reach, 0), np.minimum(index + reach + 1, len(values))
    sums = np.concatenate([[0.0], np.cumsum(values)])
    means: Floats = (sums[last] - sums[first]) / (last - first)
    return means


def training_curves(ax: Axes, runs: Sequence[Run], quantity: str = "loss") -> Axes:
    """Draw a quantity of the runs against the step, on a logarithmic scale where it is positive.

    Noisy ones have each reading in light and a running mean over 2% of the readings before it. Values that are not
    finite are left out.

    Args:
        ax: where to draw.
        runs: the trainings.
        quantity: a column of the runs.
    """
    name, noisy = QUANTITIES.get(quantity, (quantity, False))
    seen = np.concatenate([run.curve(quantity)[1] for run in runs])
    for index, run in enumerate(runs):
        steps, values = run.curve(quantity)
        reach = len(values) // 100 if noisy else 0
        label, shown = run.name, look(index)
        if reach:
            each = f"{run.name}, each reading"
            ax.plot(steps, values, gid=each, color=shown["color"], linewidth=0.6, alpha=0.3, label="_each reading")
            values = running_mean(values, reach)
        if len(values):
            marker = "o" if len(values) < 20 else None
            ax.plot(steps, values, gid=label, label=label, marker=marker, markersize=4, **shown)
    if noisy and len(seen) and seen.min() > 0:
        _logarithmic(ax, float(seen.max() / seen.min()))
    ax.set(xlabel="training step", ylabel=name)
    ax.set_gid(quantity)
    return ax


def _logarithmic(ax: Axes, ratio: float) -> None:
    """Scale the axis; within two decades its labels are plain numbers, some in each decade."""
    from matplotlib.ticker import LogLocator, NullLocator

    ax.set_yscale("log")
    if ratio < 100:
        ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 3, 5)))
        ax.yaxis.set_major_formatter(lambda value, place: f"{value:g}")
        ax.yaxis.set_minor_locator(NullLocator())


def training_page(runs: Sequence[Run]) -> Figure:
    """Draw the loss of the runs, and below it a panel for every other quantity that any of them has.

    Raises:
        ValueError: no run.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    if not runs:
        raise ValueError(explain("at least one training", "none", "sit plot training out/demo"))
    others = [name for name in QUANTITIES if name != "loss" and any(len(run.curve(name)[0]) for run in runs)]
    with style():
        figure = Figure(figsize=(max(6.5, 3.4 * len(others)), 6.0 if others else 3.6), layout="constrained")
        grid = figure.add_gridspec(2 if others else 1, max(1, len(others)), height_ratios=(3, 2) if others else None)
        top = training_curves(figure.add_subplot(grid[0, :]), runs)
        top.legend()
        for column, name in enumerate(others):
            training_curves(figure.add_subplot(grid[1, column]), runs, name).xaxis.set_major_locator(MaxNLocator(4))
    return figure
