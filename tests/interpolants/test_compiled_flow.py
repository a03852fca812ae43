"""The exact flow of Gaussians and mixtures in compiled code: both ends, closed forms, refusals."""

import numpy as np
import pytest
from sympy import root

from interpolants import (
    GVP,
    VP,
    Empirical,
    Gaussian,
    GaussianMixture,
    Linear,
    Path,
    Schedule,
    compiled_flow,
    probability_flow,
    t,
)
from solvers import RK4, Adaptive, Dopri5, Euler, PoleError, solve, uniform
from solvers.compiled import solve_ensemble
from tests.support.zoo import MIXTURE

ROUND = GaussianMixture([0.3, 0.7], [[-1.0, 0.0], [1.0, 0.5]], [0.1, 0.4])
OWN = Adaptive(Dopri5(), rtol=1e-10, atol=1e-10, per_sample=True)


@pytest.mark.slow
def test_gaussian_flow_of_many_points():
    """100 000 points go from noise to data, both ends included, as the closed form says."""
    path = Path(Linear(), Gaussian([0.5, -1.0], [0.25, 1.5]))
    x = path.prior(100_000, np.random.default_rng(0))
    found = solve_ensemble(compiled_flow(path), x, uniform(100), RK4(), threads=2)
    # RK4 with 100 steps: h⁴ times derivatives of order one, for points of size five.
    np.testing.assert_allclose(found.x, path.flow(1.0, 0.0, x), rtol=0, atol=2e-7)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("schedule", "target"),
    [
        pytest.param(VP(), ROUND, id="vp-round"),
        pytest.param(VP(), MIXTURE, marks=pytest.mark.slow, id="vp-full"),
        pytest.param(Linear(), MIXTURE, marks=pytest.mark.slow, id="linear-full"),
        pytest.param(GVP(), ROUND, marks=pytest.mark.slow, id="gvp-round"),
    ],
)
def test_mixture_flow(schedule, target):
    """From one end to the other and back adaptive steps agree with the flow that scipy integrates in another clock."""
    path = Path(schedule, target)
    problem, x = compiled_flow(path), path.prior(20, np.random.default_rng(1))
    there = solve_ensemble(problem, x, [1.0, 0.5, 0.0], OWN, save=True)
    assert there.status == "success"
    # Small differences grow by the ratio of scales, at most ten here.
    np.testing.assert_allclose(there.x, path.flow(1.0, 0.0, x), rtol=0, atol=2e-8)
    np.testing.assert_allclose(there.xs[1], path.flow(1.0, 0.5, x), rtol=0, atol=2e-8)
    back = solve_ensemble(problem, there.x, [0.0, 1.0], OWN)
    np.testing.assert_allclose(back.x, x, rtol=0, atol=1e-7)


@pytest.mark.slow
def test_is_the_flow_of_arrays():
    """On a grid it is solve on ``path.velocity``, also in float32, which is computed in float64 and rounded."""
    path = Path(VP(), MIXTURE)
    x, grid = path.prior(70, np.random.default_rng(2)), uniform(20)
    ours = solve_ensemble(compiled_flow(path), x, grid, RK4()).x
    np.testing.assert_allclose(ours, solve(probability_flow(VP(), path.velocity), x, grid, RK4()).x, atol=1e-12)
    single = solve_ensemble(compiled_flow(path), x.astype(np.float32), grid, RK4()).x
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, ours, rtol=0, atol=2e-5)


def test_poles_are_those_of_the_velocity():
    """Where the velocity of the path is infinite the problem has a pole, and the solve is refused."""
    steep = Schedule("steep", 1 - t, root(t, 4))
    path = Path(steep, Gaussian([0.5, -1.0], [0.25, 1.5]))
    problem = compiled_flow(path)
    assert [pole.time for pole in problem.poles] == [0.0]
    with pytest.raises(PoleError):
        path.velocity(0.0, np.zeros((1, 2)))
    with pytest.raises(PoleError, match=r"expected .*; received .*t = 0|time 0\.0.*; remedy: "):
        solve_ensemble(problem, np.zeros((1, 2)), uniform(4, 0.0, 1.0), Euler())
    assert not compiled_flow(Path(VP(), Gaussian([0.5, -1.0], [0.25, 1.5]))).poles


def test_refusals():
    """Other targets, zero eigenvalues, schedules without expressions, and what is no path."""
    measured = Schedule.from_callables(lambda s: np.cos(np.pi * s / 2), lambda s: np.sin(np.pi * s / 2), name="m")
    for kind, path in (
        (TypeError, Path(Linear(), Empirical([[0.0], [1.0]]))),
        (ValueError, Path(Linear(), Gaussian([0.0], 0.0))),
        (TypeError, Path(measured, Gaussian([0.0], 1.0))),
        (TypeError, "path"),
    ):
        with pytest.raises(kind, match=r"expected .*; received .*; remedy: "):
            compiled_flow(path)
