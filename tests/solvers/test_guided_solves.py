"""A guided pair of models is a model for every method: the same steps as a field written by hand."""

import numpy as np
import pytest
from solver_methods import DENOISING, METHODS, name

from interpolants import Gaussian, Linear, Path, denoising, diffusion, probability_flow, reverse_sde
from interpolants.guidance import ClassifierFree, guided
from solvers import ODE, SDE, solve, uniform

VARIANCES, SCALE = (0.3, 1.5), 2.5
PATHS = [Path(Linear(), Gaussian([0.0, 0.0], c)) for c in VARIANCES]


def by_hand(time, x):
    slopes = [(time - (1 - time) * c) / ((1 - time) ** 2 * c + time**2) for c in VARIANCES]
    return (SCALE * slopes[0] + (1 - SCALE) * slopes[1]) * x


def counting(model, calls):
    def counted(time, x):
        calls.append(time)
        return model(time, x)

    return counted


def problem_of(method, model):
    if issubclass(ODE, method.solves):
        return probability_flow(Linear(), model)
    if issubclass(SDE, method.solves):
        return reverse_sde(Linear(), model, diffusion.Sigma())
    return denoising(Linear(), model, w=diffusion.Sigma() if method.reads_clock else diffusion.Zero())


@pytest.mark.covering(3)
@pytest.mark.parametrize("method", [*METHODS, *DENOISING], ids=name)
def test_every_method_solves_with_a_guided_model(method):
    """The result is that of the field by hand, and nfe counts one for both branches together."""
    ts, x = uniform(12, start=0.9, stop=0.1), np.array([[0.4, -1.1], [0.9, 0.2], [-0.3, 2.0]])
    calls = [], []
    pair = [counting(path.velocity, each) for path, each in zip(PATHS, calls)]
    found, expected = (
        solve(problem_of(method, model), x, ts, method, rng=np.random.default_rng(5) if method.stochastic else None)
        for model in (guided(*pair, ClassifierFree(SCALE)), by_hand)
    )
    np.testing.assert_allclose(found.x, expected.x, rtol=1e-9, atol=1e-9)
    assert found.nfe == expected.nfe == len(calls[0]) == len(calls[1]) > 0
