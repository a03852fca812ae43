r"""What is sampled: costs of targets without a closed form, and of learned flows.

Under an exact path every sample is one triple (x_data, ε): its energy :math:`\int|v(x_t, t)|^2dt` along
:math:`x_t = \alpha x_{\mathrm{data}} + \sigma\varepsilon` is a Gauss–Legendre sum over time, and the standard error is
that over triples. What belongs to a flow's own coupling follows it: the state, its energy and its length are one ODE.

Samples are drawn in blocks of a fixed size, so that the numbers do not depend on the batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
from numpy.typing import NDArray

from interpolants.coefficient import Array, namespace
from interpolants.combination import expect_model, expect_shape
from interpolants.dynamics import probability_flow
from interpolants.path import Path, expect_path
from interpolants.prediction import Prediction, Velocity, conversion, expect_prediction
from interpolants.prior import generator_or_default
from interpolants.transport.clock import graded
from interpolants.transport.estimate import Estimate, Moments
from solvers import ODE, RK4, Midpoint, solve
from solvers.errors import explain

__all__ = ["along_path", "check_arguments", "coupled", "excess_loss", "on_flow"]

Floats = NDArray[np.float64]
Model = Callable[[Any, Array], Array]
Draw = Callable[[int], tuple[Array, ...]]

BLOCK = 256
"""How many samples are drawn at once, whatever the batch."""

TIMES = 48
STEPS = 64


def along_path(path: Path, n: int, rng: Any, batch: int) -> Moments:
    """Return the moments of energy and length over the triples of an exact path."""

    def values(x_data: Array, noise: Array) -> Floats:
        return _integrate(path, x_data, noise, path.velocity)

    return _gather(_pairs(path, rng), values, n, batch)


def excess_loss(
    path: Path, model: Model, prediction: Prediction = Velocity, *, n: int = 4096, rng: Any = None, batch: int = 1024
) -> Estimate:
    r"""Return the excess loss :math:`\int_0^1\mathbb E|v_\theta(x_t, t) - v(x_t, t)|^2\,dt` of a model.

    Its bound on the divergence is :func:`~interpolants.kl_bound`. Memory is that of one batch.

    Args:
        path: the schedule and the target, whose velocity is exact.
        model: ``model(time, x)`` → prediction; x of shape (B, d), numpy or torch as ``rng`` is.
        prediction: what the model predicts; it is converted to a velocity.
        n: the number of samples, at least 2.
        rng: a numpy or torch generator; ``numpy.random.default_rng(0)`` when absent.
        batch: how many samples the model meets at once; no result depends on it.
    """
    expect_model(model)
    check_arguments(path, model, n, batch)
    schedule = path.schedule
    combination = conversion(schedule, expect_prediction(prediction, "prediction"), Velocity)
    factor = combination.coefficients[1]

    def error(time: float, x: Array) -> Array:
        found = model(time, x)
        expect_shape(found, x)
        return float(factor(time)) * (found - path.predict(prediction, time, x))

    def values(x_data: Array, noise: Array) -> Floats:
        return _integrate(path, x_data, noise, error)

    return _gather(_pairs(path, rng, for_model=True), values, n, batch).estimate()


def on_flow(
    path: Path, model: Model | None, prediction: Prediction, n: int, rng: Any, batch: int, grid: Any
) -> Moments:
    """Return the moments of energy, length and straightness defect over the trajectories of a flow.

    A model's flow begins at the prior; that of an exact path (no model) at its own marginal.
    """
    ode, grid, method = _flow(path, model, prediction, grid)
    hi = path.schedule.domain[1]
    generator = generator_or_default(rng)

    def draw(count: int) -> tuple[Array, ...]:
        return (path.prior(count, generator) if model is not None else path.sample(hi, count, generator),)

    def values(start: Array) -> Floats:
        return _follow(ode, start, grid, method)[0]

    return _gather(draw, values, n, batch)


def coupled(path: Path, n: int, rng: Any) -> tuple[Floats, Floats]:
    """Return n points of the noise end and where the exact flow takes them."""
    ode, grid, method = _flow(path, None, Velocity, None)
    start = path.sample(path.schedule.domain[1], n, rng)
    with _no_gradients(start):
        return _host(start), _host(_follow(ode, start, grid, method)[1])


def _flow(path: Path, model: Model | None, prediction: Prediction, grid: Any) -> tuple[ODE, Any, Any]:
    """Return the probability flow with times and a method for it."""
    lo, hi = path.schedule.domain
    ode = probability_flow(path.schedule, path.velocity if model is None else model, prediction)
    method: Any = RK4()
    if model is None and _infinite_at(path, lo):
        method = Midpoint()  # it does not evaluate at the end of the last step
    if grid is None:
        steps = STEPS if isinstance(method, RK4) else 4 * STEPS
        fractions = np.sin(np.pi / 2 * np.linspace(0, 1, steps + 1)) ** 2
        grid = hi - (hi - lo) * fractions
        grid[-1] = lo
    return ode, grid, method


def check_arguments(path: object, model: object, n: object, batch: object) -> None:
    """Refuse what is no path or no model, and numbers of samples that make no estimate."""
    expect_path(path)
    if model is not None:
        expect_model(model)
    if not isinstance(n, int) or n < 2:
        raise ValueError(explain("n >= 2 samples", repr(n), "a standard error needs at least two"))
    if not isinstance(batch, int) or batch < 1:
        raise ValueError(explain("batch >= 1", repr(batch), "leave it out, or pass what fits in memory"))


def _follow(ode: ODE, start: Array, grid: Any, method: Any) -> tuple[Floats, Array]:
    """Solve for the state and, as two more coordinates, its energy and length, which grow as time runs down.

    Return energy, length and straightness defect, shape (B, 3), and the last states.
    """
    d = start.shape[1]
    xp: Any = namespace(start)

    def drift(time: float, state: Array) -> Array:
        velocity = ode.drift(time, state[:, :d])
        expect_shape(velocity, start)
        square = (velocity * velocity).sum(1)[:, None]
        return xp.concatenate([velocity, -square, -(square**0.5)], 1)

    state = xp.concatenate([start, xp.zeros_like(start[:, :1]), xp.zeros_like(start[:, :1])], 1)
    end = solve(ODE(drift, poles=ode.poles, domain=ode.domain), state, grid, method).x
    span = abs(float(grid[0]) - float(grid[-1]))
    moved = ((end[:, :d] - start) ** 2).sum(1) * (1.0 / span)
    return np.stack([_host(end[:, d]), _host(end[:, d + 1]), _host(end[:, d] - moved)], 1), end[:, :d]


def _integrate(path: Path, x_data: Array, noise: Array, field: Model) -> Floats:
    """Return ∫|field|² and ∫|field| over time for every triple."""
    lo, hi = path.schedule.domain
    total: Any = 0.0
    for fraction, weight in zip(*graded(TIMES)):
        time = lo + (hi - lo) * float(fraction)
        x = float(path.schedule.alpha(time)) * x_data + float(path.schedule.sigma(time)) * noise
        square = _host((field(time, x) ** 2).sum(1))
        total = total + (hi - lo) * float(weight) * np.stack([square, np.sqrt(square)], 1)
    return np.asarray(total)


def _pairs(path: Path, rng: Any, for_model: bool = False) -> Draw:
    """Draw data and noise; a torch model meets them in torch's default type, as it meets the prior."""
    generator = generator_or_default(rng)

    def draw(count: int) -> tuple[Array, ...]:
        pair = path.sample_joint(path.schedule.domain[1], count, generator)[1:]
        xp: Any = namespace(pair[0])
        return pair if xp is np or not for_model else tuple(part.to(xp.get_default_dtype()) for part in pair)

    return draw


