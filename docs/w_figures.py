"""The figures of the page on w, drawn from ``benchmarks/results/what_w_does.json``: ``python docs/w_figures.py``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from interpolants.plots import style
from interpolants.plots.look import look

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "what_w_does.json"
NAMES = {"linear": "Linear", "gvp": "GVP", "vp": "VP"}
LABELS = {"KL": r"$w^{KL}$", "sigma": r"$\sigma$", "sin^2": r"$\sin^2\pi t$", "KL, eta": r"$w^{KL,\eta}$"}
ERRORS = ("near the noise", "everywhere", "near the data")


def rows_of(part: str, **wanted: Any) -> list[dict[str, Any]]:
    """Return the rows of a part with the given values, by c and n."""
    rows = json.loads(RESULTS.read_text())["rows"]
    found = [row for row in rows if row["part"] == part and all(row[key] == value for key, value in wanted.items())]
    return sorted(found, key=lambda row: (row.get("c", 0.0), row.get("n") or 0))


MEASURES = {
    "kl": (r"$\mathrm{KL}(p_0\,\|\,\hat p_0)$", {1: (0.01, 0.02, 0.05), 2: (0.002, 0.005, 0.01, 0.02)}),
    "w2": (r"$W_2(p_0, \hat p_0)$", {1: (0.06, 0.1, 0.15), 2: (0.02, 0.05, 0.1)}),
}
"""The name of a measure on its axis, and the ticks of the lines that span little more than a decade."""


def without_steps(measure: str) -> Figure:
    """Draw a measure against the multiple of w: schedules along, errors down; with KL its bound where it is finite."""
    name, ticks = MEASURES[measure]
    with style():
        figure = Figure(figsize=(10.5, 8.4), layout="constrained")
        axes = figure.subplots(3, 3, sharex=True, sharey="row")
        for line, error in zip(axes, ERRORS):
            for ax, schedule in zip(line, NAMES):
                ode = rows_of("continuous", schedule=schedule, error=error, c=0.0)[0]
                for index, (base, label) in enumerate(LABELS.items()):
                    rows = [ode, *rows_of("continuous", schedule=schedule, error=error, w=base)]
                    ax.plot([row["c"] for row in rows], [row[measure] for row in rows], label=label, **look(index))
                if measure == "kl":
                    _bound(ax, rows_of("continuous", schedule=schedule, error=error, w="KL"))
                ax.plot([0.0], [ode[measure]], "o", color="black", ms=5, label="ODE")
                ax.set(yscale="log", title=f"{NAMES[schedule]}, error {error}")
        for line, values in ticks.items():
            _label(axes[line, 0], values)
        for ax in axes[-1]:
            ax.set_xlabel("multiple c of w")
        for ax in axes[:, 0]:
            ax.set_ylabel(name)
        handles, labels = axes[0, 2].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=6)
    return figure


def _bound(ax: Axes, rows: list[dict[str, Any]]) -> None:
    """Draw the bound for the multiples of wKL, where it is finite."""
    bound = [row for row in rows if row["bound"]]
    if bound:
        c, values = zip(*[(row["c"], row["bound"]) for row in bound])
        ax.plot(c, values, color="0.45", lw=1.0, marker=".", label=r"KL bound, $w^{KL}$")


def with_steps() -> Figure:
    """Draw KL against the number of steps: the exact velocity above, a wrong one below."""
    with style():
        figure = Figure(figsize=(10.5, 5.8), layout="constrained")
        axes = figure.subplots(2, 3, sharex=True, sharey="row")
        for line, error in zip(axes, ("", "everywhere")):
            for ax, schedule in zip(line, NAMES):
                curves = [("KL", 0.0, "ODE"), ("KL", 1.0, r"$w^{KL}$"), ("KL", 4.0, r"$4w^{KL}$")]
                curves += [("sigma", 1.0, r"$\sigma$"), ("sigma", 4.0, r"$4\sigma$")]
                for base, c, label in curves:
                    rows = rows_of("steps", schedule=schedule, error=error, w=base, c=c)
                    shown = {"color": look(base == "sigma")["color"], "linestyle": "-" if c == 1.0 else (0, (5, 2))}
                    shown = shown if c else {"color": "black", "linestyle": ":"}
                    ax.plot([row["n"] for row in rows], [row["kl"] for row in rows], label=label, **shown)
                title = "exact velocity" if not error else "error everywhere"
                ax.set(xscale="log", yscale="log", title=f"{NAMES[schedule]}, {title}")
                ax.set_xticks([10, 25, 50, 100, 250], ["10", "25", "50", "100", "250"])
                ax.xaxis.set_minor_formatter(NullFormatter())
        _label(axes[1, 0], (0.02, 0.05, 0.1, 0.2, 0.5))
        for ax in axes[-1]:
            ax.set_xlabel("steps, one evaluation each")
        for ax in axes[:, 0]:
            ax.set_ylabel(r"$\mathrm{KL}(p_0\,\|\,\hat p_0)$")
        figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=5)
    return figure


def _label(ax: Axes, ticks: tuple[float, ...]) -> None:
    """Label a logarithmic axis of little more than a decade."""
    ax.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
    ax.yaxis.set_minor_formatter(NullFormatter())


def main() -> None:
    """Write the figures."""
    with style():
        figures = {
            "w_without_steps": without_steps("kl"),
            "w_distances": without_steps("w2"),
            "w_with_steps": with_steps(),
        }
        for name, figure in figures.items():
            figure.savefig(ROOT / "docs" / "images" / f"{name}.png")


if __name__ == "__main__":
    main()
