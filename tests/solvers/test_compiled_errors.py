"""What compiled ensembles refuse, and how they say it: expected, received, remedy."""

import functools
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from adaptive_problems import batch
from compiled_problems import FORGETFUL, ODES, field, given
from refusals import PARTS

import solvers
from solvers import (
    ODE,
    RK4,
    AdamsBashforth,
    Adaptive,
    Dopri5,
    Euler,
    Event,
    Heun,
    NonFiniteError,
    Pole,
    PoleError,
    solve,
    uniform,
)
from solvers.compiled import CompiledODE, solve_ensemble

ROOT = Path(solvers.__file__).resolve().parents[1]
X = batch(6) / 2.0
OWN = Adaptive(Dopri5(), per_sample=True)


def refused(kind, words, *args, **kwargs):
    """Solve, demand an error of three parts that matches, and return it."""
    with pytest.raises(kind, match=words) as error:
        solve_ensemble(*args, **kwargs)
    assert all(part in str(error.value) for part in PARTS), str(error.value)
    return error.value


@pytest.mark.parametrize(
    ("kind", "words", "changed"),
    [
        (TypeError, "CompiledODE", {"problem": ODE(lambda time, x: x)}),
        (TypeError, "numpy array of float64 or float32", {"x": [[1.0, 2.0]]}),
        (TypeError, "numpy array of float64 or float32.*int64", {"x": np.ones((2, 2), int)}),
        (TypeError, "numpy array of float64 or float32.*float16", {"x": np.ones((2, 2), np.float16)}),
        (ValueError, r"shape \(B, d\).*\(2,\)", {"x": np.ones(2)}),
        (ValueError, r"shape \(B, d\).*\(0, 2\)", {"x": np.ones((0, 2))}),
        (ValueError, "strictly", {"ts": [0.0, 1.0, 0.5]}),
        (ValueError, "at least two", {"ts": np.ones(1)}),
        (ValueError, "strictly.*nan at index 1", {"ts": np.array([0.0, math.nan, 1.0])}),
        (TypeError, r"write Heun\(\)", {"method": Heun}),
        (TypeError, "Runge.Kutta method", {"method": AdamsBashforth(2)}),
        (ValueError, "per_sample=False", {"method": Adaptive(Dopri5())}),
        (ValueError, "events", {"method": Adaptive(Dopri5(), per_sample=True, events=(Event(lambda t, x: x),))}),
        (ValueError, "threads.*at least 1", {"threads": 0}),
        (TypeError, "threads", {"threads": 1.5}),
        (TypeError, "parameters that numba knows", {"parameters": object()}),
        (ValueError, r"domain \[0.0, 0.5\]", {"problem": CompiledODE(field, domain=(0.0, 0.5))}),
    ],
)
def test_arguments(kind, words, changed):
    """Every argument that cannot be meant is refused, before anything is compiled for it."""
    arguments = {"problem": ODES, "x": X, "ts": [0.0, 1.0], "method": RK4(), "parameters": given()} | changed
    refused(kind, words, **arguments)


@pytest.mark.parametrize(
    ("kind", "words", "make"),
    [
        (TypeError, "a function.*partial", lambda: CompiledODE(functools.partial(field, 0.0))),
        (TypeError, "a function.*float", lambda: CompiledODE(field, 3.0)),
        (TypeError, "poles", lambda: CompiledODE(field, poles=Pole(0.0, "here"))),
        (ValueError, "domain", lambda: CompiledODE(field, domain=(1.0, 0.0))),
        (ValueError, "rtol", lambda: Adaptive(Dopri5(), rtol=0.0, per_sample=True)),
    ],
)
def test_parts(kind, words, make):
    """A problem of wrong parts, and settings that mean nothing, are refused when they are made."""
    with pytest.raises(kind, match=words) as error:
        make()
    assert all(part in str(error.value) for part in PARTS)


def test_poles():
    """A pole is refused where a method would evaluate it, and inside or at the end of adaptive steps."""
    problem = CompiledODE(field, poles=(Pole(1.0, "it diverges"),))
    refused(PoleError, "it diverges.*RK4 evaluates in step 2", problem, X, [0.0, 0.5, 1.0], RK4(), parameters=given())
    refused(PoleError, "it diverges", problem, X, [0.0, 1.0], OWN, parameters=given())
    assert solve_ensemble(problem, X, [0.0, 0.5, 1.0], Euler(), parameters=given()).status == "success"


def returns(time, x, out, parameters):
    return -x


def writes_to_x(time, x, out, parameters):
    x[0] = 0.0
    out[0] = x[0]


def unknown(time, x, out, parameters):
    out[0] = np.unknown_function(x[0])


