"""``sit plot``: figures with their numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import tyro

from backbone.cli.schedules import Names, schedules

__all__ = ["plot"]


def plot(
    figure: Annotated[
        Literal["schedules", "transport-cost", "path-length", "bounds", "trajectories"], tyro.conf.Positional
    ],
    names: Names = (),
    alpha: str | None = None,
    sigma: str | None = None,
    out: Path | None = None,
    csv: Path | None = None,
) -> int:
    """Draw a figure for schedules, write its numbers beside it, and say where both are.

    Args:
        figure: what to draw.
        names: built-in schedules; linear, gvp and vp when nothing is given.
        alpha: data coefficient of a schedule of your own, such as "1 - t**2".
        sigma: its noise coefficient, such as "t**2".
        out: PNG, SVG or PDF file, by its suffix; FIGURE.png when absent.
        csv: file for the numbers; that of the figure with the suffix .csv when absent.
    """
    from interpolants import plots

    page = plots.page(figure, schedules(names, alpha, sigma))
    print(*plots.save(page, Path(f"{figure}.png") if out is None else out, csv), sep="\n")
    return 0
