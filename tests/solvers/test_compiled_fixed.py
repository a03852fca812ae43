"""Compiled ensembles on a grid: the methods of solvers, their orders, and samples that know nothing of each other."""

import doctest
import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from adaptive_problems import batch, wave
from compiled_problems import CLOCK, CLOSED, ODES, closed, given
from solver_methods import TABLEAUS, name

import solvers.compiled
from solvers import ODE, RK4, Euler, Heun, solve, uniform
from solvers.compiled import CompiledODE, fixed, solve_ensemble
from tests.support.fields import slope

ROOT = Path(solvers.__file__).resolve().parents[1]
START = np.array([[0.25, 0.9], [0.6, 0.2], [-0.4, 0.5]])


@pytest.mark.parametrize("method", TABLEAUS, ids=name)
def test_is_the_solve_of_arrays(method):
    """All states of 70 samples, in both directions, are those of solve to a few roundings, with as many evaluations."""
    x = batch(70) / 2.0
    for grid in (uniform(40), uniform(40, 0.0, 1.0)):
        ours, theirs = (
            solve_ensemble(ODES, x, grid, method, parameters=given(), save=True),
            solve(ODE(wave), x, grid, method, save=True),
        )
        # The field grows small differences by less than a hundred over the interval.
        np.testing.assert_allclose(ours.xs, theirs.xs, rtol=0, atol=3e-14)
        np.testing.assert_array_equal(ours.x, ours.xs[-1])
        np.testing.assert_array_equal(ours.ts, grid)
        assert (ours.nfe, ours.status) == (theirs.nfe, "success")
        assert (ours.nfes == theirs.nfe).all()
        assert (ours.accepted == 40).all()
        assert not ours.rejected.any()
        assert (ours.time == grid[-1]).all()


@pytest.mark.parametrize("method", [m for m in TABLEAUS if m.order < 5], ids=name)
@pytest.mark.parametrize("ends", [(0.0, 1.0), (1.0, 0.0)], ids=["forward", "backward"])
def test_order(method, ends):
    """Five grids, four halvings: the error against the closed form has the power of the step, within 0.1."""
    x, exact = START[:1], closed(START[:1], *ends)
    # Coarser grids for higher orders, so that the last error stays above rounding.
    counts = [2 ** (8 - method.order + k) for k in range(5)]
    for entry in (0, 1):
        errors = [
            abs(solve_ensemble(ODES, x, uniform(n, *ends), method, parameters=given(CLOSED)).x - exact)[0, entry]
            for n in counts
        ]
        assert abs(slope(counts, errors) - method.order) < 0.1, errors


@pytest.mark.parametrize("method", [m for m in TABLEAUS if m.order >= 5], ids=name)
def test_high_orders_reach_the_closed_form(method):
    """What four halvings cannot show in double precision: with 200 steps the error is rounding."""
    found = solve_ensemble(ODES, START, uniform(200), method, parameters=given(CLOSED))
    np.testing.assert_allclose(found.x, closed(START, 1.0, 0.0), rtol=1e-12, atol=1e-13)


def test_a_sample_does_not_know_its_batch():
    """To the last bit a sample is the same alone, in blocks that are full or not, in any order, on any thread."""
    x, grid, other = batch(150) / 2.0, uniform(20), np.random.default_rng(0).permutation(150)
    whole = solve_ensemble(ODES, x, grid, RK4(), parameters=given(), save=True).xs
    for rows in (slice(149, 150), slice(0, 63), slice(5, 69), slice(64, 129), other):
        part = solve_ensemble(ODES, x[rows], grid, RK4(), parameters=given(), save=True).xs
        np.testing.assert_array_equal(part, whole[:, rows])
    for threads in (2, 3, 8):
        part = solve_ensemble(ODES, x, grid, RK4(), parameters=given(), save=True, threads=threads).xs
        np.testing.assert_array_equal(part, whole)


