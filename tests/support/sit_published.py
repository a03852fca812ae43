"""SiT's published interface as an oracle: its training losses and samplers as plain loops, written from their formulas.

Time is its own, 0 noise and 1 data. Nothing here imports the library. What the published code gets wrong is kept only
where a test shows it.
"""

from __future__ import annotations

import math

import torch
from torchdiffeq import odeint

PATHS = ("Linear", "GVP", "VP")
PREDICTIONS = ("velocity", "noise", "score")
FORMS = ("constant", "SBDM", "sigma", "linear", "decreasing", "increasing-decreasing")
LAST_STEPS = ("Mean", "Tweedie", "Euler", None)
LOW, HIGH = 0.1, 20.0


def network(x, t, scale=1.0):
    """A smooth nonlinear model of the state and the time, with a keyword of its own."""
    time = t.reshape(-1, *[1] * (x.ndim - 1)).to(x.dtype)
    return scale * (torch.sin(x) * (1 + time) + torch.cos(3 * time) * x.roll(1, -1))


def levels(path, t):
    """Return α, α̇, σ, σ̇ as functions of a tensor of times."""
    if path == "Linear":
        return t, torch.ones_like(t), 1 - t, -torch.ones_like(t)
    if path == "GVP":
        angle, speed = t * math.pi / 2, math.pi / 2
        return torch.sin(angle), speed * torch.cos(angle), torch.cos(angle), -speed * torch.sin(angle)
    log_alpha = -0.25 * (1 - t) ** 2 * (HIGH - LOW) - 0.5 * (1 - t) * LOW
    slope = 0.5 * (1 - t) * (HIGH - LOW) + 0.5 * LOW
    alpha, sigma = torch.exp(log_alpha), torch.sqrt(-torch.expm1(2 * log_alpha))
    return alpha, slope * alpha, sigma, -slope * alpha**2 / sigma


def kappa(path, t):
    """Return (α̇/α)σ² − σσ̇."""
    if path == "VP":
        return 0.5 * (LOW + (1 - t) * (HIGH - LOW))
    alpha, d_alpha, sigma, d_sigma = levels(path, t)
    return d_alpha / alpha * sigma**2 - sigma * d_sigma


def wide(t, x):
    """Give times the axes of a batch."""
    return t.reshape(-1, *[1] * (x.ndim - 1))


def drift(path, prediction, model, x, t, **kwargs):
    """Return the drift of the probability flow."""
    output, time = model(x, t, **kwargs), wide(t, x)
    if prediction == "velocity":
        return output
    alpha, d_alpha, sigma, _ = levels(path, time)
    score = output if prediction == "score" else -output / sigma
    return d_alpha / alpha * x + kappa(path, time) * score


def score(path, prediction, model, x, t, **kwargs):
    """Return the score."""
    output, time = model(x, t, **kwargs), wide(t, x)
    alpha, d_alpha, sigma, d_sigma = levels(path, time)
    if prediction == "velocity":
        ratio = alpha / d_alpha
        return (ratio * output - x) / (sigma**2 - ratio * d_sigma * sigma)
    return output if prediction == "score" else -output / sigma


def diffusion(path, form, norm, t):
    """Return half of w."""
    return {
        "constant": lambda: norm * torch.ones_like(t),
        "SBDM": lambda: norm * kappa(path, t),
        "sigma": lambda: norm * levels(path, t)[2],
        "linear": lambda: norm * (1 - t),
        "decreasing": lambda: 0.25 * (norm * torch.cos(math.pi * t) + 1) ** 2,
        "increasing-decreasing": lambda: norm * torch.sin(math.pi * t) ** 2,
    }[form]()


