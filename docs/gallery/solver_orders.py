"""
Orders of solvers
=================

The flow of a mixture of two Gaussians, whose end :func:`Path.flow <interpolants.Path.flow>` finds with tight adaptive
steps. On logarithmic axes a method of order p falls with slope −p, and what counts is the error for a number of
evaluations of the model.
"""

import matplotlib.pyplot as plt
import numpy as np

from interpolants import GaussianMixture, Linear, Path, probability_flow
from interpolants.plots import look, style
from solvers import RK4, AdamsBashforth, Euler, Heun, solve, uniform

path = Path(Linear(), GaussianMixture([0.3, 0.7], [[-1.0], [1.0]], [[[0.2]], [[0.3]]]))
ode = probability_flow(path.schedule, path.velocity)
noise = path.prior(200, np.random.default_rng(0))
exact = path.flow(1.0, 0.0, noise)

with style():
    figure, ax = plt.subplots(figsize=(6.4, 4.2), layout="constrained")
    for index, method in enumerate((Euler(), AdamsBashforth(2), Heun(), RK4())):
        solutions = [solve(ode, noise, uniform(n), method) for n in (4, 8, 16, 32, 64, 128)]
        errors = [np.sqrt(np.mean((solution.x - exact) ** 2)) for solution in solutions]
        label = f"{method}, order {method.order}"
        ax.plot([solution.nfe for solution in solutions], errors, marker="o", ms=4, label=label, **look(index))
    ax.set(xscale="log", yscale="log", xlabel="evaluations of the velocity", ylabel="root mean square error")
    ax.set_title("From noise to data under Linear")
    ax.legend()
