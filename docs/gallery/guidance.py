r"""
Guidance on Gaussians
=====================

Conditional data N(1, ¼), all data N(0, 1), and the flow guided by :math:`v_u + \zeta(v_c - v_u)`. Its result is
Gaussian and exact. It is not the tempered density :math:`p_c^\zeta p_u^{1-\zeta}`, which is often said to be sampled:
guidance goes farther out and is narrower.
"""

import matplotlib.pyplot as plt
import numpy as np

from interpolants import Gaussian, Linear, Path, sampler_law
from interpolants.guidance import ClassifierFree, guided
from interpolants.plots import look, style
from solvers import RK4, uniform

wanted, others = (Path(Linear(), target) for target in (Gaussian([1.0], 0.25), Gaussian([0.0], 1.0)))
x = np.linspace(-1.0, 4.0, 400)


def normal(mean, variance):
    return np.exp(-((x - mean) ** 2) / 2 / variance) / np.sqrt(2 * np.pi * variance)


with style():
    figure, axes = plt.subplots(1, 3, figsize=(10.5, 3.4), sharey=True, layout="constrained")
    for ax, scale in zip(axes, (1.0, 1.5, 3.0)):
        model = guided(wanted.velocity, others.velocity, ClassifierFree(scale))
        law = sampler_law(wanted, RK4(), uniform(50), model=model)
        precision = scale / 0.25 + (1 - scale) / 1.0
        ax.plot(x, normal(1.0, 0.25), label="conditional data", **look(2))
        ax.plot(x, normal(scale / 0.25 / precision, 1 / precision), label="tempered density", **look(1))
        ax.plot(x, normal(law.mean.item(), law.cov.item()), label="guided flow", **look(0))
        ax.set(title=f"ζ = {scale:g}", xlabel="x", ylim=(0, 3.4))
    axes[0].legend()
