"""The progress bar of a solve."""

import sys

import numpy as np

from solvers import ODE, Heun, solve, uniform


def decay(time, x):
    return -x


def test_progress_writes_to_stderr_only(capsys):
    """A bar appears on stderr when asked for, nothing without, and the result is the same."""
    problem, x = ODE(decay), np.ones(3)
    quiet = solve(problem, x, uniform(5), Heun())
    silent = capsys.readouterr()
    shown = solve(problem, x, uniform(5), Heun(), progress=True)
    loud = capsys.readouterr()
    assert silent.err == silent.out == loud.out == ""
    assert "5/5" in loud.err
    np.testing.assert_array_equal(quiet.x, shown.x)


def test_progress_without_tqdm(capsys, monkeypatch):
    """Where tqdm is missing a line of text takes its place."""
    monkeypatch.setitem(sys.modules, "tqdm", None)
    solve(ODE(decay), np.ones(3), uniform(5), Heun(), progress=True)
    assert capsys.readouterr().err.endswith("step 5 of 5\n")
