r"""
wKL and other choices of w
==========================

Above, the noise of the reverse SDE in time: :math:`w^{\mathrm{KL}}` leaves the frame at t = 1 under Linear, where it is
infinite, and is finite under VP. Below, its reason to exist: for a model whose velocity is wrong by 0.1 t x, the bound
on :math:`\mathrm{KL}(p_0\|\hat p_0)` is smallest at :math:`w = w^{\mathrm{KL}}`, for any schedule and any error. The
true divergence need not be.
"""

import matplotlib.pyplot as plt

from interpolants import VP, Gaussian, Linear, Path
from interpolants import diffusion as w
from interpolants.plots import bounds, diffusion_curves, style

multiples = [2.0**k for k in range(-4, 5)]
choices = [w.KL(), w.Sigma(), w.SinSquared(), w.Decreasing(), w.Constant(1)]

with style():
    figure, axes = plt.subplots(2, 2, figsize=(9, 7), layout="constrained")
    for (above, below), schedule in zip(axes.T, (Linear(), VP())):
        name = type(schedule).__name__
        diffusion_curves(above, schedule, choices).set_title(f"w under {name}")
        bounds(below, Path(schedule, Gaussian([0.0], 0.25)), lambda time: 0.1 * time, multiples)
        below.set_title(f"{name}: bound and divergence")