def loss(path, prediction, weight, model, x1, interval, **kwargs):
    """Return times, noise, prediction and loss per sample, drawn from torch's generator: noise first, then times."""
    x0 = torch.randn_like(x1)
    t = (torch.rand(len(x1)) * (interval[1] - interval[0]) + interval[0]).to(x1)
    time = wide(t, x1)
    alpha, d_alpha, sigma, d_sigma = levels(path, time)
    output = model(alpha * x1 + sigma * x0, t, **kwargs)
    if prediction == "velocity":
        squares = (output - d_alpha * x1 - d_sigma * x0) ** 2
    else:
        rate = kappa(path, time)
        factor = {None: 1.0, "velocity": (rate / sigma) ** 2, "likelihood": rate / sigma**2}[weight]
        error = output - x0 if prediction == "noise" else output * sigma + x0
        squares = factor * error**2
    return t, x0, output, squares.flatten(1).mean(1)


def ode(path, prediction, model, x, interval, steps, method, **options):
    """Return the states at equidistant times, by torchdiffeq."""

    def flow(t, state):
        return drift(path, prediction, model, state, t * torch.ones(len(state), dtype=state.dtype))

    times = torch.linspace(*interval, steps, dtype=x.dtype)
    return odeint(flow, x, times, method=method, **options)


def sde(path, prediction, model, x, interval, steps, *, form, norm=1.0, method="Euler", last="Mean", size=0.04):
    """Return the list of states, its noise from torch's generator."""

    def slope(state, t):
        rate = wide(diffusion(path, form, norm, t), state)
        return drift(path, prediction, model, state, t) + rate * score(path, prediction, model, state, t)

    times = torch.linspace(*interval, steps, dtype=x.dtype)
    dt, states = times[1] - times[0], [x]
    for time in times[:-1]:
        t, state = torch.ones(len(x), dtype=x.dtype) * time, states[-1]
        kick = wide(torch.sqrt(2 * diffusion(path, form, norm, t)), x) * torch.randn(x.shape).to(x) * torch.sqrt(dt)
        if method == "Euler":
            states.append(state + slope(state, t) * dt + kick)
        else:
            first = slope(state + kick, t)
            second = slope(state + kick + dt * first, t + dt)
            states.append(state + kick + 0.5 * dt * (first + second))
    t, state = torch.ones(len(x), dtype=x.dtype) * interval[1], states[-1]
    alpha, _, sigma, _ = levels(path, t[0])
    ends = {
        None: lambda: state,
        "Mean": lambda: state + slope(state, t) * size,
        "Euler": lambda: state + drift(path, prediction, model, state, t) * size,
        "Tweedie": lambda: state / alpha + sigma**2 / alpha * score(path, prediction, model, state, t),
    }
    return [*states[1:], ends[last]()]


class Gaussian:
    """The exact model of data N(mean, var I) on a path, in the published time; ``var`` is one number per axis or one.

    Args:
        rotation: an orthogonal matrix that turns the axes of points (B, d), if any.
    """

    def __init__(self, path, mean, var, rotation=None):
        self.path, self.rotation = path, rotation
        self.mean, self.var = (torch.as_tensor(each, dtype=torch.float64) for each in (mean, var))

    def spread(self, t):
        """Return the standard deviations at a time."""
        alpha, _, sigma, _ = levels(self.path, torch.as_tensor(t, dtype=torch.float64))
        return torch.sqrt(alpha**2 * self.var + sigma**2)

    def velocity(self, x, t):
        """Return dx/dt'."""
        alpha, d_alpha, sigma, d_sigma = levels(self.path, wide(t, x))
        turned = x if self.rotation is None else x @ self.rotation
        rate = (alpha * d_alpha * self.var + sigma * d_sigma) / (alpha**2 * self.var + sigma**2)
        turned = d_alpha * self.mean + rate * (turned - alpha * self.mean)
        return turned if self.rotation is None else turned @ self.rotation.T

    def noise(self, x, t):
        """Return E[noise | x] without a rotation."""
        alpha, _, sigma, _ = levels(self.path, wide(t, x))
        return sigma * (x - alpha * self.mean) / (alpha**2 * self.var + sigma**2)
