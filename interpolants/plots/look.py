"""The one look of all figures: colours, dashes, names, and the numbers that a figure shows.

Colours are those of Okabe & Ito, told apart with every common form of colour blindness; curves also differ in dash.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from interpolants.schedule import Schedule

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["COLOURS", "NOISE_FIRST", "TIME", "look", "name_of", "numbers", "style"]

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
TIME = "t   (0 data, 1 noise)"
NOISE_FIRST = "t   (1 noise → 0 data)"
_DASHES: tuple[Any, ...] = ("-", (0, (6, 2)), (0, (2, 1.5)), (0, (6, 2, 1, 2)), (0, (1, 1)), "-", "--")
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


def look(index: int) -> dict[str, Any]:
    """Return the colour and dash of the curve with this index, as arguments of ``ax.plot``."""
    return {"color": COLOURS[index % len(COLOURS)], "linestyle": _DASHES[index % len(_DASHES)]}


def name_of(schedule: Schedule) -> str:
    """Return what a legend calls a schedule."""
    return _NAMES.get(schedule.name, schedule.name)


def numbers(axes: Sequence[Axes]) -> list[dict[str, float | str]]:
    """Return the numbers that a figure shows: one row per point, with its panel, its curve, x and y.

    A curve goes by its ``gid`` or its label; lines that have neither are decoration, and are left out. Points that
    are not drawn, because they are infinite, are not in the table either. An image that has a ``gid`` has a curve for
    each of its rows, with the column as x.
    """
    rows: list[dict[str, float | str]] = []
    for index, ax in enumerate(axes):
        panel = ax.get_gid() or f"panel {index + 1}"
        for line in ax.lines:
            curve = line.get_gid() or str(line.get_label())
            if curve.startswith("_"):
                continue
            points = np.column_stack([np.asarray(part, np.float64) for part in line.get_data()])
            rows += _points(panel, curve, points)
        for image in ax.images:
            if image.get_gid():
                for row, values in enumerate(np.asarray(image.get_array(), np.float64)):
                    columns = np.column_stack([np.arange(len(values)), values])
                    rows += _points(panel, f"{image.get_gid()}, row {row}", columns)
    return rows


def _points(panel: str, curve: str, points: NDArray[np.float64]) -> list[dict[str, float | str]]:
    return [{"panel": panel, "curve": curve, "x": x, "y": y} for x, y in points.tolist() if np.isfinite(y)]
