r"""Divergences of a field: exact, by Hutchinson's estimate, by Hutch++."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from solvers.arrays import Array, describe, is_torch, namespace
from solvers.errors import explain
from solvers.grid import check_count
from solvers.likelihood.pullback import Linearised, Pull, linearise
from solvers.problem import Field

Columns: TypeAlias = Callable[[Linearised, Array], Array]


@dataclass(frozen=True)
class Trace:
    r"""A divergence of a field, made by :func:`divergence`, :func:`hutchinson` or :func:`hutch_plus_plus`.

    ``trace(time, x)`` is :math:`\nabla\cdot f`, or its estimate from all probes, shape (B,).

    Args:
        drift: the field.
        columns: the estimates of each probe, (B, m), from the products with the derivative.
        count: m, the number of independent estimates; 0 where the divergence is exact.
        fixed: the random directions, shape (m, …) or (m, B, …).
        together: how many directions go through the derivative at once; None for the default of the library.
    """

    drift: Field
    columns: Columns
    count: int = 0
    fixed: tuple[Array, ...] = ()
    together: int | None = None

    def __post_init__(self) -> None:
        if self.together is not None:
            check_count("together: how many directions at once", self.together)

    def __call__(self, time: Any, x: Array) -> Array:
        """Return the divergence at x, shape (B,)."""
        self.check(x)
        return self.with_drift(time, x)[1].mean(1)

    def with_drift(self, time: Any, x: Array) -> tuple[Array, Array]:
        """Return the field at x and the estimates of its divergence, (B, m), from one evaluation of the field."""
        at = linearise(self.drift, time, x, self.together)
        return at.value, self.columns(at, x)

    def per_point(self, x: Array) -> bool:
        """Whether every point has directions of its own."""
        return any(directions.ndim == x.ndim + 1 for directions in self.fixed)

    def check(self, x: Array) -> None:
        """Refuse directions that do not fit the points."""
        for directions in self.fixed:
            fits = tuple(directions.shape[1:]) in (tuple(x.shape), tuple(x.shape[1:]))
            if not fits or directions.dtype != x.dtype or namespace(directions) is not namespace(x):
                each, alike = (", ".join(["m", *map(str, shape)]) for shape in (x.shape, x.shape[1:]))
                wanted = f"directions like the points: shape ({each}) or ({alike}) and dtype {x.dtype}"
                remedy = "draw them with rademacher_probes(x, m, rng)"
                raise ValueError(explain(wanted, describe(directions), remedy))


def divergence(drift: Field, together: int | None = None) -> Trace:
    r"""Return :math:`\nabla\cdot f` of a drift on torch or jax arrays: one evaluation and d derivatives of it.

    The drift must treat the rows of a batch one by one.

    Args:
        drift: the field.
        together: how many of the d derivatives are taken at once, by ``vmap``; memory grows with it. 16 by default in
            jax, and 1 in torch, whose vmap does not know every operation (attention on the CPU, for one). More pays
            where a derivative is a matter of microseconds.

    References: Chen et al. (2018), arXiv 1806.07366, eq. 8.
    """

    def columns(at: Linearised, x: Array) -> Array:
        size, library = math.prod(x.shape[1:]), namespace(x)
        options = {"dtype": x.dtype, "device": x.device} if is_torch(x) else {"dtype": x.dtype}
        total: Array = 0.0
        for first in range(0, size, at.together):
            units = library.eye(min(at.together, size - first), size, k=first, **options)
            total = total + _contract(at.pull, _spread(units.reshape(-1, *x.shape[1:]), x)).sum(0)
        return total[:, None]

    return Trace(drift, columns, together=together)


def hutchinson(drift: Field, probes: Array, together: int | None = None) -> Trace:
    r"""Return the estimate :math:`\frac1m\sum_j \epsilon_j^\top(\nabla f)\epsilon_j` of the divergence.

    Unbiased for probes with :math:`\mathbb E\,\epsilon\epsilon^\top = I`. With :math:`A = \tfrac12(\nabla f + \nabla
    f^\top)` one probe has the variance

    .. math:: 2\|A\|_F^2 \ \text{(Gaussian)}, \qquad 2\bigl(\|A\|_F^2 - \textstyle\sum_i A_{ii}^2\bigr)
              \ \text{(Rademacher)}.

    The probes stay the same for the whole solve, so that the integrand is smooth in time; redrawn ones make it noise
    that an adaptive method follows with ever shorter steps.

    Args:
        drift: the field, on torch or jax arrays; it must treat the rows of a batch one by one.
        probes: shape (m, B, …), m for each point, from :func:`rademacher_probes` or :func:`gaussian_probes`; or
            (m, …), m directions for all points alike.
        together: how many derivatives are taken at once, as in :func:`divergence`.

    Raises:
        ValueError: when called with points that the probes do not fit.

    References: Hutchinson (1989), Commun. Stat. Simul. 18; Grathwohl et al. (2019), arXiv 1810.01367, §3.1; Avron &
    Toledo (2011), J. ACM 58, for the variances.
    """

    count = _count("probes", probes)

    def columns(at: Linearised, x: Array) -> Array:
        return namespace(x).moveaxis(_contract(at.pull, _spread(probes, x)), 0, 1)

    return Trace(drift, columns, count, (probes,), together)


def hutch_plus_plus(drift: Field, sketch: Array, probes: Array, together: int | None = None) -> Trace:
    r"""Return Hutch++: the trace on a subspace exactly, Hutchinson's estimate on the rest.

    .. math:: \operatorname{tr}(Q^\top A Q) + \frac1m\sum_j \epsilon_j^\top(I - QQ^\top)A(I - QQ^\top)\epsilon_j,
              \qquad QR = AS, \quad A = (\nabla f)^\top

    Unbiased whatever the sketch S of k directions, and exact where the rank of A is at most k. It needs 2k + m
    derivatives; it pays where the singular values of A fall off fast. Sketch and probes are fixed for the whole solve
    and must be independent of each other. Q follows time and state; derivatives take it for a constant, which leaves
    them unbiased.

    Args:
        drift: the field, on torch or jax arrays; it must treat the rows of a batch one by one.
        sketch: S, shape (k, B, …) or (k, …), drawn as probes are.
        probes: shape (m, B, …) or (m, …).
        together: how many derivatives are taken at once, as in :func:`divergence`.

    Raises:
        ValueError: when called with points that sketch or probes do not fit.

    References: Meyer, Musco, Musco & Woodruff (2021), arXiv 2010.09649, algorithm 1.
    """

    size, count = _count("sketch", sketch), _count("probes", probes)

    def columns(at: Linearised, x: Array) -> Array:
        library, rows = namespace(x), x.shape[0]
        seen = at.pull(_spread(sketch, x)).reshape(size, rows, -1)
        basis, _ = library.linalg.qr(library.permute_dims(_constant(seen), (1, 2, 0)))
        inside = library.permute_dims(basis, (2, 0, 1)).reshape(-1, *x.shape)
        outside = library.permute_dims(_spread(probes, x).reshape(count, rows, -1), (1, 2, 0))
        outside = outside - basis @ (library.matrix_transpose(basis) @ outside)
        rest = library.permute_dims(outside, (2, 0, 1)).reshape(-1, *x.shape)
        return library.moveaxis(_contract(at.pull, inside).sum(0) + _contract(at.pull, rest), 0, 1)

    return Trace(drift, columns, count, (sketch, probes), together)


def _count(name: str, directions: Any) -> int:
    """Return the number of directions."""
    shape: tuple[int, ...] = getattr(directions, "shape", ())
    if len(shape) < 2 or not shape[0]:
        remedy = "draw them with rademacher_probes(x, m, rng)"
        raise ValueError(explain(f"{name}: an array of shape (m, …), m at least 1", describe(directions), remedy))
    return int(shape[0])


def _spread(directions: Array, x: Array) -> Array:
    """Return directions (m, …) or (m, B, …) as (m, B, …)."""
    directions = directions if directions.ndim == x.ndim + 1 else directions[:, None]
    return namespace(x).broadcast_to(directions, (len(directions), *x.shape))


def _contract(pull: Pull, directions: Array) -> Array:
    r"""Return :math:`v^\top(\nabla f)v` for every direction and point, (m, B)."""
    return (pull(directions) * directions).reshape(*directions.shape[:2], -1).sum(2)


def _constant(x: Array) -> Array:
    """Return the same numbers as a constant of derivatives."""
    return x.detach() if is_torch(x) else sys.modules["jax"].lax.stop_gradient(x)
