r"""One step of an exponential Runge–Kutta method, orders 1 to 3, in either form.

With :math:`m` the prediction that is followed, :math:`\mu_k(h) = h\,k!\,\varphi_{k+1}(z)` and :math:`c` the factor
before the integral at the place reached (:mod:`solvers.exponential.form`), order 3 is

.. math::
   x_u &= \mathrm{DDIM}(t \to u), \qquad
   x_v = \mathrm{DDIM}(t \to v) + c_v\frac{r_2}{r_1}\mu_1(r_2 h)(m_u - m_t), \\
   x_s &= \mathrm{DDIM}(t \to s) + \frac{c_s}{r_2}\mu_1(h)(m_v - m_t), \qquad
   r_1 = \tfrac13,\ r_2 = \tfrac23,

u and v the times at the fractions r₁, r₂ of the step in λ. Order 2 has one inner time, at ½. From α = 0, or to it, the
step is one of a Runge–Kutta method for :math:`x/\sigma` in :math:`\alpha/\sigma`, whose derivative is
:math:`\hat x`, with the same fractions of that; to σ = 0 it is DDIM's.

References: Lu et al. (2022), DPM-Solver, arXiv 2206.00927, algorithms 1 and 2; Lu et al. (2022), DPM-Solver++, arXiv
2211.01095, algorithm 1; Hochbruck & Ostermann (2010), Exponential integrators, Acta Numerica 19, eq. 2.39–2.40.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

from solvers.arrays import Array
from solvers.denoising import Denoising
from solvers.exponential.form import Form, hold, renewed
from solvers.exponential.place import Place, between, distance, elapsed, place, without_signal

FRACTIONS: dict[int, tuple[float, ...]] = {1: (0.0,), 2: (0.0, 0.5), 3: (0.0, 1.0 / 3.0, 2.0 / 3.0)}
"""Where a step evaluates, as fractions of the step in λ, or in α/σ from and to α = 0."""


Inner = tuple[tuple[Place, Array], ...]
"""The places inside a step with the predictions there, in the order of the step."""


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
    theta: float = 0.0,
) -> tuple[Array, Inner]:
    r"""Go from ``x``, whose data prediction is ``data``, to ``end``; return also what was found on the way.

    Args:
        problem: the problem.
        form: which prediction is followed.
        order: 1, 2 or 3.
        start: the place of ``x``.
        end: the place to reach.
        x: the state.
        data: its data prediction.
        refined: in order 2, weight the difference with :math:`\mu_1/r_1`, which meets the stiff order conditions, not
            with :math:`\mu_0/2r_1`.
        theta: the clock Θ of the step, for the data form; the states inside are those without noise.
    """
    if order == 1 or end.sigma == 0.0 or renewed(start, end, theta):
        return hold(start, end, x, data, theta), ()
    if without_signal(start, end):
        return _without_signal(problem, form, order, start, end, x, data)
    moved = hold(start, end, x, data, theta)
    length = distance(start, end) + 0.5 * theta
    held = form.read(start, x, data)

    def prediction(at: Place, y: Array) -> Array:
        return form.read(at, y, problem.data(at.time, y))

    first = FRACTIONS[order][1]
    u = between(problem, start, end, first)
    at_u = prediction(u, hold(start, u, x, data, first * theta))
    if order == 2:
        weight = form.moment(1, length) / first if refined else 0.5 * form.moment(0, length) / first
        return moved + (form.scale(end) * weight) * (at_u - held), ((u, at_u),)
    second = FRACTIONS[order][2]
    v = between(problem, start, end, second)
    inner = form.scale(v) * (second / first) * form.moment(1, second * length)
    at_v = prediction(v, hold(start, v, x, data, second * theta) + inner * (at_u - held))
    return moved + (form.scale(end) * form.moment(1, length) / second) * (at_v - held), ((u, at_u), (v, at_v))


def _without_signal(
    problem: Denoising, form: Form, order: int, start: Place, end: Place, x: Array, data: Array
) -> tuple[Array, Inner]:
    """Go from or to α = 0: the midpoint rule, or Heun's third-order method, for x/σ in α/σ."""
    length = end.alpha / end.sigma - start.alpha / start.sigma
    slope, inner = data, []
    for fraction in FRACTIONS[order][1:]:
        at = between(problem, start, end, fraction)
        y = (at.sigma / start.sigma) * x + (at.sigma * fraction * length) * slope
        slope = problem.data(at.time, y)
        inner.append((at, form.read(at, y, slope)))
    if order == 3:
        slope = 0.25 * data + 0.75 * slope
    return (end.sigma / start.sigma) * x + (end.sigma * length) * slope, tuple(inner)


def visited(problem: Denoising, order: int, start: Place, end: Place) -> list[float]:
    """Return the times at which :func:`singlestep` and the evaluation before it evaluate."""
    if start.sigma == 0.0 or end.sigma == 0.0:
        return [start.time]
    return [start.time, *(between(problem, start, end, r).time for r in FRACTIONS[order][1:])]


def visited_by_steps(
    problem: Denoising,
    ts: list[float],
    order: int,
    starts: Callable[[int, Place, Place], bool],
    *,
    noisy: bool = False,
) -> list[list[float]]:
    """Return the times at which each step of a multistep method evaluates.

    ``starts(known, start, end)`` says whether a step is a singlestep one of the order, ``known`` being the predictions
    of earlier times: none in the first step, enough after a step of either kind. ``noisy`` methods read the clock.
    """
    found: list[list[float]] = []
    known = 0
    for start, end in pairwise([place(problem, time) for time in ts]):
        if noisy and renewed(start, end, elapsed(problem, start, end)):
            known += start.alpha > 0.0
            found.append([start.time])
            continue
        found.append(visited(problem, order, start, end) if starts(known, start, end) else [start.time])
        known = order
    return found
