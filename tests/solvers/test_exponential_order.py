"""Exponential methods have the order on their label inside (0, 1), where x̂ varies with time and state."""

from itertools import product

import numpy as np
import pytest
from scipy.integrate import solve_ivp
from solver_methods import EXPONENTIAL, SINGLESTEP, name

from interpolants import GVP, VP, GaussianMixture, Linear, Path, denoising, probability_flow
from solvers import DEIS, Denoising, UniPC, solve, uniform
from tests.support.fields import slope

START, STOP = 0.8, 0.2
MIXTURE = GaussianMixture([0.4, 0.6], [[-1.0], [1.2]], [0.6, 0.8])
X = np.linspace(-1.7, 1.9, 9)[:, None]
COARSEST = {1: 40, 2: 80, 3: 100, 4: 120}


def log_snr_grid(schedule, n):
    inner = np.linspace(schedule.log_snr(START), schedule.log_snr(STOP), n + 1)[1:-1]
    return [START, *(float(schedule.time_of_log_snr(float(value))) for value in inner), STOP]


def mixture(schedule):
    """A mixture of two Gaussians and its flow: the reference is scipy's solution of the velocity itself."""
    path = Path(schedule, MIXTURE)
    drift = probability_flow(schedule, path.velocity).drift
    return denoising(schedule, path.velocity), lambda time, x: drift(time, x[:, None])[:, 0]


def manufactured(schedule):
    """x̂ = sin(2λ + x) and the velocity α̇ x̂ + σ̇ (x − α x̂)/σ that belongs to it."""
    base = denoising(schedule, lambda time, x: x)

    def data(time, x):
        return np.sin(schedule.log_snr(time) + x)

    def drift(time, x):
        at = schedule(time)
        return at.d_alpha * data(time, x) + at.d_sigma * (x - at.alpha * data(time, x)) / at.sigma

    return Denoising(**(vars(base) | {"data": data})), drift


SCHEDULES = {"linear": Linear(), "gvp": GVP(), "vp": VP()}
PROBLEMS = {"mixture": mixture, "manufactured": manufactured}
_SOLVED = {}


def reference(schedule, problem):
    """Return the problem and its exact end, each solved once."""
    if (schedule, problem) not in _SOLVED:
        made, drift = PROBLEMS[problem](SCHEDULES[schedule])
        found = solve_ivp(drift, (START, STOP), X[:, 0], method="DOP853", rtol=1e-13, atol=1e-14)
        _SOLVED[schedule, problem] = made, found.y[:, -1]
    return _SOLVED[schedule, problem]


def measured(method, schedule, problem, grid):
    made, exact = reference(schedule, problem)
    errors, counts = [], [COARSEST[method.order] * 2**k for k in range(5)]
    for n in counts:
        ts = uniform(n, START, STOP) if grid == "uniform" else log_snr_grid(SCHEDULES[schedule], n)
        errors.append(float(np.sqrt(np.mean((solve(made, X, ts, method).x[:, 0] - exact) ** 2))))
    return slope(counts, errors), errors


CASES = list(product(SCHEDULES, PROBLEMS, ["uniform", "log-SNR"]))


def rows():
    """Every method on every case; in the first tier each method has one case, and all cases appear."""
    for k, method in enumerate(EXPONENTIAL):
        for j, case in enumerate(CASES):
            marks = [] if k % len(CASES) == j else pytest.mark.slow
            yield pytest.param(method, *case, id="-".join([name(method), *case]), marks=marks)


@pytest.mark.covering(7)
@pytest.mark.parametrize(("method", "schedule", "problem", "grid"), list(rows()))
def test_order(method, schedule, problem, grid):
    """Over four halvings the error falls with the power that the method states, within 0.1."""
    found, errors = measured(method, schedule, problem, grid)
    assert abs(found - method.order) < 0.1, (found, errors)


@pytest.mark.parametrize("schedule", ["linear", "gvp"])
@pytest.mark.parametrize("method", [*SINGLESTEP, *(UniPC(order) for order in (2, 3, 4)), DEIS(2), DEIS(3)], ids=name)
def test_the_step_from_no_signal(method, schedule):
    """One step from t = 1, where α = 0 and λ = −∞, errs by h to the power of the order and one more, or by less."""
    path = Path(SCHEDULES[schedule], MIXTURE)
    flow = probability_flow(path.schedule, path.velocity).drift
    made, counts, errors = denoising(path.schedule, path.velocity), [32 * 2**k for k in range(5)], []
    for n in counts:
        span = (1.0, 1.0 - 1.0 / n)
        drift = lambda time, x: flow(time, x[:, None])[:, 0]  # noqa: E731
        exact = solve_ivp(drift, span, X[:, 0], method="DOP853", rtol=1e-13, atol=1e-15).y[:, -1]
        errors.append(float(np.sqrt(np.mean((solve(made, X, span, method).x[:, 0] - exact) ** 2))))
    found = slope(counts, errors)
    assert found > min(method.order, 3) + 0.9, (found, errors)
