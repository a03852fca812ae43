r"""The affine map that a sampler is, read off the sampler.

Where the model is affine in x, a method that only adds, scales and evaluates maps its start :math:`x` and the standard
normals :math:`\xi_k` it draws to

.. math:: x_{\mathrm{end}} = b + M x + \sum_k N_k \xi_k.

One solve with a row for the zero state, a row for each unit state and a row for each unit of noise in each draw shows
:math:`b`, :math:`M` and every :math:`N_k`: the code of the method is run, not a formula about it. Rows with random
states and noise then check that the map is affine.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from solvers import solve
from solvers.errors import explain
from solvers.method import Method
from solvers.noise import Increment
from solvers.problem import Problem

__all__ = ["Build", "Response", "respond"]

Floats = NDArray[np.float64]
Build = Callable[[Floats], Problem]
"""Make the problem for a batch; the argument, shape (rows, 1), is 1 where the offset of the model counts, else 0."""

_TOLERANCE = 1e-9
_CHECKS = 2


@dataclass(frozen=True)
class Response:
    r"""A sampler as a map: to the T = 1 last time, or to all T = n + 1 times of its grid.

    Attributes:
        offset: :math:`b`, shape (T, d).
        transfer: :math:`M`, shape (T, d, d).
        noise: :math:`\sum_k N_k N_k^\top`, shape (T, d, d).
        draws: how many normals of the shape of the state were drawn.
        nfe: evaluations of the model.
    """

    offset: Floats
    transfer: Floats
    noise: Floats
    draws: int
    nfe: int


class _Drawn:
    """Noise that is chosen: ``chosen[k]`` stands for the k-th normal that a solve draws, zeros beyond the last."""

    def __init__(self, chosen: Callable[[int], Floats | None]) -> None:
        self.chosen = chosen
        self.count = 0

    def increments(self, x: Floats) -> Increment:
        """Return ``noise(t0, t1)``, the chosen normal times the root of the length of the step."""

        def noise(t0: float, t1: float) -> Floats:
            normal = self.chosen(self.count)
            self.count += 1
            return np.zeros_like(x) if normal is None else normal * math.sqrt(abs(t1 - t0))

        return noise


def respond(build: Build, method: Method, ts: Any, dimension: int, *, diagonal: bool, save: bool = False) -> Response:
    """Run a sampler on unit states and unit noise, and check that it is affine.

    Args:
        build: makes the problem for a batch of rows.
        method: any method for it.
        ts: the grid.
        dimension: d.
        diagonal: whether coordinates do not mix, so that one row holds the unit states of all; the rows for states and
            noise are then run without the model's offset.
        save: return the map to every time of the grid.

    Raises:
        ValueError: the map is not affine.
    """
    d = dimension
    units = np.ones((1, d)) if diagonal else np.eye(d)
    width = len(units)
    counter = _Drawn(lambda k: None)
    solve(build(np.ones((1, 1))), np.zeros((1, d)), ts, method, rng=counter)
    draws = counter.count
    rows = 1 + width * (1 + draws) + _CHECKS
    rng = np.random.default_rng(0)
    states, normals = np.zeros((rows, d)), rng.standard_normal((draws, _CHECKS, d))
    states[1 : 1 + width] = units
    states[-_CHECKS:] = rng.standard_normal((_CHECKS, d)) * np.array([[1.0], [7.0]])

    def chosen(k: int) -> Floats:
        normal = np.zeros((rows, d))
        normal[1 + width * (1 + k) : 1 + width * (2 + k)] = units
        normal[-_CHECKS:] = normals[k]
        return normal

    with_offset = np.ones((rows, 1))
    with_offset[1:-_CHECKS] = 0.0 if diagonal else 1.0
    solution = solve(build(with_offset), states, ts, method, rng=_Drawn(chosen), save=save)
    found = np.asarray(solution.xs if save else solution.x[None])
    offset = found[:, 0]
    linear = found[:, 1:-_CHECKS] - (0.0 if diagonal else offset[:, None])
    # Row i of a block is the response to the i-th unit, so a block is the transpose of its matrix.
    blocks = linear.reshape(len(found), 1 + draws, width, d)
    _check_affine(offset, blocks, states[-_CHECKS:], normals, found[:, -_CHECKS:], method)
    if diagonal:
        eye = np.eye(d)
        transfer = blocks[:, 0, 0, :, None] * eye
        noise = (blocks[:, 1:, 0] ** 2).sum(1)[:, :, None] * eye
    else:
        transfer = blocks[:, 0].swapaxes(-1, -2)
        noise = np.einsum("tkij,tkil->tjl", blocks[:, 1:], blocks[:, 1:])
    return Response(offset, transfer, noise, draws, solution.nfe)


def _check_affine(
    offset: Floats, blocks: Floats, states: Floats, normals: Floats, found: Floats, method: Method
) -> None:
    """Compare the rows of random states and noise with what the map says of them, at the last time."""
    inputs = np.concatenate([states[None], normals])  # (1 + draws, checks, d)
    last = blocks[-1]
    for check in range(len(states)):
        given = inputs[:, check]
        # One unit stands for all coordinates where they do not mix.
        terms = given[:, None] * last if last.shape[1] == 1 else given[:, :, None] * last
        expected = offset[-1] + terms.sum((0, 1))
        # A step that forgets its start leaves the rounding of what cancelled: that of the start.
        scale = float(np.abs(offset[-1]).max() + np.abs(terms).sum((0, 1)).max() + np.abs(given).max())
        gap = float(np.abs(found[-1, check] - expected).max())
        if not gap <= _TOLERANCE * scale:
            wanted = "a method and a model that are affine in the state and the noise"
            received = f"{type(method).__name__}, whose end at a random state differs by {gap:.2g} from an affine map"
            remedy = "its law is no Gaussian: sample it with solve"
            raise ValueError(explain(wanted, received, remedy))