def three(time, x, out):
    out[0] = x[0]


@pytest.mark.parametrize(
    ("drift", "words"),
    [
        (returns, "returns nothing; received one that returns array"),
        (writes_to_x, r"Cannot modify readonly array.*test_compiled_errors\.py"),
        (unknown, "has no attribute .unknown_function"),
        (three, "Signature mismatch"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
@pytest.mark.parametrize("method", [Euler(), OWN], ids=["grid", "adaptive"])
def test_drifts_that_do_not_compile(drift, words, method):
    """A drift that numba refuses, or that would do something else than it should, is refused with numba's reason."""
    refused(TypeError, words, CompiledODE(drift), X, [0.0, 1.0], method)


@pytest.mark.slow
def test_an_exception_inside_a_drift_comes_out():
    """What a drift raises is raised, on other threads as well."""

    def strict(time, x, out, parameters):
        if time > 0.5:
            raise ArithmeticError("too late")
        for r in range(x.size):
            out[r] = x[r]

    for threads in (1, 2):
        with pytest.raises(ArithmeticError, match="too late"):
            solve_ensemble(CompiledODE(strict), np.ones((130, 2)), uniform(4, 0.0, 1.0), Euler(), threads=threads)


@pytest.mark.slow
def test_nan_names_the_sample_and_the_time():
    """NaN in a drift is found, with the sample, the step and its times; the solution has what was reached."""
    grid = uniform(8, 0.0, 1.0)
    error = refused(
        NonFiniteError,
        r"first in step 6 of sample 0, from time 0\.625 to 0\.75 \(6 samples in all\)",
        *(ODES, X, grid, Euler()),
        parameters=given(until=0.6),
        save=True,
    )
    assert error.solution.status == "non-finite"
    assert np.isfinite(error.solution.xs[:6]).all()
    error = refused(
        NonFiniteError,
        r"of sample 0, from time 0\.\d+ to 0\.\d+; .*of sample 2",
        ODES,
        X,
        grid,
        OWN,
        parameters=given(until=0.6),
    )
    assert (error.solution.time > 0.599).all()
    assert (error.solution.time < 0.6).all()
    assert np.isfinite(error.solution.x).all()


def test_one_bad_sample_is_named():
    """A sample that overflows is named; the others are what they are without it."""
    x = X.copy()
    x[4] = 1e200
    error = refused(NonFiniteError, "step 1 of sample 4", ODES, x, uniform(8, 0.0, 1.0), RK4(), parameters=given())
    assert error.solution.statuses.tolist() == [*["success"] * 4, "non-finite", "success"]
    rest = np.delete(np.arange(6), 4)
    expected = solve_ensemble(ODES, X[rest], uniform(8, 0.0, 1.0), RK4(), parameters=given()).x
    np.testing.assert_array_equal(error.solution.x[rest], expected)


def test_nan_at_the_start():
    """A start that is not finite is blamed for the end that is not, with its sample; the other samples are solved."""
    x = X.copy()
    x[3, 1] = math.inf
    for method in (RK4(), OWN):
        error = refused(
            NonFiniteError, "sample 3 of the initial state", ODES, x, [0.0, 1.0], method, parameters=given()
        )
        assert error.solution.statuses.tolist() == [*["success"] * 3, "non-finite", *["success"] * 2]


def test_an_entry_that_is_not_written_is_found():
    """A drift that forgets an entry of ``out`` does not go on with what happened to be there."""
    refused(NonFiniteError, "write all of out", ODES, X, [0.0, 1.0], Euler(), parameters=given(FORGETFUL))


@pytest.mark.slow
def test_infinity_without_an_error_is_found():
    """Constant slopes have no error however long the steps: a state that overflows is found all the same."""

    def steep(time, x, out, parameters):
        out[0] = 1.7e308

    settings = Adaptive(Dopri5(), per_sample=True, first_step=1.0)
    refused(NonFiniteError, "of sample 1", CompiledODE(steep), np.array([[-1e308], [1e308]]), [0.0, 1.0], settings)


def test_solve_points_here():
    """The solve of arrays, given a compiled problem, says where its loop is."""
    with pytest.raises(TypeError, match="solve_ensemble"):
        solve(ODES, X, [0.0, 1.0], RK4())


def test_without_numba():
    """Without numba the import says what to install, and solvers itself is imported as ever."""
    code = "import sys; sys.modules['numba'] = None; import solvers\n"
    code += "try:\n    import solvers.compiled\nexcept ImportError as error:\n    print(error)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert all(part in run.stdout for part in PARTS)
    assert "interpolants[numba]" in run.stdout
