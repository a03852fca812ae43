"""Compiled ensembles with noise: the solve of arrays with the same noise, and samples that know only their own."""

import math

import numpy as np
import pytest
from adaptive_problems import wave
from compiled_problems import field, given
from refusals import PARTS
from solver_methods import name

from solvers import (
    RK4,
    SDE,
    Adaptive,
    Dopri5,
    Euler,
    EulerMaruyama,
    NonFiniteError,
    Pole,
    PoleError,
    StochasticHeun,
    solve,
    uniform,
)
from solvers.compiled import CompiledODE, CompiledSDE, RowNoise, solve_ensemble

METHODS = (EulerMaruyama(), StochasticHeun())
NOISE = RowNoise(5, first=3)


def level(time):
    return 0.15 + 0.1 * math.sin(5.0 * time)


PROBLEM, ARRAYS = CompiledSDE(field, level), SDE(wave, level)
X = 0.3 * np.random.default_rng(9).standard_normal((150, 2))


@pytest.mark.covering(2)
@pytest.mark.parametrize("method", METHODS, ids=name)
def test_is_the_solve_of_arrays(method):
    """With the same noise all states, in both directions, on unequal steps, are those of solve, to a few roundings."""
    for grid in (uniform(30), uniform(20, 0.0, 1.0) ** 2):
        ours = solve_ensemble(PROBLEM, X, grid, method, rng=NOISE, parameters=given(), save=True)
        theirs = solve(ARRAYS, X, grid, method, rng=NOISE, save=True)
        # The field grows small differences by less than a hundred over the interval.
        np.testing.assert_allclose(ours.xs, theirs.xs, rtol=0, atol=3e-14)
        np.testing.assert_array_equal(ours.x, ours.xs[-1])
        assert (ours.nfe, ours.status) == (theirs.nfe, "success")
        assert (ours.nfes == theirs.nfe).all()


@pytest.mark.parametrize("method", METHODS, ids=name)
def test_a_sample_does_not_know_its_batch(method):
    """To the last bit a sample is the same alone, in any part of the ensemble, saved or not, on any threads."""
    grid = uniform(10)
    x = np.tile(X, (9, 1))  # more than one group of blocks
    whole = solve_ensemble(PROBLEM, x, grid, method, rng=RowNoise(5), parameters=given(), save=True).xs
    assert np.unique(whole[-1][:, 0]).size == len(x)
    for first, stop in ((1349, 1350), (0, 63), (5, 69), (64, 129), (1000, 1350)):
        part = solve_ensemble(PROBLEM, x[first:stop], grid, method, rng=RowNoise(5, first), parameters=given())
        np.testing.assert_array_equal(part.x, whole[-1, first:stop])
    for threads in (2, 3, 8):
        part = solve_ensemble(PROBLEM, x, grid, method, rng=RowNoise(5), parameters=given(), save=True, threads=threads)
        np.testing.assert_array_equal(part.xs, whole)


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS, ids=name)
def test_float32_is_kept(method):
    """States in float32 stay so and agree with float64 to its rounding, which shows: they are not computed in it."""
    single = solve_ensemble(PROBLEM, X.astype(np.float32), uniform(40), method, rng=NOISE, parameters=given())
    double = solve_ensemble(
        PROBLEM, X.astype(np.float32).astype(float), uniform(40), method, rng=NOISE, parameters=given()
    )
    assert single.x.dtype == np.float32
    assert 2.0**-26 < abs(single.x - double.x).max() < 100 * 2.0**-24


def test_a_generator_gives_the_seed():
    """A numpy Generator gives a seed: equal generators give equal samples, and the next solve has others."""
    rng = np.random.default_rng(3)
    first, second = (
        solve_ensemble(PROBLEM, X, uniform(4), EulerMaruyama(), rng=rng, parameters=given()).x for _ in range(2)
    )
    again = solve_ensemble(PROBLEM, X, uniform(4), EulerMaruyama(), rng=np.random.default_rng(3), parameters=given()).x
    np.testing.assert_array_equal(first, again)
    assert (first != second).all()


@pytest.mark.slow
def test_without_noise_it_is_the_ode():
    """Where g = 0 Euler–Maruyama is Euler's method, though it draws."""
    still = CompiledSDE(field, lambda time: 0.0)
    found = solve_ensemble(still, X, uniform(10), EulerMaruyama(), rng=NOISE, parameters=given())
    expected = solve_ensemble(CompiledODE(field), X, uniform(10), Euler(), parameters=given())
    np.testing.assert_array_equal(found.x, expected.x)


