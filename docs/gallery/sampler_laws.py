"""
Exact laws of samplers
======================

On a Gaussian target the numbers that a sampler returns have an exact law, read off the sampler itself. Three methods
with 10 steps, beside 20,000 of their samples: the curve is not a fit. Euler loses a quarter of the
variance, noise wins a part of it back, and Heun, with twice the evaluations, is nearly exact.
"""

import matplotlib.pyplot as plt
import numpy as np

from interpolants import Gaussian, Linear, Path, diffusion, probability_flow, reverse_sde, sampler_law
from interpolants.plots import look, style
from solvers import Euler, EulerMaruyama, Heun, solve, uniform

path, ts, rng = Path(Linear(), Gaussian([0.0], 0.25)), uniform(10), np.random.default_rng(0)
flow = probability_flow(path.schedule, path.velocity)
cases = [
    ("Euler", Euler(), diffusion.Zero()),
    ("Heun", Heun(), diffusion.Zero()),
    ("Euler–Maruyama, w = σ", EulerMaruyama(), diffusion.Sigma()),
]


def normal(x, variance):
    return np.exp(-(x**2) / 2 / variance) / np.sqrt(2 * np.pi * variance)


def draw(method, w):
    problem = reverse_sde(path.schedule, path.velocity, w) if method.stochastic else flow
    return solve(problem, path.prior(20_000, rng), ts, method, rng=rng if method.stochastic else None).x


x = np.linspace(-2, 2, 200)
with style():
    figure, axes = plt.subplots(1, 3, figsize=(10.5, 3.4), sharey=True, layout="constrained")
    for ax, (name, method, w) in zip(axes, cases):
        law = sampler_law(path, method, ts, w)
        ax.hist(draw(method, w)[:, 0], bins=60, range=(-2, 2), density=True, color="0.8", label="samples")
        ax.plot(x, normal(x, law.cov.item()), label="exact law", **look(0))
        ax.plot(x, normal(x, 0.25), label="data", **look(1))
        ax.set(title=f"{name}\nvariance {law.cov.item():.3f}, data 0.250", xlabel="x")
    axes[0].legend()
