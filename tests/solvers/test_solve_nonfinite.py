"""A solve never returns NaN or infinity, and says as exactly as it can where they began."""

import math

import numpy as np
import pytest
import torch
from refusals import Recorder, refused

from solvers import ODE, Euler, NonFiniteError, uniform


@pytest.mark.parametrize(("check_every", "kind"), [(0, ValueError), (2.5, TypeError), (True, TypeError)])
def test_check_every_is_a_count(check_every, kind):
    """check_every is a positive int."""
    words = "check_every: a number of steps"
    refused(kind, words, ODE(Recorder()), np.ones(2), uniform(2), Euler(), check_every=check_every)


def breaks_below(limit):
    """Return a field that answers NaN at times below a limit."""
    return Recorder(lambda time, x: x * math.nan if time < limit else -x)


@pytest.mark.parametrize("library", ["numpy", "torch"])
def test_a_result_that_is_not_finite(library):
    """Without further wishes the error knows the whole run as the window, and how to find out more."""
    x = np.ones((2, 2)) if library == "numpy" else torch.ones(2, 2)
    words = r"between step 1 \(from time 1.0\) and step 10 \(to time 0.0\); remedy: .*check_every=1 or save=True"
    error = refused(NonFiniteError, words, ODE(breaks_below(0.45)), x, uniform(10), Euler())
    assert isinstance(error, ValueError)
    assert error.solution.status == "non-finite"
    assert error.solution.nfe == 10
    assert error.solution.xs is None
    assert not np.isfinite(np.asarray(error.solution.x)).any()


def test_save_names_the_first_bad_step():
    """With save=True the first state that is not finite is found, and all states are handed over."""
    words = "first in step 7, from time 0.4 to 0.3"
    error = refused(NonFiniteError, words, ODE(breaks_below(0.45)), np.ones(2), uniform(10), Euler(), save=True)
    finite = np.isfinite(error.solution.xs).all(axis=1)
    assert finite.tolist() == [True] * 7 + [False] * 4
    assert len(error.solution.ts) == 11


@pytest.mark.parametrize(
    ("every", "words", "evaluations"),
    [
        (1, "first in step 7, from time 0.4 to 0.3", 7),
        (3, r"between step 7 \(from time 0.4\) and step 9 \(to time 0.1", 9),
        (8, r"between step 1 \(from time 1.0\) and step 8 \(to time 0.2", 8),
        (9, r"between step 1 \(from time 1.0\) and step 9", 9),
        (99, r"between step 1 \(from time 1.0\) and step 10 \(to time 0.0\)", 10),
    ],
)
def test_check_every_stops_early_and_names_the_window(every, words, evaluations):
    """A check every k steps ends the solve at the first look that finds NaN and names the steps since the last."""
    problem = ODE(breaks_below(0.45))
    error = refused(NonFiniteError, words, problem, np.ones(2), uniform(10), Euler(), check_every=every)
    assert error.solution.nfe == evaluations
    assert len(error.solution.ts) == evaluations + 1


def test_the_last_steps_are_checked_when_the_count_does_not_divide():
    """NaN after the last regular look is still found."""
    words = r"between step 9 \(from time 0.2\) and step 10"
    refused(NonFiniteError, words, ODE(breaks_below(0.15)), np.ones(2), uniform(10), Euler(), check_every=4)


@pytest.mark.parametrize("wishes", [{}, {"save": True}, {"check_every": 1}])
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_an_initial_state_that_is_not_finite(bad, wishes):
    """NaN or infinity that was there from the start is put down to the start."""
    x = np.array([1.0, bad])
    refused(NonFiniteError, "in the initial state x, at time 1.0", ODE(Recorder()), x, uniform(3), Euler(), **wishes)
