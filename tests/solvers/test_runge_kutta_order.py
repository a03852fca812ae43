"""Order five and eight, which double precision cannot show over four halvings: the tableaus run in 50 digits."""

import math
from itertools import pairwise

import mpmath
import numpy as np
import pytest
import torch
from mpmath import mpf
from solver_methods import TABLEAUS, name

from solvers import DOP853, ODE, RK4, Dopri5, Tsit5, solve, uniform
from tests.support.fields import FIELDS, slope

HIGH = [method for method in TABLEAUS if method.order > 4]


def logistic(t, x):
    return mpmath.exp(t) * x * (1 - x)


def logistic_exact(t0, x, t1):
    growth = mpmath.exp(mpmath.exp(t1) - mpmath.exp(t0))
    return x * growth / (1 - x + x * growth)


def riccati(t, x):
    return -2 * t * x * x


def riccati_exact(t0, x, t1):
    return 1 / (1 / x + t1 * t1 - t0 * t0)


def exact_step(tableau, drift, t0, t1, x):
    """One step straight from the definition, with every coefficient as a number of 50 digits."""
    h, slopes = t1 - t0, []
    for node, row in zip(tableau.c, ((), *tableau.a)):
        inner = x + h * sum((mpf(a.numerator) / a.denominator * k for a, k in zip(row, slopes)), mpf(0))
        slopes.append(drift(t0 + h * node.numerator / node.denominator, inner))
    return x + h * sum((mpf(b.numerator) / b.denominator * k for b, k in zip(tableau.b, slopes)), mpf(0))


LOGISTIC, RICCATI = (logistic, logistic_exact), (riccati, riccati_exact)
# Method, problem, start x0, interval, coarsest grid: each where the leading term of the error is alone. Tsitouras'
# sixteen digits leave an error near 1e-17 whatever the step, so his grids must end above it.
CASES = [
    (Dopri5(), LOGISTIC, "0.9", 1.5, 0.0, 32),
    (Dopri5(), RICCATI, "3", 0.0, 1.0, 64),
    (Tsit5(), LOGISTIC, "0.9", 1.5, 0.0, 32),
    (Tsit5(), RICCATI, "3", 0.0, 1.0, 32),
    (DOP853(), LOGISTIC, "0.3", 1.0, 0.0, 32),
    (DOP853(), LOGISTIC, "0.3", 0.0, 2.0, 32),
    (DOP853(), RICCATI, "0.3", 1.0, 0.0, 32),
    (DOP853(), RICCATI, "0.3", 0.0, 1.0, 32),
]


@pytest.mark.covering(5)
@pytest.mark.parametrize(
    ("method", "problem", "x0", "start", "stop", "coarsest"),
    CASES,
    ids=[f"{name(method)}-{problem[0].__name__}-{start:g}-{stop:g}" for method, problem, _, start, stop, _ in CASES],
)
def test_order_in_many_digits(method, problem, x0, start, stop, coarsest):
    """Five grids, four halvings: the error at the end has the power of the step that the method states, within 0.1."""
    drift, closed = problem
    counts, errors = [coarsest * 2**k for k in range(5)], []
    with mpmath.workdps(50):
        for n in counts:
            x, times = mpf(x0), [mpf(start) + mpf(stop - start) * k / n for k in range(n + 1)]
            for t0, t1 in pairwise(times):
                x = exact_step(method.tableau, drift, t0, t1, x)
            errors.append(float(abs(x - closed(mpf(start), mpf(x0), mpf(stop)))))
    assert abs(slope(counts, errors) - method.order) < 0.1, errors


@pytest.mark.parametrize("method", TABLEAUS, ids=name)
def test_steps_in_double_precision(method):
    """A solve in doubles differs from the definition in 50 digits by rounding alone."""
    ts = [1.0, 0.8, 0.35, 0.1, 0.0]
    found = solve(ODE(lambda time, x: -2.0 * time * x * x), np.array([0.3]), ts, method).x[0]
    with mpmath.workdps(50):
        x = mpf(0.3)
        for t0, t1 in pairwise(mpf(t) for t in ts):
            x = exact_step(method.tableau, riccati, t0, t1, x)
    assert abs(found - float(x)) < 4e-16


@pytest.mark.parametrize("field", FIELDS, ids=lambda field: field.name)
@pytest.mark.parametrize("method", HIGH, ids=name)
def test_high_orders_pay(method, field):
    """For about as many evaluations the error is a tenth of RK4's at most, on every problem."""
    exact, ode = field.exact(), ODE(field.drift)

    def error(scheme, evaluations):
        grid = uniform(evaluations // scheme.evaluations, field.start, field.stop)
        return np.abs(solve(ode, field.x0, grid, scheme).x - exact).max()

    assert error(method, 144) < 0.1 * error(RK4(), 144)


@pytest.mark.parametrize("method", TABLEAUS, ids=name)
def test_gradients_of_fixed_steps(method):
    """Derivatives of a solve by autograd are those by differences."""
    weight = torch.tensor([[0.3, -1.1], [0.8, 0.2]], dtype=torch.float64, requires_grad=True)
    x = torch.tensor([[0.5, -0.2]], dtype=torch.float64, requires_grad=True)

    def end(x, weight):
        return solve(ODE(lambda time, x: torch.tanh(x @ weight) * math.cos(time)), x, uniform(3), method).x

    assert torch.autograd.gradcheck(end, (x, weight))


@pytest.mark.parametrize("method", TABLEAUS, ids=name)
def test_jax(method):
    """A jax state gives a jax state with the numbers of numpy, to single precision."""
    jax = pytest.importorskip("jax")
    start = np.linspace(-0.9, 1.1, 6, dtype=np.float32).reshape(3, 2)
    problem = ODE(lambda time, x: math.cos(3.0 * time) * x / (1.0 + x * x))
    by_jax = solve(problem, jax.numpy.asarray(start), uniform(5), method).x
    assert isinstance(by_jax, jax.Array)
    assert by_jax.dtype == np.float32
    np.testing.assert_allclose(np.asarray(by_jax), solve(problem, start, uniform(5), method).x, rtol=0, atol=2e-6)