def _no_gradients(x: Array) -> AbstractContextManager[Any]:
    """Keep no graph: memory is that of one batch."""
    xp: Any = namespace(x)
    return nullcontext() if xp is np else xp.no_grad()


def _gather(draw: Draw, values: Callable[..., Floats], n: int, batch: int) -> Moments:
    moments = Moments()
    for arrays in _batches(draw, n, batch):
        with _no_gradients(arrays[0]):
            found = values(*arrays)
        if not np.isfinite(found).all():
            remedy = "look at the model at the times and points it was given"
            raise ValueError(explain("finite predictions", "NaN or infinity", remedy))
        moments.add(found)
    return moments


def _batches(draw: Draw, n: int, batch: int) -> Iterator[tuple[Array, ...]]:
    """Cut n samples that are drawn in blocks of one size into batches of another."""
    held: tuple[Array, ...] | None = None
    left = n
    while left:
        want = min(batch, left)
        while held is None or len(held[0]) < want:
            new = draw(BLOCK)
            xp: Any = namespace(new[0])
            held = new if held is None else tuple(xp.concatenate([old, more], 0) for old, more in zip(held, new))
        yield tuple(array[:want] for array in held)
        held = tuple(array[want:] for array in held)
        left -= want


def _infinite_at(path: Path, time: float) -> bool:
    """Whether the exact velocity is infinite at a time."""
    try:
        path.velocity(time, np.zeros((1, path.target.dimension)))
    except ValueError:
        return True
    return False


def _host(values: Array) -> Floats:
    found = values if isinstance(values, np.ndarray) else values.detach().cpu().numpy()
    return np.asarray(found, np.float64)