@pytest.mark.parametrize(
    ("kind", "words", "changed"),
    [
        (TypeError, "EulerMaruyama.. or StochasticHeun.*RK4", {"method": RK4()}),
        (TypeError, "EulerMaruyama.. or StochasticHeun.*Adaptive", {"method": Adaptive(Dopri5(), per_sample=True)}),
        (TypeError, "Runge.Kutta method.*EulerMaruyama", {"problem": CompiledODE(field)}),
        (TypeError, "CompiledSDE.*received SDE", {"problem": ARRAYS}),
        (TypeError, "rng: a RowNoise.*received None", {"rng": None}),
        (TypeError, "rng: a RowNoise.*received 3", {"rng": 3}),
        (
            ValueError,
            r"at least 0, at time 1\.0; received -1\.0",
            {"problem": CompiledSDE(field, lambda t: -1.0)},
        ),
        (
            ValueError,
            r"finite number, at least 0, at time 0\.5; received inf",
            {"problem": CompiledSDE(field, lambda t: math.inf ** (0.6 - t))},
        ),
        (ValueError, "finite number.*nan", {"problem": CompiledSDE(field, lambda t: math.nan)}),
        (TypeError, "a float on the host.*received str 'one'", {"problem": CompiledSDE(field, lambda t: "one")}),
        (
            PoleError,
            "it diverges.*EulerMaruyama evaluates",
            {"problem": CompiledSDE(field, level, poles=(Pole(1.0, "it diverges"),))},
        ),
        (ValueError, r"domain \[0.5, 1.0\]", {"problem": CompiledSDE(field, level, domain=(0.5, 1.0))}),
    ],
)
def test_refusals(kind, words, changed):
    """What cannot be meant is refused before a step is taken, with expected, received and remedy."""
    arguments = {"problem": PROBLEM, "x": X, "ts": [1.0, 0.5, 0.0], "method": EulerMaruyama(), "rng": NOISE}
    with pytest.raises(kind, match=words) as error:
        solve_ensemble(**(arguments | changed), parameters=given())
    assert all(part in str(error.value) for part in PARTS)


@pytest.mark.parametrize("bad", [lambda: CompiledSDE(field, 1.0), lambda: CompiledSDE(3.0, level)])
def test_parts(bad):
    """A diffusion that cannot be called and a drift that is no function are refused when the problem is made."""
    with pytest.raises(TypeError) as error:
        bad()
    assert all(part in str(error.value) for part in PARTS)


def test_solve_sends_it_here():
    """solve refuses a compiled problem and names solve_ensemble."""
    with pytest.raises(TypeError, match="solve_ensemble"):
        solve(PROBLEM, X, uniform(2), EulerMaruyama(), rng=NOISE)


def test_nan_names_the_sample_and_the_step():
    """A sample that overflows is found with its step, solved again with its own noise; the others are what they are."""
    x = X.copy()
    x[70] = 1e200
    with pytest.raises(NonFiniteError, match="step 1 of sample 70") as error:
        solve_ensemble(PROBLEM, x, uniform(8), EulerMaruyama(), rng=NOISE, parameters=given())
    statuses = error.value.solution.statuses
    assert (statuses != "success").nonzero()[0].tolist() == [70]
    expected = solve_ensemble(PROBLEM, X, uniform(8), EulerMaruyama(), rng=NOISE, parameters=given()).x
    np.testing.assert_array_equal(np.delete(error.value.solution.x, 70, 0), np.delete(expected, 70, 0))


@pytest.mark.slow
def test_the_step_that_is_named_is_the_one_of_the_sample():
    """Where noise decides when a sample ends, the step that the error names is the first bad one of its own path."""

    def barrier(time, x, out, parameters):
        out[0] = math.sqrt(1.0 - x[0]) - 1.0

    problem, x = CompiledSDE(barrier, lambda time: 1.0), np.zeros((200, 1))
    for first in (0, 40, 90):
        with pytest.raises(NonFiniteError) as error:
            solve_ensemble(problem, x, uniform(50), EulerMaruyama(), rng=RowNoise(2, first), save=True)
        bad = ~np.isfinite(error.value.solution.xs[:, :, 0])
        sample = int(bad[-1].argmax())
        assert f"first in step {int(bad[:, sample].argmax())} of sample {sample}," in str(error.value)