@pytest.mark.slow
def test_full_blocks_change_nothing(monkeypatch):
    """Where blocks have to be full, for a vector library that rounds otherwise, the states are the same."""
    x, grid = batch(70) / 2.0, uniform(5)
    usual = solve_ensemble(ODES, x, grid, Heun(), parameters=given()).x
    monkeypatch.setattr(fixed, "whole_blocks", lambda: True)
    fixed.fixed_kernel.cache_clear()
    np.testing.assert_array_equal(solve_ensemble(ODES, x, grid, Heun(), parameters=given()).x, usual)
    fixed.fixed_kernel.cache_clear()


def test_float32_is_kept():
    """States in float32 stay so and agree with float64 to its rounding, which shows: they are not computed in it."""
    x = (batch(70) / 2.0).astype(np.float32)
    single = solve_ensemble(ODES, x, uniform(40), RK4(), parameters=given(), save=True)
    double = solve_ensemble(ODES, x.astype(np.float64), uniform(40), RK4(), parameters=given())
    assert (single.x.dtype, single.xs.dtype, single.ts.dtype) == (np.float32, np.float32, np.float64)
    error = abs(single.x - double.x).max()
    # Forty steps, each rounded once or twice in its last bit, and grown by the field.
    assert 2.0**-26 < error < 100 * 2.0**-24


def test_times_are_float64_beside_float32_states():
    """A grid finer than float32 near t = 1 is followed: steps of 1e-9, and a drift that sees each of them."""
    grid = 1.0 + 1e-9 * np.arange(11)
    found = solve_ensemble(ODES, np.zeros((1, 2), np.float32), grid, Euler(), parameters=given(CLOCK))
    assert found.x.dtype == np.float32
    # The left sums of 0, 1, …, 9; the times themselves are known to 1e-7 of a step.
    assert abs(found.x[0, 0] - 45.0) < 1e-4


def test_the_input_is_left_alone():
    """x is neither changed nor returned, whatever its layout."""
    x = np.asfortranarray(batch(10) / 2.0)
    before = x.copy()
    strided = np.repeat(x, 2, axis=0)[::2]
    found = [solve_ensemble(ODES, each, uniform(5), RK4(), parameters=given()) for each in (x, strided, x.copy())]
    np.testing.assert_array_equal(x, before)
    for other in found[1:]:
        np.testing.assert_array_equal(found[0].x, other.x)
    assert not np.shares_memory(found[0].x, x)


def test_parameters_and_what_depends_on_time_alone():
    """Parameters may be a tuple of numbers and arrays; ``prepare`` sees them, and its result is what the drift gets."""

    def prepare(time, parameters):
        rates, power = parameters
        room = np.empty(3)
        for r in range(2):
            room[r] = rates[r] * time**power
        return room

    def drift(time, x, out, prepared):
        prepared[2] = time
        for r in range(x.size):
            out[r] = -prepared[r] * x[r]

    x = np.array([[1.0, 2.0], [0.5, -3.0]])
    found = solve_ensemble(CompiledODE(drift, prepare), x, uniform(50), RK4(), parameters=(np.array([1.0, 2.0]), 2))
    # x' = -r t² x from 1 to 0 multiplies by exp(r/3).
    np.testing.assert_allclose(found.x, x * np.exp(np.array([1.0, 2.0]) / 3.0), rtol=1e-8)


@pytest.mark.slow
def test_the_example_of_the_package_runs():
    """The doctest on the front page passes."""
    result = doctest.testmod(solvers.compiled)
    assert result.attempted > 0
    assert result.failed == 0


def test_not_saved_unless_asked():
    """Without ``save`` there is no xs."""
    assert solve_ensemble(ODES, START, [0.0, 0.5, math.pi / 4], RK4(), parameters=given(CLOSED)).xs is None


@pytest.mark.slow
def test_the_benchmark_runs():
    """The benchmark's short run ends well; its stored record has a ratio for every case."""
    script = ROOT / "benchmarks" / "ensembles.py"
    run = subprocess.run([sys.executable, str(script), "--smoke"], capture_output=True, text=True, cwd=ROOT)
    assert run.returncode == 0, run.stderr
    rows = json.loads((ROOT / "benchmarks/results/ensembles.json").read_text())["rows"]
    assert len(rows) == len(run.stdout.splitlines())
    assert all(row["ratio"] > 0 for row in rows)
