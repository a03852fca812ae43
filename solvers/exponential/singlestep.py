r"""One step of an exponential Runge–Kutta method, orders 1 to 3, in either form.

With :math:`m` the prediction that is followed, :math:`\mu_k(h) = h\,k!\,\varphi_{k+1}(z)` and :math:`c` the factor
before the integral at the place reached (:mod:`solvers.exponential.form`), order 3 is

.. math::
   x_u &= \mathrm{DDIM}(t \to u), \qquad
   x_v = \mathrm{DDIM}(t \to v) + c_v\frac{r_2}{r_1}\mu_1(r_2 h)(m_u - m_t), \\
   x_s &= \mathrm{DDIM}(t \to s) + \frac{c_s}{r_2}\mu_1(h)(m_v - m_t), \qquad
   r_1 = \tfrac13,\ r_2 = \tfrac23,

u and v the times at the fractions r₁, r₂ of the step in λ. Order 2 has one inner time, at ½.

References: Lu et al. (2022), DPM-Solver, arXiv 2206.00927, algorithms 1 and 2; Lu et al. (2022), DPM-Solver++, arXiv
2211.01095, algorithm 1; Hochbruck & Ostermann (2010), Exponential integrators, Acta Numerica 19, eq. 2.39–2.40.
"""

from __future__ import annotations

import math

from solvers.arrays import Array
from solvers.denoising import Denoising
from solvers.exponential.form import Form, hold
from solvers.exponential.place import Place, between, distance

FRACTIONS: dict[int, tuple[float, ...]] = {1: (0.0,), 2: (0.0, 0.5), 3: (0.0, 1.0 / 3.0, 2.0 / 3.0)}
"""Where a step evaluates, as fractions of the step in λ."""


def singlestep(
    problem: Denoising,
    form: Form,
    order: int,
    start: Place,
    end: Place,
    x: Array,
    data: Array,
    *,
    refined: bool = False,
) -> Array:
    r"""Go from ``x``, whose data prediction is ``data``, to ``end``.

    Args:
        problem: the problem.
        form: which prediction is followed.
        order: 1, 2 or 3.
        start: the place of ``x``.
        end: the place to reach, at a finite h.
        x: the state.
        data: its data prediction.
        refined: in order 2, weight the difference with :math:`\mu_1/r_1`, which meets the stiff order conditions, not
            with :math:`\mu_0/2r_1`.
    """
    moved = hold(start, end, x, data)
    h = distance(start, end)
    if order == 1:
        return moved
    held = form.read(start, x, data)

    def prediction(at: Place, y: Array) -> Array:
        return form.read(at, y, problem.data(at.time, y))

    first = FRACTIONS[order][1]
    u = between(problem, start, end, first)
    difference = prediction(u, hold(start, u, x, data)) - held
    if order == 2:
        weight = form.moment(1, h) / first if refined else 0.5 * form.moment(0, h) / first
        return moved + (form.scale(end) * weight) * difference
    second = FRACTIONS[order][2]
    v = between(problem, start, end, second)
    inner = form.scale(v) * (second / first) * form.moment(1, second * h)
    difference = prediction(v, hold(start, v, x, data) + inner * difference) - held
    return moved + (form.scale(end) * form.moment(1, h) / second) * difference


def visited(problem: Denoising, order: int, start: Place, end: Place) -> list[float]:
    """Return the times at which :func:`singlestep` and the evaluation before it evaluate."""
    if math.isinf(distance(start, end)):
        return [start.time]
    return [start.time, *(between(problem, start, end, r).time for r in FRACTIONS[order][1:])]
