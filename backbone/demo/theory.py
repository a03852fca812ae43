"""The theory half of the demonstration: certificates, the transport-cost figure and the trajectory figures."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path as FilePath
from typing import Any

from interpolants import Gaussian, GaussianMixture, Path, Schedule, certify, straightness, transport_cost
from interpolants import diffusion as w
from interpolants.plots import (
    diffusion_curves,
    schedule_curves,
    style,
    trajectories,
    transport_cost_curves,
    transport_cost_table,
)

__all__ = ["certificates", "trajectory_figures", "transport_figure"]

DEVIATIONS = (0.1, 0.25, 0.5, 1.0, 2.0, 4.0)


def certificates(schedules: Sequence[Schedule], out: FilePath) -> dict[str, Any]:
    """Certify every schedule; write ``certificates.json`` and ``certificates.txt``; return a summary."""
    found = [certify(schedule) for schedule in schedules]
    (out / "certificates.json").write_text(json.dumps([item.to_dict() for item in found], indent=1) + "\n")
    (out / "certificates.txt").write_text("\n\n".join(item.table() for item in found) + "\n")
    return {
        item.schedule["name"]: {
            "ok": item.ok,
            **{status: sum(f.status == status for f in item.findings) for status in ("proved", "measured", "fails")},
        }
        for item in found
    }


def transport_figure(schedules: Sequence[Schedule], out: FilePath) -> list[dict[str, Any]]:
    """Write ``transport_cost.png`` and its numbers, ``transport_cost.csv``; return a few of them."""
    from matplotlib.figure import Figure

    with style():
        figure = Figure(figsize=(11, 3.6), layout="constrained")
        axes = figure.subplots(1, 3, width_ratios=(1, 1, 1.35))
        schedule_curves(axes[0], schedules, "alpha").set_title("Data coefficient")
        schedule_curves(axes[1], schedules, "sigma").set_title("Noise coefficient")
        transport_cost_curves(axes[2], schedules).set_title("Cost of moving N(0, 1) to N(0, s²)")
        figure.savefig(out / "transport_cost.png")
    rows = transport_cost_table(schedules, DEVIATIONS)
    with (out / "transport_cost.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return [row for row in rows if row["s"] == 0.5]


def trajectory_figures(schedules: Sequence[Schedule], out: FilePath) -> dict[str, Any]:
    """Write ``trajectories.png`` (flow lines) and ``stochastic.png`` (w_t and paths of the reverse SDE)."""
    from matplotlib.figure import Figure

    gaussian = Gaussian([0.5], 0.09)
    mixture = GaussianMixture([0.5, 0.5], [[-1.5], [1.5]], [[[0.04]], [[0.04]]])
    with style():
        figure = Figure(figsize=(3.7 * len(schedules), 5.6), layout="constrained")
        axes = figure.subplots(2, len(schedules), squeeze=False)
        for column, schedule in enumerate(schedules):
            cost, defect = (f(Path(schedule, gaussian)) for f in (transport_cost, straightness))
            top = trajectories(axes[0][column], Path(schedule, gaussian))
            top.set_title(f"{schedule.name}, Gaussian: cost {cost:.3f}, defect {defect:.3f}")
            trajectories(axes[1][column], Path(schedule, mixture)).set_title(f"{schedule.name}, two modes")
        figure.savefig(out / "trajectories.png")
        _stochastic(schedules[0], Path(schedules[0], mixture), out)
    return {"gaussian": {"mean": 0.5, "std": 0.3}, "mixture": {"means": [-1.5, 1.5], "std": 0.2}}


def _stochastic(schedule: Schedule, path: Path, out: FilePath) -> None:
    from matplotlib.figure import Figure

    choices = (w.Zero(), w.Sigma(), w.SinSquared(), w.KL())
    figure = Figure(figsize=(12.5, 3.4), layout="constrained")
    axes = figure.subplots(1, 4)
    diffusion_curves(axes[0], schedule, choices[1:]).set_title(f"w under {schedule.name}")
    for ax, choice in zip(axes[1:], choices[1:]):
        start = 1.0 if choice.of(schedule).ends[1].limit < float("inf") else 0.999
        trajectories(ax, path, w=choice, start=start, lines=6, seed=2).set_title(f"reverse SDE, w = {choice}")
    figure.savefig(out / "stochastic.png")
