"""What the tests of adaptive steps share: drifts that take a time for each row as well as one for all."""

import math
import sys

import numpy as np


def functions(x):
    """Return the library of an array."""
    if isinstance(x, np.ndarray):
        return np
    return sys.modules["torch"] if type(x).__module__ == "torch" else sys.modules["jax"].numpy


def column(time, x):
    """Return a time that multiplies the rows of ``x``."""
    return time if isinstance(time, float) else time.reshape(-1, *[1] * (x.ndim - 1))


def cosine(time, x):
    """Return cos of a time or of times."""
    return math.cos(time) if isinstance(time, float) else functions(x).cos(time)


def wave(time, x):
    """A rotation, the faster the larger the row, that also swells and shrinks with time: rows differ in difficulty."""
    size = x[..., :1] ** 2 + x[..., 1:] ** 2
    turned = functions(x).stack([-x[..., 1], x[..., 0]], -1)
    return (1.0 + size) * turned + column(cosine(3.0 * time, x), x) * x / (1.0 + size)


def pendulum(time, x):
    """A driven, damped pendulum: (angle, speed)."""
    return np.stack([x[1], -2.0 * np.sin(x[0]) + 0.3 * np.cos(2.0 * time) - 0.1 * x[1]])


def predator(time, x):
    """Predator and prey with a season."""
    return np.stack([x[0] * (1.0 - x[1] + 0.2 * np.sin(time)), x[1] * (x[0] - 1.0)])


class Watched:
    """A drift that remembers the shape of every state it was given and every time."""

    def __init__(self, field=wave):
        self.field = field
        self.rows = []
        self.times = []

    def __call__(self, time, x):
        self.rows.append(x.shape[0])
        self.times.append(time)
        return self.field(time, x)


def batch(rows=6, dtype=np.float64):
    """Return rows of very different size."""
    scale = np.geomspace(0.01, 3.0, rows)[:, None]
    return (scale * np.array([[1.0, -0.7]])).astype(dtype)
