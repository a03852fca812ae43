"""The figures of the digits studies, drawn from their record: ``python docs/studies_figures.py``."""

from __future__ import annotations

from typing import Any

import studies_tables as known
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from studies_tables import METHODS, counts, label, rows_of, sampled, variants

from interpolants.plots import style
from interpolants.plots.look import look

IMAGES = known.ROOT / "docs" / "images"
PANELS = {
    "dit-to-sit": "from DiT to SiT",
    "schedule": "schedule",
    "conditioning": "conditioning",
    "patch-size": "patch size",
    "positions": "positions",
}
FRECHET = "Fréchet distance to held-out digits"


def _floor(ax: Axes, *, upright: bool = False) -> None:
    """Draw what real digits score."""
    (row,) = rows_of("floor")
    draw = ax.axvline if upright else ax.axhline
    draw(row["frechet"], color="0.45", lw=1.0, ls=":", label="real digits")


def choices() -> Figure:
    """Draw the distance of every variant of the studies that change one thing, with what another seed changes."""
    seeds = [sampled(name, "heun", 50)["frechet"] for name in variants("seeds")]
    figure = Figure(figsize=(7.6, 6.8), layout="constrained")
    heights = [len(variants(study)) for study in PANELS]
    axes = figure.subplots(len(PANELS), 1, height_ratios=heights)
    for ax, (study, title) in zip(axes, PANELS.items()):
        names = variants(study)
        for place, name in enumerate(names):
            method = "heun" if study != "dit-to-sit" else "ddim"
            row = sampled(name, method, 50)
            ax.errorbar(row["frechet"], place, xerr=row["frechet error"], color=look(0)["color"], marker="o", capsize=3)
        if study != "dit-to-sit":
            ax.axvspan(min(seeds), max(seeds), color="0.88", zorder=0, label="the baseline with three seeds")
        _floor(ax, upright=True)
        sampler = "DDIM" if study == "dit-to-sit" else "Heun"
        ax.set(title=f"{title} ({sampler}, 50 evaluations)", ylim=(len(names) - 0.5, -0.5))
        ax.set_yticks(range(len(names)), [label(name, study) for name in names])
        ax.grid(axis="y", visible=False)
        ax.set(xscale="log")
        _plain_ticks(ax.xaxis)
    # The first panel has an axis of its own, for its distances are of another size.
    low, high = zip(*(ax.get_xlim() for ax in axes[1:]))
    for ax in axes[1:]:
        ax.set_xlim(min(low), max(high))
    axes[-1].set(xlabel=f"{FRECHET} (lower is better)")
    figure.legend(*axes[-1].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figure


def _curve(ax: Axes, rows: list[dict[str, Any]], x: str, index: int, name: str) -> None:
    errors = [row["frechet error"] for row in rows]
    ax.errorbar(
        [row[x] for row in rows], [row["frechet"] for row in rows], yerr=errors, label=name, capsize=2, **look(index)
    )


def evaluations() -> Figure:
    """Draw distances and accuracies against evaluations, by sampler of SiT and DiT and by solver of the ODE."""
    figure = Figure(figsize=(10.5, 3.9), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    for index, ((variant, method), name) in enumerate(METHODS.items()):
        rows = counts(variant, method, "sigma" if method == "em" else "")
        rows = [row for row in rows if row["nfe"] in {one["nfe"] for one in counts("dit", "ddpm")}]
        _curve(left, rows, "nfe", index, name)
        right.plot([row["nfe"] for row in rows], [row["accuracy"] for row in rows], label=name, **look(index))
    for index, method in enumerate(("euler", "heun", "rk4")):
        rows = [row for row in counts("linear", method) if row["nfe"] in (8, 16, 32, 64, 128)]
        _curve(middle, rows, "nfe", index, {"euler": "Euler", "heun": "Heun", "rk4": "RK4"}[method])
    for ax, title in ((left, "samplers"), (middle, "solvers of SiT's ODE"), (right, "samplers")):
        ax.set(xscale="log", xlabel="evaluations of the network", title=title)
        _plain_ticks(ax.xaxis, (10, 50, 100, 500) if ax is not middle else (8, 16, 32, 64, 128))
    for ax in (left, middle):
        _floor(ax)
        ax.set(yscale="log", ylabel=FRECHET)
        _plain_ticks(ax.yaxis)
    right.set(ylabel="share of recognised digits")
    middle.legend()
    figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=5)
    return figure


def coefficients() -> Figure:
    """Draw the distance by w, for sizes and for schedules."""
    figure = Figure(figsize=(9.5, 3.9), layout="constrained")
    for ax, names, title in zip(
        figure.subplots(1, 2, sharey=True),
        (("width-32", "width-64", "linear"), ("linear", "gvp", "vp")),
        ("Linear, three sizes", "the largest, three schedules"),
    ):
        for index, name in enumerate(names):
            rows = [sampled(name, "heun", 50), *(sampled(name, "em", 100, w, 0.99) for w in known.W if w)]
            places = [place + 0.12 * (index - 1) for place in range(len(rows))]
            shown = label(name, "w-and-size" if "sizes" in title else "")
            values, errors = ([row[key] for row in rows] for key in ("frechet", "frechet error"))
            marker = "osD"[index]
            ax.errorbar(
                places, values, yerr=errors, color=look(index)["color"], ls="", marker=marker, capsize=3, label=shown
            )
        _floor(ax)
        ax.set_xticks(range(len(known.W)), list(known.W.values()))
        ax.set(title=title, yscale="log", xlabel="ODE with 50 evaluations, SDE with 100")
        ax.grid(axis="x", visible=False)
        _plain_ticks(ax.yaxis)
        ax.legend(fontsize=8, loc=(0.02, 0.1))
    figure.axes[0].set_ylabel(FRECHET)
    return figure


def costs() -> Figure:
    """Draw the distance against the transport cost, and against the time of a sample."""
    figure = Figure(figsize=(9.5, 3.9), layout="constrained")
    left, right = figure.subplots(1, 2)
    for place, name in enumerate(variants("transport")):
        (cost,) = rows_of("transport", variant=name)
        for index, nfe in enumerate((8, 16, 32)):
            row, shown = sampled(name, "euler", nfe), {"color": look(index)["color"], "marker": "osDv"[place]}
            left.errorbar(cost["cost"], row["frechet"], yerr=row["frechet error"], ls="", capsize=3, **shown)
        left.plot([], [], color="0.3", marker="osDv"[place], ls="", label=label(name).removesuffix(", velocity"))
    for index, nfe in enumerate((8, 16, 32)):
        left.plot([], [], color=look(index)["color"], lw=4, label=f"Euler, {nfe} evaluations")
    for index, ((variant, method), name) in enumerate(METHODS.items()):
        rows = counts(variant, method, "sigma" if method == "em" else "")
        _curve(right, [row | {"ms": 1e3 * row["seconds"]} for row in rows], "ms", index, name)
    for ax in (left, right):
        _floor(ax)
        ax.set(yscale="log", ylabel=FRECHET)
        _plain_ticks(ax.yaxis)
        ax.legend(fontsize=8)
    right.set_ylim(top=400)
    _plain_ticks(right.yaxis, (2, 3, 5, 10, 20, 50, 100, 200))
    left.set(xlabel="transport cost of the learned velocity", title="cost and quality with few evaluations")
    right.set(xscale="log", xlabel="CPU milliseconds per sample", title="time and quality")
    _plain_ticks(right.xaxis, (5, 10, 20, 50, 100, 200))
    return figure


def _plain_ticks(axis: Any, ticks: tuple[float, ...] = (1, 2, 3, 4, 5, 6, 8, 10, 20, 50, 100, 200)) -> None:
    """Label a logarithmic axis with numbers as they are, where they are within it."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullFormatter

    axis.set_major_locator(FixedLocator(ticks))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def main() -> None:
    """Write the figures."""
    with style():
        figures = {
            "studies_choices": choices(),
            "studies_evaluations": evaluations(),
            "studies_w": coefficients(),
            "studies_costs": costs(),
        }
        for name, figure in figures.items():
            figure.savefig(IMAGES / f"{name}.png")


if __name__ == "__main__":
    main()
