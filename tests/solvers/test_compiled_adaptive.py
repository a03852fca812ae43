"""Compiled ensembles with steps of their own: tolerances met, work by sample, limits, and independence of the batch."""

import math

import numpy as np
import pytest
from adaptive_problems import batch, wave
from compiled_problems import CLOSED, NARROW, ODES, fronts, given, passed
from scipy.integrate import solve_ivp
from solver_methods import ADAPTABLE, name

from solvers import ODE, Adaptive, Bosh3, Dopri5, solve
from solvers.adaptive.control import factors
from solvers.compiled import CompiledODE, solve_ensemble
from solvers.compiled.control import factor

TIMES = [0.0, 0.3, 0.35, 1.1, 2.0]
each_pair = pytest.mark.parametrize("method", ADAPTABLE, ids=name)


def own(method, tolerance=1e-8, **parts):
    return Adaptive(method, rtol=tolerance, atol=tolerance, per_sample=True, **parts)


@pytest.mark.covering(4)
@each_pair
def test_is_the_solve_of_arrays(method):
    """States, saved states, steps taken and refused, and evaluations by sample are those of solve with per_sample."""
    x = batch(12) / 2.0
    for ts in (TIMES, TIMES[::-1]):
        ours = solve_ensemble(ODES, x, ts, own(method), parameters=given(), save=True)
        theirs = solve(ODE(wave), x, ts, own(method), save=True)
        # Lengths of steps differ by rounding; the field grows small differences by less than a thousand.
        np.testing.assert_allclose(ours.xs, theirs.xs, rtol=0, atol=2e-12)
        np.testing.assert_array_equal(ours.xs[-1], ours.x)
        np.testing.assert_array_equal(ours.accepted, theirs.accepted)
        np.testing.assert_array_equal(ours.rejected, theirs.rejected)
        assert ours.nfes.sum() == theirs.rows
        assert (ours.time == ts[-1]).all()
        assert ours.status == "success"


def scipys(x, ts):
    """Return the states of every row of x at the times, shape (n, B, 2), to about 1e-12."""
    options = {"method": "DOP853", "rtol": 1e-13, "atol": 1e-14}
    rows = [
        [row, *(solve_ivp(lambda t, y: wave(t, y[None])[0], (ts[0], t), row, **options).y[:, -1] for t in ts[1:])]
        for row in x
    ]
    return np.array(rows).swapaxes(0, 1)


@pytest.mark.parametrize("ends", [(0.0, 10.0), (10.0, 0.0)], ids=["forward", "backward"])
def test_error_is_proportional_to_tolerance(ends):
    """error/tolerance of each sample stays within a decade for tolerances from 1e-5 to 1e-11, and below 30."""
    x = batch(4)[:2]
    exact = scipys(x, ends)[-1]
    ratios = []
    for power in range(5, 12):
        found = solve_ensemble(ODES, x, ends, own(Dopri5(), 10.0**-power), parameters=given())
        ratios.append(abs(found.x - exact).max(1) * 10.0**power)
    assert np.max(ratios) < 30.0, ratios
    assert (np.max(ratios, axis=0) < 10.0 * np.min(ratios, axis=0)).all(), ratios


@each_pair
def test_dense_output(method):
    """States between the ends agree with scipy to a hundred tolerances of 1e-8, and asking for them changes no step."""
    x, ts = batch(4) / 4.0, np.linspace(0.0, 2.0, 9)
    found = solve_ensemble(ODES, x, ts, own(method), parameters=given(), save=True)
    assert abs(found.xs - scipys(x, ts)).max() < 1e-6
    np.testing.assert_array_equal(found.x, solve_ensemble(ODES, x, [0.0, 2.0], own(method), parameters=given()).x)


def test_a_sample_does_not_know_its_batch():
    """To the last bit a sample is the same alone, in another order, and on any thread; its evaluations too."""
    x, other = batch(50) / 2.0, np.random.default_rng(0).permutation(50)
    whole = solve_ensemble(ODES, x, TIMES, own(Dopri5()), parameters=given(), save=True)
    for rows in (slice(7, 8), slice(49, 50), other):
        part = solve_ensemble(ODES, x[rows], TIMES, own(Dopri5()), parameters=given(), save=True)
        np.testing.assert_array_equal(part.xs, whole.xs[:, rows])
        np.testing.assert_array_equal(part.nfes, whole.nfes[rows])
    for threads in (2, 5):
        part = solve_ensemble(ODES, x, TIMES, own(Dopri5()), parameters=given(), save=True, threads=threads)
        np.testing.assert_array_equal(part.xs, whole.xs)
        np.testing.assert_array_equal(part.accepted, whole.accepted)


