"""How steep a network's velocity is: spectral norms of its Jacobian at given points.

Up to 256 dimensions the Jacobian is made of differences, two evaluations for each coordinate. Beyond, a power iteration
alternates a difference along a direction, which is J·u, with a derivative by torch, which is Jᵀ·v.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from interpolants.coefficient import Array, namespace
from interpolants.path import Path
from interpolants.prediction import Prediction, Velocity, conversion, expect_prediction
from solvers.errors import explain

__all__ = ["model_norms"]

Floats = NDArray[np.float64]
Model = Callable[[Any, Array], Array]

WHOLE, ITERATIONS = 256, 30


def model_norms(path: Path, model: Model, prediction: Prediction, like: Array) -> Callable[[float, Floats], Floats]:
    """Return (time, points (B, d)) → the norms (B,) of the model's velocity, lower bounds where they are iterated."""
    combination = conversion(path.schedule, expect_prediction(prediction, "prediction"), Velocity)
    xp: Any = namespace(like)

    def velocity(time: float, x: Array) -> Array:
        return combination(time, x, model(time, x))

    def norms(time: float, x: Floats) -> Floats:
        if xp is np:
            points = x
        else:
            points = xp.as_tensor(x, dtype=xp.get_default_dtype(), device=like.device)
        if x.shape[1] <= WHOLE:
            return _whole(lambda at: velocity(time, at), points)
        if xp is np:
            remedy = "pass a torch model and a torch generator"
            raise TypeError(explain(f"at most {WHOLE} dimensions for a numpy model", f"{x.shape[1]}", remedy))
        return _iterated(lambda at: velocity(time, at), points)

    return norms


def _host(x: Array) -> Floats:
    return np.asarray(x if isinstance(x, np.ndarray) else x.detach().cpu().numpy(), np.float64)


def _width(x: Array) -> float:
    """Return the step at which the errors of a central difference, h² and u/h, are alike."""
    xp: Any = namespace(x)
    return math.cbrt(float(xp.finfo(x.dtype).eps)) * max(1.0, float(abs(x).max()))


def _whole(velocity: Callable[[Array], Array], x: Array) -> Floats:
    h, columns = _width(x), []
    for k in range(x.shape[1]):
        shift = x * 0
        shift[:, k] = h
        columns.append(_host(velocity(x + shift)) - _host(velocity(x - shift)))
    jacobian = np.stack(columns, 2) / (2 * h)
    if not np.isfinite(jacobian).all():
        raise ValueError(
            explain("finite predictions", "NaN or infinity", "look at the model at the points of the path")
        )
    return np.asarray(np.linalg.norm(jacobian, 2, axis=(1, 2)))


def _iterated(velocity: Callable[[Array], Array], x: Array) -> Floats:
    import torch

    h = _width(x)
    direction = torch.randn(x.shape, generator=torch.Generator().manual_seed(0)).to(x)
    along = x * 0
    for _ in range(ITERATIONS):
        direction = direction / torch.linalg.vector_norm(direction, dim=1, keepdim=True)
        step = h * math.sqrt(x.shape[1])
        with torch.no_grad():
            along = (velocity(x + step * direction) - velocity(x - step * direction)) / (2 * step)
        with torch.enable_grad():
            point = x.detach().requires_grad_()
            (direction,) = torch.autograd.grad((velocity(point) * along).sum(), point)
    return _host(torch.linalg.vector_norm(along, dim=1))
