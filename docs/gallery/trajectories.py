"""
Straight and curved trajectories
================================

Flow lines from noise, on the left, to two modes, under three schedules. The defect in the titles is what
:func:`interpolants.straightness` gives: 0 where every line is straight and run at constant speed.
"""

import matplotlib.pyplot as plt

from interpolants import GVP, VP, GaussianMixture, Linear, Path, straightness
from interpolants.plots import style, trajectories

target = GaussianMixture([0.5, 0.5], [[-1.5], [1.5]], [[[0.04]], [[0.04]]])

with style():
    figure, axes = plt.subplots(1, 3, figsize=(11, 3.6), sharey=True, layout="constrained")
    for ax, schedule in zip(axes, (Linear(), GVP(), VP())):
        path = Path(schedule, target)
        trajectories(ax, path).set_title(f"{type(schedule).__name__}, defect {float(straightness(path)):.2f}")
        ax.label_outer()
