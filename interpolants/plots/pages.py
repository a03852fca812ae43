"""Whole figures by name, for the command line: drawn for any schedules, written with their numbers beside them."""

from __future__ import annotations

import csv
import pathlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from interpolants.path import Path
from interpolants.plots.curves import path_length_curves, schedule_curves, transport_cost_curves
from interpolants.plots.look import name_of, numbers, style
from interpolants.plots.paths import bounds, trajectories
from interpolants.schedule import Schedule
from interpolants.targets import Gaussian, GaussianMixture
from solvers.errors import closest, explain

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["FIGURES", "expect_format", "page", "save"]

_SUFFIXES = (".png", ".svg", ".pdf")
_MULTIPLES = tuple(2.0 ** (k / 2) for k in range(-8, 9))


def _schedules(axes: Sequence[Axes], schedules: Sequence[Schedule]) -> None:
    titles = ("Data coefficient", "Noise coefficient", "Log-SNR")
    for ax, quantity, title in zip(axes, ("alpha", "sigma", "log_snr"), titles):
        schedule_curves(ax, schedules, quantity).set_title(title)


def _transport_cost(axes: Sequence[Axes], schedules: Sequence[Schedule]) -> None:
    transport_cost_curves(axes[0], schedules).set_title("Cost of moving N(0, 1) to N(0, s²)")


def _path_length(axes: Sequence[Axes], schedules: Sequence[Schedule]) -> None:
    path_length_curves(axes[0], schedules).set_title("Path length from N(0, 1) to N(0, s²)")


def _bounds(axes: Sequence[Axes], schedules: Sequence[Schedule]) -> None:
    for ax, schedule in zip(axes, schedules):
        bounds(ax, Path(schedule, Gaussian([0.0], 0.25)), lambda time: 0.1 * time, _MULTIPLES)
        ax.set_title(f"{name_of(schedule)}: N(0, ¼), velocity error 0.1 t x")
        ax.label_outer()


def _trajectories(axes: Sequence[Axes], schedules: Sequence[Schedule]) -> None:
    target = GaussianMixture([0.5, 0.5], [[-1.5], [1.5]], [[[0.04]], [[0.04]]])
    for ax, schedule in zip(axes, schedules):
        trajectories(ax, Path(schedule, target)).set_title(f"{name_of(schedule)}: flow to two modes")


FIGURES: dict[str, Callable[[Sequence[Axes], Sequence[Schedule]], None]] = {
    "schedules": _schedules,
    "transport-cost": _transport_cost,
    "path-length": _path_length,
    "bounds": _bounds,
    "trajectories": _trajectories,
}
"""The figures of ``sit plot``."""


def page(figure: str, schedules: Sequence[Schedule]) -> Figure:
    """Draw one of :data:`FIGURES` for schedules.

    Raises ValueError for a name that is not among them.
    """
    from matplotlib.figure import Figure

    if figure not in FIGURES:
        remedy = f"did you mean {closest(figure, FIGURES)}?"
        raise ValueError(explain(f"one of {', '.join(FIGURES)}", repr(figure), remedy))
    panels = {"schedules": 3, "transport-cost": 1, "path-length": 1}.get(figure, len(schedules))
    with style():
        result = Figure(figsize=(4.2 * panels + (1.3 if panels == 1 else 0), 3.6), layout="constrained")
        FIGURES[figure](list(result.subplots(1, panels, squeeze=False, sharey=figure == "bounds")[0]), schedules)
    return result


def expect_format(out: pathlib.Path) -> None:
    """Raise ValueError unless a figure can be written to a file of this name, as PNG, SVG or PDF."""
    if out.suffix.lower() not in _SUFFIXES:
        received = repr(out.suffix or out.name)
        raise ValueError(explain(f"a file that ends in {', '.join(_SUFFIXES)}", received, f"write {out.stem}.png"))


def save(figure: Figure, out: pathlib.Path, table: pathlib.Path | None = None) -> tuple[pathlib.Path, pathlib.Path]:
    """Write a figure as PNG, SVG or PDF and its numbers as CSV, beside it if no other file is named.

    Raises ValueError for another suffix. Folders are made.
    """
    expect_format(out)
    table = out.with_suffix(".csv") if table is None else table
    for file in (out, table):
        file.parent.mkdir(parents=True, exist_ok=True)
    with style():
        figure.savefig(out)
    with table.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, fieldnames=["panel", "curve", "x", "y"])
        writer.writeheader()
        writer.writerows(numbers(figure.axes))
    return out, table
