"""{schedule × prediction × w or no w × solver} on N(m, C): a solve refuses before its first call, or is right.

Every solver is affine in (x, ΔW) on a Gaussian target, so one solve of basis states and unit noises gives its exact
mean and covariance: no Monte Carlo. The exact law runs from p_1 to p_0, both by the oracle.
"""

from itertools import product

import mpmath
import numpy as np
import pytest
from mpmath import mpf

import solvers
from interpolants import Noise, Path, Velocity, denoising, diffusion, probability_flow, reverse_sde
from solvers import ODE, RK4, Denoising, Euler, PoleError, solve, uniform
from solvers.method import evaluation_times
from tests.support.zoo import BUILT_INS, CASES, CHOICES, COVARIANCE, FIRST, GAUSSIAN, MEAN, PREDICTIONS

KINDS = [getattr(solvers, name) for name in solvers.__all__ if hasattr(getattr(solvers, name), "order")]
METHODS = [kind() for kind in KINDS if isinstance(kind.solves, type)]


class Basis:
    """Noise that is 0 for the origin and the two basis states; every draw is a unit vector in two rows of its own."""

    def __init__(self):
        self.drawn = 0

    def increments(self, x):
        def noise(t0, t1):
            kicks = np.zeros_like(x)
            kicks[3 + 2 * self.drawn : 5 + 2 * self.drawn] = np.eye(2)[: len(x) - 3] * np.sqrt(abs(t1 - t0))
            self.drawn += 1
            return kicks

        return noise


ROWS = np.concatenate([np.zeros((1, 2)), np.eye(2)])


def law_at_end(problem, method, ts, mean, covariance):
    """Propagate mean and covariance through the affine map that a solve is, read off the method itself.

    A method may remember earlier steps and draw more than once in one, so the solve is taken as a whole.
    """
    counter = Basis()
    solve(problem, ROWS, ts, method, rng=counter if method.stochastic else None)
    rows = np.concatenate([ROWS, np.zeros((2 * counter.drawn, 2))])
    end = solve(problem, rows, ts, method, rng=Basis() if method.stochastic else None).x
    moved, kicked = end[1:3] - end[0], end[3:] - end[0]
    return mean @ moved + end[0], moved.T @ covariance @ moved + kicked.T @ kicked


def exact_law(case, time):
    """Return the mean and covariance of p_t from the oracle."""
    with mpmath.workdps(50):
        alpha, sigma = float(case.alpha(mpf(time))), float(case.sigma(mpf(time)))
    return alpha * MEAN, alpha**2 * COVARIANCE + sigma**2 * np.eye(2)


def error_of(problem, method, case, n):
    ts = uniform(n)
    mean, covariance = law_at_end(problem, method, ts, *exact_law(case, 1.0))
    exact_mean, exact_covariance = exact_law(case, 0.0)
    assert np.isfinite(mean).all()
    assert np.isfinite(covariance).all()
    return max(np.abs(mean - exact_mean).max(), np.abs(covariance - exact_covariance).max())


class Model:
    """The exact prediction, counting its calls."""

    def __init__(self, case, prediction):
        self.path, self.prediction, self.calls = Path(case.schedule, GAUSSIAN), prediction, 0

    def __call__(self, time, x):
        self.calls += 1
        return self.path.predict(self.prediction, time, x)


def takes_w(method):
    return method.stochastic and getattr(method, "reads_clock", True)


def rows():
    """Yield the whole matrix; custom schedules and rarer choices of w mostly in the second tier."""
    for case, prediction, method in product(CASES, PREDICTIONS, METHODS):
        for choice in CHOICES if takes_w(method) else [None]:
            first = case in BUILT_INS and (choice is None or repr(choice) in FIRST)
            first |= choice is None and method in (Euler(), RK4())
            # One in four, along a diagonal: every method meets every schedule and prediction of the first tier.
            places = CASES.index(case), PREDICTIONS.index(prediction), METHODS.index(method)
            first &= sum(places, CHOICES.index(choice) if choice else 0) % 4 == 0
            if method.solves is Denoising:
                some = choice is None or repr(choice) in {"KL()", "Sigma()"}
                first = some and case in BUILT_INS and prediction in (Velocity, Noise) and sum(places) % 4 in (0, 2)
            name = (
                f"{case}-{prediction}-{type(method).__name__}-{choice or ('ODE' if method.solves is ODE else 'no w')}"
            )
            yield pytest.param(case, prediction, method, choice, id=name, marks=[] if first else pytest.mark.slow)


# Where w/ρ² » n or a coefficient has an integrable singularity at an end, order theory is silent: this is the bound.
BOUND, RATIO = 0.35, 0.8


@pytest.mark.covering(205)
@pytest.mark.parametrize(("case", "prediction", "method", "choice"), list(rows()))
def test_refused_or_right(case, prediction, method, choice):
    """A solve is a PoleError with a remedy before the first call, or has p_0's mean and covariance as n grows."""
    model = Model(case, prediction)
    if method.solves is Denoising:
        w = diffusion.Zero() if choice is None else choice.w
        problem = denoising(case.schedule, model, prediction=prediction, w=w)
    elif choice is None:
        problem = probability_flow(case.schedule, model, prediction=prediction)
    else:
        problem = reverse_sde(case.schedule, model, choice.w, prediction=prediction)
    touched = {pole.time for pole in problem.poles} & {
        time for _, time in evaluation_times(method, uniform(64).tolist(), problem)
    }
    if touched:
        with pytest.raises(PoleError, match=r"expected .*; received .*; remedy: "):
            solve(problem, ROWS, uniform(64), method, rng=Basis())
        assert model.calls == 0
    else:
        errors = [error_of(problem, method, case, n) for n in (64, 256)]
        assert errors[1] < BOUND
        assert errors[1] < max(RATIO * errors[0], 1e-9)


def test_every_solver_is_in_the_matrix():
    """The methods of the first version are there, and the matrix holds every schedule and prediction."""
    assert {type(method).__name__ for method in METHODS} >= {
        "Euler",
        "Midpoint",
        "Heun",
        "RK4",
        "EulerMaruyama",
        "StochasticHeun",
    }
    sound = len(CASES) * len(PREDICTIONS)
    each = sum(len(CHOICES) if takes_w(method) else 1 for method in METHODS)
    assert len(list(rows())) == sound * each
