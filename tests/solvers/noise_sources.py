"""What the tests of noise share: libraries, arrays of theirs as numpy, and a method that uses the area."""

import importlib
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
import torch

from solvers import SDE
from solvers.method import Planned
from solvers.noise import with_area

each_library = pytest.mark.parametrize("library", ["numpy", "torch", pytest.param("jax", marks=pytest.mark.slow)])


def ones(library, shape, dtype="float64"):
    """Return ones of a library; jax has them in single precision."""
    if library == "numpy":
        return np.ones(shape, dtype)
    if library == "torch":
        return torch.ones(shape, dtype=getattr(torch, dtype))
    pytest.importorskip("jax")
    return importlib.import_module("jax.numpy").ones(shape, "float32")


def numbers(x):
    """Return an array of any library as numpy's."""
    return np.asarray(x.detach() if isinstance(x, torch.Tensor) else x)


def equal(a, b):
    """Whether two arrays are the same to the last bit."""
    return bool((numbers(a) == numbers(b)).all()) and a.shape == b.shape


def wavy(time, x):
    """A bounded drift of few operations."""
    return x * (1.0 / (1.0 + x * x)) - (0.5 + time) * x


WAVY = SDE(wavy, lambda time: 0.7 + 0.2 * time)


@dataclass(frozen=True)
class Bent(Planned):
    """A step with increment and area: x + h f(t, x) + g (ΔW + 2H)."""

    order: ClassVar[int] = 1
    strong_order: ClassVar[float] = 1.0
    evaluations: ClassVar[int] = 1
    nodes: ClassVar[tuple[float, ...]] = (0.0,)
    stochastic: ClassVar[bool] = True
    solves: ClassVar[type] = SDE

    def init(self, problem, t0, x0):
        return None

    def step(self, problem, t0, t1, x, state, noise):
        moved, area = with_area(noise, t0, t1)
        return x + (t1 - t0) * problem.drift(t0, x) + problem.diffusion(t0) * (moved + 2.0 * area), state
