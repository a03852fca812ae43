"""The exact reverse SDE in compiled code: the law of its steps, the drift of arrays, both ends, refusals."""

import math
import subprocess
import sys

import numpy as np
import pytest

from interpolants import (
    VP,
    Empirical,
    Gaussian,
    GaussianMixture,
    Linear,
    Path,
    compiled_sde,
    diffusion,
    probability_flow,
    reverse_sde,
)
from solvers import Euler, EulerMaruyama, PoleError, StochasticHeun, solve, uniform
from solvers.compiled import RowNoise, solve_ensemble
from tests.support import recursions
from tests.support.zoo import BUILT_INS, CHOICES, GAUSSIAN, MIXTURE

Z, ROWS = 6.0, 100_000
ROUND = GaussianMixture([0.3, 0.7], [[-1.0, 0.0], [1.0, 0.5]], [0.1, 0.4])
BY_NAME = {repr(choice): choice for choice in CHOICES}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("case", "choice", "method"),
    [
        pytest.param(BUILT_INS[0], "Sigma()", EulerMaruyama(), id="linear-sigma"),
        pytest.param(BUILT_INS[2], "KL()", StochasticHeun(), id="vp-kl-heun", marks=pytest.mark.slow),
        pytest.param(BUILT_INS[1], "SinSquared()", EulerMaruyama(), id="gvp-sin", marks=pytest.mark.slow),
        pytest.param(BUILT_INS[0], "KL()", EulerMaruyama(), id="linear-kl", marks=pytest.mark.slow),
    ],
)
def test_law(case, choice, method):
    """Mean, covariance and cross-covariance of 100 000 rows are those of a recursion by hand, within six errors."""
    m, c, w, ts = (0.7, -0.4), (0.3, 1.4), BY_NAME[choice], uniform(12, 0.95, 0.05)
    path = Path(case.schedule, Gaussian(m, c))
    recursion = recursions.euler_maruyama if isinstance(method, EulerMaruyama) else recursions.stochastic_heun
    start = path.sample(0.95, ROWS, np.random.default_rng(0))
    end = solve_ensemble(compiled_sde(path, w.w), start, ts, method, rng=RowNoise(1), threads=2).x
    for i in range(2):
        mean, variance, cross = recursion(case, w, ts, m[i], c[i])
        before = recursions.compose(case, ts[:1], m[i], c[i], None)
        x, y = start[:, i] - before[0], end[:, i] - mean
        assert abs(y.mean()) < Z * math.sqrt(variance / ROWS)
        assert abs((y * y).mean() - variance) < Z * variance * math.sqrt(2 / ROWS)
        assert abs((x * y).mean() - cross) < Z * math.sqrt((variance * before[1] + cross**2) / ROWS)
    mixed = ((end[:, 0] - end[:, 0].mean()) * (end[:, 1] - end[:, 1].mean())).mean()
    assert abs(mixed) < Z * math.sqrt(end[:, 0].var() * end[:, 1].var() / ROWS)


@pytest.mark.parametrize(
    ("schedule", "target", "w", "method"),
    [
        pytest.param(VP(), ROUND, diffusion.KL(), EulerMaruyama(), id="vp-round", marks=pytest.mark.slow),
        pytest.param(Linear(), GAUSSIAN, diffusion.Sigma(), EulerMaruyama(), id="linear-full"),
        pytest.param(VP(), MIXTURE, diffusion.Sigma(), StochasticHeun(), marks=pytest.mark.slow, id="vp-full-mixture"),
    ],
)  # fmt: skip
def test_is_the_sde_of_arrays(schedule, target, w, method):
    """With the same noise it is solve on ``reverse_sde`` of ``path.velocity``, to rounding."""
    path, grid = Path(schedule, target), uniform(20, 0.98, 0.02)
    x = path.sample(0.98, 70, np.random.default_rng(2))
    found = solve_ensemble(compiled_sde(path, w), x, grid, method, rng=RowNoise(4)).x
    expected = solve(reverse_sde(schedule, path.velocity, w), x, grid, method, rng=RowNoise(4)).x
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-12)


@pytest.mark.slow
def test_without_w_it_is_the_flow():
    """w = 0 gives Euler's method on the probability flow, from one end to the other."""
    path, grid = Path(Linear(), Gaussian([0.5, -1.0], [0.25, 1.5])), uniform(20)
    x = path.prior(70, np.random.default_rng(2))
    found = solve_ensemble(compiled_sde(path, diffusion.Zero()), x, grid, EulerMaruyama(), rng=RowNoise(4)).x
    expected = solve(probability_flow(Linear(), path.velocity), x, grid, Euler()).x
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-13)


def test_poles():
    """wKL is infinite at t = 1 under Linear, and the solve is refused there; σ is finite at both ends."""
    path = Path(Linear(), Gaussian([0.5, -1.0], [0.25, 1.5]))
    problem = compiled_sde(path, diffusion.KL())
    assert [pole.time for pole in problem.poles] == [1.0]
    with pytest.raises(PoleError, match=r"KL\(\) is infinite"):
        solve_ensemble(problem, np.zeros((1, 2)), uniform(4), EulerMaruyama(), rng=RowNoise(0))
    assert not compiled_sde(path, diffusion.Sigma()).poles


def test_refusals():
    """A negative w, no w, other targets, zero eigenvalues, and what is no path."""
    gaussian = Path(Linear(), Gaussian([0.0], 1.0))
    for kind, path, w in (
        (ValueError, gaussian, diffusion.Custom("t - 1/2")),
        (TypeError, gaussian, 0.5),
        (TypeError, Path(Linear(), Empirical([[0.0], [1.0]])), diffusion.Sigma()),
        (ValueError, Path(Linear(), Gaussian([0.0], 0.0)), diffusion.Sigma()),
        (TypeError, "path", diffusion.Sigma()),
    ):
        with pytest.raises(kind, match=r"expected .*; received .*; remedy: "):
            compiled_sde(path, w)


@pytest.mark.slow
def test_without_numba():
    """Without the extra the error says what to install."""
    script = (
        "import sys; sys.modules['numba'] = None\n"
        "from interpolants import Gaussian, Linear, Path, compiled_sde, diffusion\n"
        "compiled_sde(Path(Linear(), Gaussian([0.0], 1.0)), diffusion.Sigma())\n"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert run.returncode == 1
    assert "ImportError: expected numba" in run.stderr
    assert "pip install 'interpolants[numba]'" in run.stderr
