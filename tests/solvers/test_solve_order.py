"""Each method has the order on its label, on nonlinear problems that depend on time, in both directions."""

import numpy as np
import pytest
from solver_methods import DETERMINISTIC, name

from solvers import ODE, SDE, AdamsBashforth, EulerMaruyama, StochasticHeun, solve, steps, uniform
from tests.support.fields import FIELDS, LINEAR_SDES, slope

# Five grids, four halvings, each fine enough for the leading term and coarse enough for double precision.
COARSEST = {1: 160, 2: 40, 3: 40, 4: 20}

ONE_DRAW = [EulerMaruyama(), StochasticHeun()]
"""Those whose steps are affine in one increment; test_weak_orders and test_strong_orders have the others."""


@pytest.mark.covering(5)
@pytest.mark.parametrize("field", FIELDS, ids=lambda field: field.name)
@pytest.mark.parametrize("method", [method for method in DETERMINISTIC if method.order in COARSEST], ids=name)
def test_order_of_deterministic_methods(method, field):
    """The error at the end falls with the power of the step that the method states, within 0.1."""
    exact = field.exact()
    # The error of many-step extrapolation has a larger second term: its grids begin finer.
    coarsest = COARSEST[method.order] * (8 if method == AdamsBashforth(4) else 1)
    counts = [coarsest * 2**k for k in range(5)]
    errors = []
    for n in counts:
        found = solve(ODE(field.drift), field.x0, uniform(n, field.start, field.stop), method).x
        errors.append(float(np.abs(found - exact).max()))
    assert abs(slope(counts, errors) - method.order) < 0.1, errors


class Basis:
    """Noise that is 0, 0, 1: with states 0, 1, 0 one step then shows its own offset, factor and gain."""

    def increments(self, x):
        return lambda t0, t1: np.array([0.0, 0.0, 1.0])


def affine_steps(problem, method, ts):
    """Yield (t0, t1, A, B, c) of the map x ↦ A x + B ΔW + c that each step is, read off the method itself."""
    basis = np.array([0.0, 1.0, 0.0])
    run = steps(SDE(problem.drift, problem.g), basis, ts, method, Basis())
    for step in run:
        offset, moved, kicked = step.x
        yield ts[step.index - 1], step.time, moved - offset, kicked - offset, offset
        run.send(basis)


@pytest.mark.parametrize(("start", "stop"), [(0.0, 1.0), (1.0, 0.0)], ids=["rising", "falling"])
@pytest.mark.parametrize("problem", LINEAR_SDES, ids=lambda problem: problem.name)
@pytest.mark.parametrize("method", ONE_DRAW, ids=name)
def test_weak_order(method, problem, start, stop):
    """Mean and variance at the end, composed exactly from the steps, converge with the weak order stated."""
    mean_exact, variance_exact = problem.moments(start, stop)
    counts = [40 * 2**k for k in range(5)]
    errors_mean, errors_variance = [], []
    for n in counts:
        mean, variance = problem.mean, problem.variance
        for t0, t1, A, B, c in affine_steps(problem, method, uniform(n, start, stop)):
            mean = A * mean + c
            variance = A**2 * variance + B**2 * abs(t1 - t0)
        errors_mean.append(abs(mean - mean_exact))
        errors_variance.append(abs(variance - variance_exact))
    assert abs(slope(counts, errors_mean) - method.weak_order) < 0.1, errors_mean
    assert abs(slope(counts, errors_variance) - method.weak_order) < 0.1, errors_variance


GAUSS_NODES, GAUSS_WEIGHTS = np.polynomial.legendre.leggauss(12)


def exact_step(problem, t0, t1):
    """Return the factor and offset of the exact solution over a step, and its noise's variance and covariance with ΔW.

    X(t1) = Φ X(t0) + c + ∫Φ(t1, s) g(s) dW, all by Gauss quadrature, which is exact to rounding on steps this short.
    """
    times = 0.5 * (t0 + t1) + 0.5 * (t1 - t0) * GAUSS_NODES
    weights = 0.5 * (t1 - t0) * GAUSS_WEIGHTS
    flow = np.exp([problem.integral_a(t1) - problem.integral_a(s) for s in times])
    g = np.array([problem.g(s) for s in times])
    b = np.array([problem.b(s) for s in times])
    factor = np.exp(problem.integral_a(t1) - problem.integral_a(t0))
    return factor, (weights * flow * b).sum(), (abs(weights) * flow**2 * g**2).sum(), (abs(weights) * flow * g).sum()


@pytest.mark.parametrize(("start", "stop"), [(0.0, 1.0), (1.0, 0.0)], ids=["rising", "falling"])
@pytest.mark.parametrize("problem", LINEAR_SDES, ids=lambda problem: problem.name)
@pytest.mark.parametrize("method", ONE_DRAW, ids=name)
def test_strong_order(method, problem, start, stop):
    """The root mean square distance to the exact path of the same noise converges with the strong order stated."""
    counts = [40 * 2**k for k in range(5)]
    errors = []
    for n in counts:
        # The pair (exact path X, error e) stays Gaussian: carry its mean and its covariance.
        mean = np.array([problem.mean, 0.0])
        covariance = np.array([[problem.variance, 0.0], [0.0, 0.0]])
        for t0, t1, A, B, c in affine_steps(problem, method, uniform(n, start, stop)):
            factor, offset, noise_variance, noise_with_kick = exact_step(problem, t0, t1)
            transition = np.array([[factor, 0.0], [A - factor, A]])
            cross = B * noise_with_kick - noise_variance
            kick = B**2 * abs(t1 - t0) - 2.0 * B * noise_with_kick + noise_variance
            mean = transition @ mean + [offset, c - offset]
            covariance = transition @ covariance @ transition.T + [[noise_variance, cross], [cross, kick]]
        errors.append(float(np.sqrt(covariance[1, 1] + mean[1] ** 2)))
    assert abs(slope(counts, errors) - method.strong_order) < 0.1, errors
