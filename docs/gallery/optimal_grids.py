"""
Optimal grids
=============

Where to put N steps of DDIM, for data with variances 0.01 and 1. The grid with the least exact KL takes small steps
where the small variance is resolved, near the data, and wins a factor of five to ten.
"""

import matplotlib.pyplot as plt

from interpolants import Gaussian, Linear, Path, cosine_optimal, optimal_grid, sampler_law
from interpolants.plots import look, style
from solvers import DDIM, uniform

path = Path(Linear(), Gaussian([0.0, 0.0], [0.01, 1.0]))
grids = {
    "uniform": uniform,
    "cosine, c = 0.1": lambda n: cosine_optimal(path.schedule, n, 0.1),
    "least KL": lambda n: optimal_grid(path, n),
}
counts = (2, 3, 5, 8)

with style():
    figure, (left, right) = plt.subplots(1, 2, figsize=(9.5, 3.6), layout="constrained")
    for index, (name, grid) in enumerate(grids.items()):
        left.plot(grid(8), [index] * 9, marker="o", ms=5, **look(index))
        divergences = [sampler_law(path, DDIM(), grid(n)).kl() for n in counts]
        right.plot(counts, divergences, marker="o", ms=4, label=name, **look(index))
    left.set(xlim=(1.02, -0.02), xlabel="t   (1 noise → 0 data)", title="The times of 8 steps")
    left.set(yticks=range(3), yticklabels=list(grids), ylim=(-0.5, 2.5))
    right.set(xscale="log", yscale="log", xlabel="steps", ylabel="KL of data to samples", title="What they lose")
    right.set_xticks(counts, [str(n) for n in counts])
    right.minorticks_off()
    right.legend()