def test_a_narrow_sample_does_not_slow_the_others():
    """A front very much narrower takes many more steps, the wide ones as many as without it; all are exact."""
    widths = [1e-6, 0.3, 0.5, 1.0]
    settings = Adaptive(Dopri5(), rtol=1e-9, atol=1e-9, per_sample=True, max_step=0.05)
    found = solve_ensemble(ODES, fronts(widths), [0.0, 1.0], settings, parameters=given(NARROW))
    without = solve_ensemble(ODES, fronts(widths[1:]), [0.0, 1.0], settings, parameters=given(NARROW))
    np.testing.assert_array_equal(found.nfes[1:], without.nfes)
    assert found.nfes[0] > 5 * found.nfes[1:].max()
    assert found.nfe == found.nfes[0]
    assert abs(found.x[:, 0] - passed(widths, 0.0, 1.0)).max() < 1e-7


def test_limits_end_in_a_status():
    """Samples that reach a limit keep what they reached, at their time; the others are finished."""
    widths = [1e-4, 1.0]
    for parts, status in (({"max_steps": 40}, "max-steps"), ({"min_step": 1e-3}, "min-step")):
        settings = own(Dopri5(), 1e-9, max_step=0.05, **parts)
        found = solve_ensemble(
            ODES, fronts(widths), [0.0, 0.4, 0.9, 1.0], settings, parameters=given(NARROW), save=True
        )
        assert found.status == status
        assert found.statuses.tolist() == [status, "success"]
        assert 0.4 < found.time[0] < 0.9 < found.time[1] == 1.0
        reached = passed(widths, 0.0, found.time[0])[0]
        assert abs(found.x[0, 0] - reached) < 1e-6
        # The time 0.4 was passed; afterwards stands the last state.
        assert abs(found.xs[1, 0, 0] - passed(widths, 0.0, 0.4)[0]) < 1e-6
        np.testing.assert_array_equal(found.xs[2:, 0], np.stack([found.x[0]] * 2))
        if status == "max-steps":
            assert found.accepted[0] + found.rejected[0] == 40


def test_lengths_of_steps():
    """max_step bounds every step, and first_step is what it says and saves the evaluation that looks for one."""
    x = np.array([[0.3, 0.2]])
    found = solve_ensemble(ODES, x, [0.0, 1.0], own(Dopri5(), 1e-3, max_step=0.01), parameters=given(CLOSED))
    assert found.accepted[0] >= 100
    assert found.nfes[0] == 2 + 6 * (found.accepted[0] + found.rejected[0])
    found = solve_ensemble(
        ODES, x, [0.0, 1.0], own(Dopri5(), 1e-3, first_step=0.01, max_step=0.01), parameters=given(CLOSED)
    )
    assert found.nfes[0] == 1 + 6 * (found.accepted[0] + found.rejected[0])


def test_the_controller_is_that_of_arrays():
    """The factor of the next step is that of ``solvers.adaptive``, whatever the errors were."""
    errors = [0.0, 1e-14, 1e-3, 0.5, 1.0, 1.5, 40.0, 1e9, math.inf, math.nan]
    for error in errors:
        for before in (1e-4, 0.3, 1.0):
            for refused in (False, True):
                for power in (3, 5, 8):
                    accepted = error <= 1.0
                    arrays = (np.array([value]) for value in (error, before, accepted, refused))
                    assert factor(error, before, accepted, refused, power) == pytest.approx(
                        factors(*arrays, power)[0], rel=1e-14
                    )


@pytest.mark.slow
def test_float32_is_kept():
    """A float32 state stays so, meets a tolerance above its rounding, and ends at the exact last time."""
    x = (batch(12) / 4.0).astype(np.float32)
    found = solve_ensemble(ODES, x, TIMES, own(Bosh3(), 1e-4), parameters=given(), save=True)
    exact = solve_ensemble(ODES, x.astype(np.float64), TIMES, own(Dopri5(), 1e-12), parameters=given(), save=True)
    assert (found.x.dtype, found.xs.dtype, found.time.dtype) == (np.float32, np.float32, np.float64)
    assert abs(found.xs - exact.xs).max() < 3e-3
    assert (found.time == TIMES[-1]).all()
    assert found.status == "success"


@pytest.mark.slow
def test_one_dimension_and_many():
    """Samples of one and of 30 entries: a decay for each entry, against the exponential."""

    def decay(time, x, out, rates):
        for r in range(x.size):
            out[r] = -rates[r] * x[r]

    for d in (1, 30):
        rates, x = np.linspace(0.5, 3.0, d), np.random.default_rng(0).standard_normal((5, d))
        found = solve_ensemble(CompiledODE(decay), x, [0.0, 1.0], own(Dopri5(), 1e-10), parameters=rates)
        np.testing.assert_allclose(found.x, x * np.exp(-rates), rtol=0, atol=1e-8)
