r"""From a schedule and a network to the problems that :mod:`solvers` integrates.

.. math::
   \dot X = v(X, t), \qquad
   dX = \bigl[v - \tfrac12 w_t s\bigr]dt + \sqrt{w_t}\,d\bar W \quad (t: 1 \to 0), \qquad
   dX = \bigl[v + \tfrac12 w_t s\bigr]dt + \sqrt{w_t}\,dW \quad (t: 0 \to 1)

have the same marginals for every :math:`w_t \ge 0` (Ma et al. 2024, arXiv 2401.08740, eq. 2–4). Each drift is one
combination A(t)·x + B(t)·prediction, simplified before lowering: one network call per drift, and with wKL the score
term becomes :math:`-(W/\alpha)\hat\varepsilon`, regular at t = 0.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from typing import Any

from sympy import Expr, Integer, sqrt

from interpolants.clock import Clock, LogSNR
from interpolants.coefficient import Array, Coefficient
from interpolants.combination import Combination, expect_model, solve_row
from interpolants.diffusion import KL, DiffusionCoefficient, Zero, expect_diffusion
from interpolants.prediction import Data, Prediction, Velocity, conversion, expect_prediction
from interpolants.schedule import Schedule
from interpolants.suggestion import Suggestion, safe
from solvers import ODE, SDE, Denoising, EulerMaruyama, Pole, StochasticHeun
from solvers.errors import explain
from solvers.problem import Problem

__all__ = ["denoising", "forward_sde", "probability_flow", "reverse_sde", "suggest"]

Model = Callable[[Any, Array], Array]
_KL = KL()
_ZERO = Zero()


def probability_flow(schedule: Schedule, model: Model, prediction: Prediction = Velocity) -> ODE:
    """Return the probability-flow ODE of a network.

    Args:
        schedule: the schedule under which the network was trained.
        model: ``model(time, x)`` → prediction of the shape of x; the solver passes time as a float.
        prediction: what the network predicts.
    """
    combination = drift_combination(schedule, prediction, Integer(0), f"the probability flow of a {prediction} model")
    poles = _poles(combination, prediction, None)
    return ODE(_combine(combination, model), poles=poles, domain=schedule.domain)


def reverse_sde(schedule: Schedule, model: Model, w: DiffusionCoefficient, prediction: Prediction = Velocity) -> SDE:
    """Return the reverse-time SDE with diffusion coefficient ``w``, to be integrated from noise to data.

    Raises:
        ValueError: w is negative somewhere.
    """
    return _sde(schedule, model, w, prediction, sign=1)


def forward_sde(schedule: Schedule, model: Model, w: DiffusionCoefficient, prediction: Prediction = Velocity) -> SDE:
    """Return the forward-time SDE with diffusion coefficient ``w``, to be integrated from data to noise."""
    return _sde(schedule, model, w, prediction, sign=-1)


def denoising(
    schedule: Schedule, model: Model, prediction: Prediction = Velocity, w: DiffusionCoefficient = _ZERO
) -> Denoising:
    r"""Return what exponential integrators solve: the data prediction of a network, and the clock of the noise.

    Any prediction becomes :math:`\hat x` by one combination A(t)·x + B(t)·prediction. Unlike the drift of
    :func:`reverse_sde` nothing here is infinite at t = 1 for a velocity or a data model, whatever w: sampling with wKL
    can start at t = 1 exactly.

    >>> import numpy as np
    >>> from interpolants import Gaussian, Linear, Path, denoising, diffusion
    >>> from solvers import ExponentialEulerMaruyama, solve, uniform
    >>> path, rng = Path(Linear(), Gaussian([0.5], 0.25)), np.random.default_rng(0)
    >>> problem = denoising(path.schedule, path.velocity, w=diffusion.KL())
    >>> solve(problem, path.prior(4, rng), uniform(10), ExponentialEulerMaruyama(), rng=rng).nfe
    10

    Args:
        schedule: the schedule under which the network was trained.
        model: ``model(time, x)`` → prediction of the shape of x; the solver passes time as a float.
        prediction: what the network predicts.
        w: the diffusion coefficient of the reverse SDE; none by default, for deterministic methods refuse any other.

    Raises:
        ValueError: w is negative somewhere.
    """
    expect_model(model)
    variance = expect_diffusion(w)
    variance.of(schedule)
    combination = conversion(schedule, expect_prediction(prediction, "prediction"), Data)
    infinite = _infinite(schedule, prediction)
    remedy = f"a {'VPrediction' if infinite else 'Velocity'} or a Data model is finite where sampling starts"
    times = sorted({*combination.poles, *infinite})
    poles = tuple(Pole(time, f"{combination.label} is infinite at t = {time:g}", remedy) for time in times)
    return Denoising(
        _combine(combination, model),
        alpha=schedule.alpha,
        sigma=schedule.sigma,
        log_snr=LogSNR(schedule),
        time_of_log_snr=schedule.time_of_log_snr,
        clock=Clock(schedule, variance),
        poles=poles,
        domain=schedule.domain,
    )


def _sde(schedule: Schedule, model: Model, w: DiffusionCoefficient, prediction: Prediction, sign: int) -> SDE:
    variance = expect_diffusion(w).of(schedule)
    direction = "reverse" if sign > 0 else "forward"
    label = f"the {direction} SDE of a {prediction} model with w = {w}"
    combination = drift_combination(schedule, prediction, sign * variance.expression, label)
    noise = schedule.coefficient(sqrt(variance.expression), f"the noise of {label}")
    poles = _poles(combination, prediction, noise)
    relatives: Any = cache(partial(_relative, schedule, model, prediction, w))
    return SDE(_combine(combination, model), noise, poles, schedule.domain, relatives)


def _relative(
    schedule: Schedule, model: Model, prediction: Prediction, w: DiffusionCoefficient, kind: type[Problem]
) -> Problem:
    """Return the problem of another kind that the model of an SDE poses: with the same marginals."""
    if kind not in (ODE, Denoising):
        raise TypeError(explain("ODE or Denoising", getattr(kind, "__name__", repr(kind)), "the SDE itself is at hand"))
    return pose(kind, schedule, model, prediction, w)


def pose(
    kind: type[Problem],
    schedule: Schedule,
    model: Model,
    prediction: Prediction,
    w: DiffusionCoefficient,
    *,
    rising: bool = False,
) -> Problem:
    """Return the problem of a kind, such as ``method.solves``; the forward SDE, not the reverse one, where ``rising``.

    Raises:
        TypeError: another kind.
    """
    if issubclass(ODE, kind):
        return probability_flow(schedule, model, prediction)
    if issubclass(SDE, kind):
        return (forward_sde if rising else reverse_sde)(schedule, model, w, prediction)
    if issubclass(Denoising, kind):
        return denoising(schedule, model, prediction, w)
    raise TypeError(explain("a method for ODEs, SDEs or denoising problems", kind.__name__, "use one of solvers"))


def drift_combination(schedule: Schedule, prediction: Prediction, w: Expr, label: str) -> Combination:
    """Combine v − ½ w s from a prediction."""
    expect_prediction(prediction, "prediction")
    return solve_row(schedule, drift_row(schedule, w), prediction.row(schedule), label)


def drift_row(schedule: Schedule, w: Expr) -> tuple[Expr, Expr]:
    r"""Return the row of v − ½ w s: (α̇, σ̇ + w/2σ), because s = −ε/σ."""
    d_alpha, d_sigma, sigma = (schedule.expressions[name] for name in ("d_alpha", "d_sigma", "sigma"))
    return d_alpha, d_sigma + w / (2 * sigma)


def _combine(combination: Combination, model: Model) -> Model:
    expect_model(model)
    if combination.is_prediction:
        return model

    def drift(time: Any, x: Array) -> Array:
        return combination(time, x, model(time, x))

    return drift


def suggest(
    schedule: Schedule,
    prediction: Prediction = Velocity,
    w: DiffusionCoefficient = _KL,
    nfe: int = 50,
) -> Suggestion:
    """Return a method and a grid that ``solve`` does not refuse for this schedule, prediction and w.

    >>> from interpolants import Linear, Noise, diffusion, suggest
    >>> print(suggest(Linear(), w=diffusion.Sigma()))
    StochasticHeun() on uniform(25)
    >>> print(suggest(Linear(), Noise, diffusion.Zero()))
    Midpoint() on uniform(25, start=0.999, stop=0)

    Args:
        schedule: the schedule of the model.
        prediction: what the model predicts.
        w: the diffusion coefficient of the reverse SDE; ``diffusion.Zero()`` for the probability flow.
        nfe: the number of model evaluations to spend, at least 2.
    """

    def model(time: Any, x: Array) -> Array:
        return x

    stochastic = expect_diffusion(w).expression(schedule) != 0
    problem: ODE | SDE = probability_flow(schedule, model, prediction)
    if stochastic:
        problem = reverse_sde(schedule, model, w, prediction)
    return safe({pole.time for pole in problem.poles}, schedule.domain, stochastic=stochastic, nfe=nfe)


def _infinite(schedule: Schedule, prediction: Prediction) -> set[float]:
    r"""Return the times at which the prediction itself is infinite for data with a density.

    Only a velocity is: where :math:`\dot\alpha` is, and where :math:`\dot\sigma` is at a noise that is not zero, for
    :math:`\mathbb E[\varepsilon|x]` vanishes with σ.
    """
    if prediction != Velocity:
        return set()
    noise = {time for time in schedule.quantity("d_sigma").poles if schedule.sigma(time) > 0.0}
    return noise | set(schedule.quantity("d_alpha").poles)


def _poles(combination: Combination, prediction: Prediction, noise: Coefficient | None) -> tuple[Pole, ...]:
    domain = combination.schedule.domain
    times = {*combination.poles, *_infinite(combination.schedule, prediction)}
    times |= set(noise.poles if noise is not None else ())
    choice = safe(times, domain, stochastic=noise is not None)
    endless = {end.time for end in (noise.ends if noise is not None else ()) if end.is_pole and end.order <= -0.5}
    return tuple(
        Pole(
            time,
            f"{combination.label} is infinite at t = {time:g}",
            _remedy(choice, time == domain[1]),
            integrable=time not in endless,
        )
        for time in sorted(times)
    )


def _remedy(choice: Suggestion, at_noise: bool) -> str:
    other = ""
    if at_noise:
        other = ", or choose a w or a prediction that is finite there"
    if at_noise and isinstance(choice.method, (EulerMaruyama, StochasticHeun)):
        other += ", or pass denoising(...) with the same w to ExponentialEulerMaruyama(), which begins there"
    return f"{choice} avoids it (interpolants.suggest proposes a method and a grid){other}"
