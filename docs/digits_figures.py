"""The figure of the way to noise and back, drawn from the record: ``python docs/digits_figures.py``."""

from __future__ import annotations

import json
from pathlib import Path

from matplotlib.figure import Figure

from interpolants.plots import style
from interpolants.plots.look import look

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "digits_likelihood.json"
PANELS = {"round trip": "There and back", "encoding": "One way, against the exact flow"}


def trips() -> Figure:
    """Draw the errors of the round trip and of encoding against the evaluations of both ways, or of one."""
    rows = [row for row in json.loads(RESULTS.read_text())["rows"] if row["part"] == "round trip"]
    with style():
        figure = Figure(figsize=(9.0, 3.8), layout="constrained")
        axes = figure.subplots(1, 2, sharey=True)
        for ax, (error, title) in zip(axes, PANELS.items()):
            share = 1.0 if error == "round trip" else 0.5
            for index, method in enumerate(dict.fromkeys(row["method"] for row in rows)):
                points = [(share * row["nfe"], row[error]) for row in rows if row["method"] == method]
                ax.plot(*zip(*points), marker="o", markersize=4, label=method, **look(index))
            ax.set(xscale="log", yscale="log", title=title, xlabel="evaluations of the network")
        axes[0].set_ylabel("root mean square error of a pixel")
        axes[0].legend()
    return figure


def main() -> None:
    """Write the figure."""
    with style():
        trips().savefig(ROOT / "docs" / "images" / "round_trip.png")


if __name__ == "__main__":
    main()
