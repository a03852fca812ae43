"""What importing the package costs, and what it says of itself."""

import doctest
import subprocess
import sys
from pathlib import Path

import solvers

ROOT = Path(solvers.__file__).resolve().parents[1]
HEAVY = {"torch", "sympy", "scipy", "numba", "matplotlib", "tqdm", "jax", "pandas"}


def modules_after(code):
    """Return the top-level modules that a fresh interpreter holds after running the code."""
    report = f"import sys; {code}; print(' '.join(sorted({{name.partition('.')[0] for name in sys.modules}})))"
    done = subprocess.run([sys.executable, "-c", report], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_import_is_light():
    """import solvers brings numpy and nothing heavier."""
    loaded = modules_after("import solvers")
    assert "numpy" in loaded
    assert not loaded & HEAVY


def test_solving_with_numpy_stays_light():
    """Nor does a solve on numpy arrays import another array library."""
    code = "import numpy as np; from solvers import *; "
    code += "solve(ODE(lambda t, x: -x), np.ones(2), uniform(2), Heun(), save=True); "
    code += "solve(SDE(lambda t, x: -x, lambda t: 1.0), np.ones(2), uniform(2), StochasticHeun(), "
    code += "rng=np.random.default_rng(0))"
    assert not modules_after(code) & HEAVY


def test_the_example_of_the_package_runs():
    """The doctest on the front page passes."""
    result = doctest.testmod(solvers)
    assert result.attempted > 0
    assert result.failed == 0


def test_all_is_what_can_be_imported():
    """__all__ names existing things, each once."""
    assert len(set(solvers.__all__)) == len(solvers.__all__)
    assert all(hasattr(solvers, item) for item in solvers.__all__)
