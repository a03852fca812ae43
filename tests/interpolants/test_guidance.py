"""Guidance evaluates what it needs, for every prediction, and says what it refuses."""

import math

import numpy as np
import pytest
import torch

from interpolants import GVP, VP, Gaussian, GaussianMixture, Path, flow_map, probability_flow
from interpolants.guidance import classifier_free
from solvers import RK4, solve, uniform

TARGET = GaussianMixture([0.4, 0.6], [[-1.0], [1.5]], [[[0.2]], [[0.3]]], labels=["left", "right"])
PATH = Path(VP(), TARGET)


def refuse(time, x):
    raise AssertionError("this model is not needed")


def test_no_guidance_calls_one_model():
    """At scale 1 only the conditional model is evaluated, at 0 only the other."""
    x = np.array([[0.3]])
    assert classifier_free(PATH.velocity, refuse, 1)(0.5, x) == PATH.velocity(0.5, x)
    assert classifier_free(refuse, PATH.velocity, 0.0)(0.5, x) == PATH.velocity(0.5, x)


@pytest.mark.parametrize("kind", [np.asarray, torch.from_numpy], ids=["numpy", "torch"])
def test_guidance_adds_the_classifier(kind):
    """(ζ − 1) times ∇log p(y|x) is what guidance adds to the conditional score; the slope by a difference."""
    x, h = kind(np.array([[0.1], [0.7], [-1.2]])), 1e-4
    given = PATH.given("right")
    guided = classifier_free(given.score, PATH.score, 3.0)(0.4, x)
    logs = [np.log(np.asarray(PATH.class_probabilities(0.4, x + k * h))[:, 1]) for k in (1, -1)]
    slope = (logs[0] - logs[1]) / (2 * h)
    np.testing.assert_allclose(np.asarray(guided - given.score(0.4, x))[:, 0], 2 * slope, atol=1e-6)


def test_guided_sampling_moves_to_the_class():
    """With a large scale nearly every sample is in the class that is asked for."""
    field = classifier_free(PATH.given("right").velocity, PATH.velocity, 3.0)
    start = PATH.prior(500, np.random.default_rng(0))
    end = solve(probability_flow(PATH.schedule, field), start, uniform(60, stop=1e-3), RK4()).x
    assert (end > 0.2).mean() > 0.99


@pytest.mark.parametrize("scale", ["1.5", None, math.nan, math.inf])
def test_scales_that_are_refused(scale):
    with pytest.raises(ValueError, match="a finite number as scale"):
        classifier_free(PATH.velocity, PATH.velocity, scale)


def test_models_that_are_refused():
    for pair in ((1, PATH.velocity), (PATH.velocity, None)):
        with pytest.raises(TypeError, match=r"a callable model\(time, x\)"):
            classifier_free(*pair, 2.0)


def test_average_velocity_of_a_mixture():
    """Over an interval of no length it is the velocity; over [0, t] it leads to the consistency function."""
    x = np.array([[0.4], [-0.3]])
    assert (flow_map.average_velocity(PATH, 0.6, 0.6, x) == PATH.velocity(0.6, x)).all()
    leap = x - 0.6 * flow_map.average_velocity(PATH, 0.0, 0.6, x)
    np.testing.assert_allclose(leap, flow_map.consistency_function(PATH, 0.6, x), rtol=1e-12)
    near = flow_map.average_velocity(PATH, 0.6 - 1e-5, 0.6, x)
    np.testing.assert_allclose(near, PATH.velocity(0.6, x), atol=1e-3)


@pytest.mark.parametrize("scale", [1.0, 2.0, 3.0])
def test_guided_inversion(scale):
    """A guided flow inverts with its own scale alone, and variance c becomes deviation c^((1 − ζ)/2)."""
    narrow, wide = (Path(GVP(), Gaussian([0.0], c)).velocity for c in (0.25, 1.0))
    plain, guided = (probability_flow(GVP(), classifier_free(narrow, wide, each)) for each in (1.0, scale))
    data, ts, method = np.linspace(-1.0, 1.0, 5)[:, None], uniform(80), RK4()
    noise = solve(guided, data, ts[::-1], method).x
    np.testing.assert_allclose(noise, data / math.sqrt(0.25) * 0.25 ** ((1 - scale) / 2), atol=1e-5)
    np.testing.assert_allclose(solve(guided, noise, ts, method).x, data, atol=1e-6)
    other = solve(guided, solve(plain, data, ts[::-1], method).x, ts, method).x
    np.testing.assert_allclose(other, data * 0.25 ** ((scale - 1) / 2), atol=1e-6)
