"""What the laws of all methods share: a problem for each method, a start, and noise that can be drawn again."""

import math

import numpy as np
import pytest
import torch
from solver_methods import DENOISING, METHODS, name

from solvers import ODE, SDE, Denoising

every_method = pytest.mark.parametrize("method", [*METHODS, *DENOISING], ids=name)


def drift(time, x):
    return math.cos(3.0 * time) * x / (1.0 + x * x)


def schedule(time):
    return 1.0 + 0.5 * time


def problem_for(method, field=drift, coefficient=schedule):
    if method in DENOISING:
        clock = (lambda t, s: t - s) if method.reads_clock else (lambda t, s: 0.0)
        sigma = lambda time: time * coefficient(time)  # noqa: E731
        return Denoising(
            field, coefficient, sigma, lambda time: -2.0 * math.log(time), lambda L: math.exp(-L / 2), clock
        )
    return SDE(field, coefficient) if method.stochastic else ODE(field)


def start(dtype=np.float64, rows=5):
    return np.linspace(-0.9, 1.1, 2 * rows).reshape(rows, 2).astype(dtype)


def generator(seed=0):
    return np.random.default_rng(seed)


class Replay:
    """The same increments for numpy and torch: drawn by numpy, handed over in the library and dtype of x."""

    def __init__(self, seed):
        self.seed = seed

    def increments(self, x):
        rng = np.random.default_rng(self.seed)

        def noise(t0, t1):
            dW = rng.standard_normal(tuple(x.shape)) * math.sqrt(abs(t1 - t0))
            return torch.asarray(dW, dtype=x.dtype) if isinstance(x, torch.Tensor) else dW.astype(x.dtype)

        return noise


WEIGHT = [[0.3, -1.1], [0.8, 0.2]]


def tensors(*values):
    return tuple(torch.tensor(value, dtype=torch.float64, requires_grad=True) for value in values)


def curved(weight):
    """A field that bends, depends on time and on a parameter; one evaluation saves several tensors."""
    return lambda time, x: torch.tanh(x @ weight) * math.cos(3.0 * time)


def parted(x):
    """Return an array of two columns as a tree of its columns."""
    return {"first": x[..., :1], "rest": (x[..., 1:],)}


def merged(tree):
    """Return the array of such a tree."""
    return np.concatenate([np.asarray(tree["first"]), np.asarray(tree["rest"][0])], axis=-1)


def tree_drift(time, tree):
    return {"rest": (drift(time, tree["rest"][0]),), "first": drift(time, tree["first"])}
