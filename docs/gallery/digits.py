"""
Digits in few steps
===================

Networks of the demonstration's size on 8 × 8 digits, from the stored record of ``benchmarks/few_step.py``: no training
here. Below 0.28, the distance of the training digits themselves, nothing is left to gain. Points are means over seeds
of the noise, bars their standard deviation.
"""

import json
from pathlib import Path

import matplotlib.pyplot as plt

from interpolants.plots import look, style

root = next(folder for folder in (Path.cwd(), *Path.cwd().parents) if (folder / "benchmarks").is_dir())
rows = json.loads((root / "benchmarks/results/few_step.json").read_text())["rows"]
real, trained = rows[0], [row for row in rows[1:] if row["from"] or row["objective"] == "velocity"]

with style():
    figure, ax = plt.subplots(figsize=(7.4, 4.4), layout="constrained")
    for index, objective in enumerate(dict.fromkeys(row["objective"] for row in trained)):
        found = sorted((row for row in trained if row["objective"] == objective), key=lambda row: row["nfe"])
        x, y, bar = zip(*((row["nfe"], row["frechet"], row["frechet spread"]) for row in found))
        ax.errorbar(x, y, bar, marker="o", ms=4, label=objective, **look(index))
    ax.axhline(real["frechet"], color="0.35", linewidth=1.0, label="training digits")
    ax.set(xscale="log", yscale="log", xlabel="evaluations of the network", ylabel="Fréchet distance of pixels")
    ax.set_xticks([1, 2, 4, 100], ["1", "2", "4", "100"])
    ax.minorticks_off()
    ax.set_yticks([0.3, 0.5, 1, 2, 5], ["0.3", "0.5", "1", "2", "5"])
    ax.set_title("Distance to held-out digits")
    ax.legend()
