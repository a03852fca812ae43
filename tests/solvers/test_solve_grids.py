"""Grids by powers and by measured errors."""

import math
from itertools import pairwise

import numpy as np
import pytest
from refusals import PARTS

from solvers import (
    ODE,
    SDE,
    AdamsBashforth,
    Adaptive,
    Dopri5,
    Euler,
    EulerMaruyama,
    Heun,
    equidistributed,
    local_errors,
    power,
    solve,
)
from solvers import uniform as uniform_grid


@pytest.mark.parametrize("n", [1, 2, 7])
@pytest.mark.parametrize(("start", "stop"), [(1.0, 0.0), (0.1, 0.9)])
def test_power(n, start, stop):
    """The p-th roots of the times are equally spaced, ends exact; p = 1 is uniform."""
    ts = power(n, 3.0, start, stop)
    assert (len(ts), ts[0], ts[-1]) == (n + 1, start, stop)
    roots = np.cbrt(ts)
    np.testing.assert_allclose(np.diff(roots), (roots[-1] - roots[0]) / n, rtol=1e-12)
    np.testing.assert_allclose(power(n, 1.0, start, stop), uniform_grid(n, start, stop), rtol=1e-15)


def test_local_errors_are_those_of_the_steps():
    """For x' = a(t) the error of Euler's step is known: ∫a − h a(t0), to leading order; the state is carried on."""
    field, primitive = (lambda t, x: np.full_like(x, math.exp(t))), math.exp
    ts = uniform_grid(200, 1.0, 0.0)
    exact = [abs(primitive(b) - primitive(a) - (b - a) * math.exp(a)) for a, b in pairwise(ts)]
    np.testing.assert_allclose(local_errors(ODE(field), np.zeros((4, 2)), ts, Euler()), exact, rtol=5e-3)
    decay = local_errors(ODE(lambda t, x: -x), np.ones(1), uniform_grid(50, 0.0, 1.0), Euler())
    np.testing.assert_allclose(decay, 0.02**2 / 2 * np.exp(-uniform_grid(50, 0.0, 1.0)[:-1]), rtol=3e-2)


@pytest.mark.parametrize(("method", "order"), [(Euler(), 1), (Heun(), 2)], ids=["Euler", "Heun"])
def test_errors_are_equal_on_the_grid_found(method, order):
    """On the grid that equidistributes measured errors all steps err alike, and the solve is better for it."""
    steep = ODE(lambda t, x: np.full_like(x, -1.0 / (t + 0.01) ** 2))
    x, rough = np.zeros(1), uniform_grid(2000)
    ts = equidistributed(160, rough, local_errors(steep, x, rough, method), order)
    assert (len(ts), ts[0], ts[-1]) == (161, 1.0, 0.0)
    errors = local_errors(steep, x, ts, method)
    assert errors.max() < 1.25 * errors.min()
    exact = 1 / 0.01 - 1 / 1.01
    new, old = (abs(solve(steep, x, grid, method).x[0] - exact) for grid in (ts, uniform_grid(160)))
    assert new < 0.1 * old


def test_known_errors():
    """A rate of c^(1/(p+1)) that is 3 on one half and 1 on the other puts three of four steps on the first."""
    errors = [3.0**3, 3.0**3, 1.0, 1.0]
    np.testing.assert_allclose(
        equidistributed(4, [1.0, 0.75, 0.5, 0.25, 0.0], errors, 2), [1.0, 5 / 6, 4 / 6, 0.5, 0.0], rtol=1e-15
    )
    assert equidistributed(1, [1.0, 0.5, 0.0], [1.0, 0.0], 1).tolist() == [1.0, 0.0]


@pytest.mark.parametrize(
    ("call", "kind", "words"),
    [
        (lambda: power(0), ValueError, "at least 1"),
        (lambda: power(3, 0.0), ValueError, "exponent: a positive number"),
        (lambda: power(3, 2.0, 1.0, -0.5), ValueError, "times that are not negative"),
        (lambda: equidistributed(3, [1.0, 0.0], [0.0], 1), ValueError, "not all zero"),
        (lambda: equidistributed(3, [1.0, 0.0], [1.0, 2.0], 1), ValueError, "errors: 1 numbers"),
        (lambda: equidistributed(3, [1.0, 0.0], [math.nan], 1), ValueError, "finite"),
        (
            lambda: local_errors(SDE(lambda t, x: x, lambda t: 1.0), np.ones(1), [1.0, 0.0], EulerMaruyama()),
            TypeError,
            "a deterministic method; received EulerMaruyama",
        ),
        (lambda: local_errors(ODE(lambda t, x: x), np.ones(1), [1.0, 0.0], Heun), TypeError, "the class Heun"),
        (
            lambda: local_errors(ODE(lambda t, x: x), np.ones(1), [1.0, 0.0], Adaptive(Dopri5())),
            TypeError,
            "received Adaptive without.*pass the method inside it",
        ),
    ],
)
def test_grids_that_are_refused(call, kind, words):
    """Impossible arguments are refused in three parts."""
    with pytest.raises(kind, match=words) as error:
        call()
    assert all(part in str(error.value) for part in PARTS)


def test_local_errors_of_a_multistep_method():
    """A multistep method starts anew in every step, so its numbers are those of its starter."""
    errors = local_errors(ODE(lambda t, x: -x), np.ones(1), uniform_grid(20, 0.0, 1.0), AdamsBashforth(2))
    np.testing.assert_allclose(errors[0], 0.05**3 / 6, rtol=0.1)
