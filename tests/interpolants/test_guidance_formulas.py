"""Each guidance against its formula written again for the prediction of the data, in numpy, and its invariances."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from interpolants import GVP, VP, Data, GaussianMixture, Linear, Noise, Path, Score, Velocity, convert, probability_flow
from interpolants.guidance import (
    APG,
    Autoguidance,
    CFGZeroStar,
    ClassifierFree,
    Interval,
    Rescale,
    classifier_free,
    guided,
)
from solvers import Euler, solve

LINEAR, TIME = Linear(), 0.4
RNG = np.random.default_rng(7)
X, GOOD, BAD = RNG.standard_normal((3, 5, 4, 3, 2))
TARGET = GaussianMixture([0.4, 0.6], [[-1.0, 0.3], [1.5, 0.0]], 0.2, labels=["left", "right"])
PATH = Path(LINEAR, TARGET)


def classifier_free_by_hand(x, t, good, bad, scale=3.0):
    return (1 - scale) * bad + scale * good


def some_channels_by_hand(x, t, good, bad):
    out = good.copy()
    for channel in range(3):
        out[:, channel] = 3.0 * good[:, channel] - 2.0 * bad[:, channel]
    return out


def zero_star_by_hand(x, t, good, bad):
    out = np.empty_like(good)
    for k, (c, u) in enumerate(zip(good, bad)):
        best = np.linalg.lstsq(u.reshape(-1, 1), c.ravel(), rcond=None)[0][0]
        out[k] = 3.0 * c - 2.0 * best * u
    return out


def apg_by_hand(x, t, good, bad, eta=0.3, threshold=1.2):
    out = np.empty_like(good)
    for k in range(len(x)):
        c, u = (x[k] - t * v[k] for v in (good, bad))
        update = c - u
        update *= min(1.0, threshold / np.linalg.norm(update))
        unit = c / np.linalg.norm(c)
        along = (update * unit).sum() * unit
        out[k] = (x[k] - (c + 2.0 * (update - along + eta * along))) / t
    return out


def rescale_by_hand(x, t, good, bad, phi=0.7):
    out = np.empty_like(good)
    for k in range(len(x)):
        c, u = (x[k] - t * v[k] for v in (good, bad))
        g = u + 3.0 * (c - u)
        out[k] = (x[k] - (phi * g * c.std(ddof=1) / g.std(ddof=1) + (1 - phi) * g)) / t
    return out


FORMULAS = {
    "classifier-free": (ClassifierFree(3.0), classifier_free_by_hand),
    "channels": (ClassifierFree(3.0, channels=3), some_channels_by_hand),
    "autoguidance": (Autoguidance(3.0), classifier_free_by_hand),
    "interval": (Interval(ClassifierFree(3.0), LINEAR, 0.0, 2.0), classifier_free_by_hand),
    "zero-star": (CFGZeroStar(3.0), zero_star_by_hand),
    "apg": (APG(3.0, LINEAR, eta=0.3, threshold=1.2), apg_by_hand),
    "rescale": (Rescale(ClassifierFree(3.0), LINEAR), rescale_by_hand),
}
LIBRARIES = {
    "numpy": (lambda a: a, 1e-12),
    "float32": (lambda a: a.astype(np.float32), 1e-5),
    "torch": (lambda a: torch.tensor(a, dtype=torch.float32), 1e-5),
    "bfloat16": (lambda a: torch.tensor(a, dtype=torch.bfloat16), 0.1),
    "jax": (lambda a: jnp.asarray(a, jnp.float32), 1e-5),
}
every_formula = pytest.mark.parametrize("name", FORMULAS)


def as_float64(a):
    return a.double().numpy() if isinstance(a, torch.Tensor) else np.asarray(a, np.float64)


@every_formula
@pytest.mark.parametrize("library", LIBRARIES)
def test_the_formula_in_every_library(name, library):
    """A number as time and one per sample give the formula, in the library and dtype of the predictions."""
    (rule, by_hand), (make, tolerance) = FORMULAS[name], LIBRARIES[library]
    arrays = [make(a) for a in (X, GOOD, BAD)]
    expected = by_hand(*(lambda x, good, bad: (x, TIME, good, bad))(*map(as_float64, arrays)))
    times = make(np.full(5, TIME))
    times = times.float() if library == "bfloat16" else times
    for time in (TIME, times):
        found = rule.combine(time, *arrays)
        assert found.dtype == arrays[1].dtype
        np.testing.assert_allclose(as_float64(found), expected, rtol=tolerance, atol=10 * tolerance)


def test_one_time_per_sample():
    """With an array of times each sample is what it is alone at its own time: in the interval, above still, ζ(t)."""
    times = np.array([0.1, 0.3, 0.5, 0.7, 0.95])
    rules = [
        Interval(ClassifierFree(3.0), LINEAR, -1.0, 1.0),
        CFGZeroStar(lambda time: 1 + time, still=0.9),
        APG(lambda time: 1 + time, LINEAR, threshold=1.0),
    ]
    for rule in rules:
        together = rule.combine(times, X, GOOD, BAD)
        alone = [rule.combine(float(t), *(a[k : k + 1] for a in (X, GOOD, BAD))) for k, t in enumerate(times)]
        np.testing.assert_allclose(together, np.concatenate(alone), rtol=1e-12, atol=1e-12)
        assert rule.active(times)


@pytest.mark.parametrize("source", [Score, Noise, Data], ids=str)
@pytest.mark.parametrize("make", [APG, Rescale])
@pytest.mark.parametrize("schedule", [GVP(), VP()], ids=lambda s: s.name)
def test_the_prediction_does_not_matter(source, make, schedule):
    """To guide another prediction and convert is to convert and guide velocities: both act on the data."""

    def rule(prediction):
        if make is APG:
            return APG(2.5, schedule, prediction, eta=0.4, threshold=1.0)
        return Rescale(ClassifierFree(2.5), schedule, 0.6, prediction)

    back = lambda p: convert(p, TIME, X, schedule, source=source, to=Velocity)  # noqa: E731
    found = back(rule(source).combine(TIME, X, GOOD, BAD))
    np.testing.assert_allclose(found, rule(Velocity).combine(TIME, X, back(GOOD), back(BAD)), rtol=1e-9, atol=1e-9)


def test_scale_one_needs_the_conditional_model_alone():
    """With scale 1, as a number or from a function of time, no guidance evaluates the weaker model."""

    def refuse(time, x):
        raise AssertionError("this model is not needed")

    x = np.array([[0.3, 0.1]])
    for scale in (1.0, lambda time: 1.0 + (time > 0.5)):
        rules = [ClassifierFree(scale), Autoguidance(scale), CFGZeroStar(scale), APG(scale, LINEAR, momentum=-0.5)]
        rules += [
            Rescale(rules[0], LINEAR),
            Interval(rules[0], LINEAR),
            Rescale(Interval(ClassifierFree(2), LINEAR, 5), LINEAR),
        ]
        for rule in rules:
            assert (guided(PATH.velocity, refuse, rule)(0.4, x) == PATH.velocity(0.4, x)).all()
            assert not rule.active(0.4)
    assert ClassifierFree(lambda time: 1.0 + (time > 0.5)).active(0.6)


def test_outside_the_interval_the_weaker_model_is_not_evaluated():
    """A solve calls the weaker model at the times of the interval, ends included, and at no other."""
    seen = []

    def weaker(time, x):
        seen.append(time)
        return PATH.velocity(time, x)

    rule = Interval(ClassifierFree(2.0), LINEAR, 2 * math.log(0.4 / 0.6), 2 * math.log(0.75 / 0.25))
    flow = probability_flow(LINEAR, guided(PATH.given("left").velocity, weaker, rule))
    solution = solve(flow, np.array([[0.3, 0.1]]), [0.95, 0.61, 0.59, 0.4, 0.26, 0.24, 0.1], Euler())
    assert seen == [0.59, 0.4, 0.26]
    assert solution.nfe == 6


@pytest.mark.parametrize("phi", [0.0, 0.5, 1.0])
def test_rescaled_deviation(phi):
    """The deviation of the data is φ times that of the conditional one and 1 − φ times that without rescale."""
    rule = Rescale(ClassifierFree(4.0), GVP(), phi)
    data = lambda v: convert(v, TIME, X, GVP(), source=Velocity, to=Data)  # noqa: E731
    plain = ClassifierFree(4.0).combine(TIME, X, GOOD, BAD)
    found, wanted, without = (data(v).std(axis=(1, 2, 3)) for v in (rule.combine(TIME, X, GOOD, BAD), GOOD, plain))
    np.testing.assert_allclose(found, phi * wanted + (1 - phi) * without, rtol=1e-12)
    if phi == 0.0:
        np.testing.assert_allclose(rule.combine(TIME, X, GOOD, BAD), plain, rtol=1e-14)


def test_projection():
    """η = 0 leaves what is orthogonal to the data, a threshold bounds the update, η = 1 without one is plain."""
    data = lambda v: X - TIME * v  # noqa: E731
    update = data(APG(3.0, LINEAR).combine(TIME, X, GOOD, BAD)) - data(GOOD)
    np.testing.assert_allclose((update * data(GOOD)).sum(axis=(1, 2, 3)), 0.0, atol=1e-13)
    assert np.linalg.norm(update.reshape(5, -1), axis=1).min() > 0.5
    plain = ClassifierFree(3.0).combine(TIME, X, GOOD, BAD)
    np.testing.assert_allclose(APG(3.0, LINEAR, eta=1.0).combine(TIME, X, GOOD, BAD), plain, rtol=1e-12)
    bound = data(APG(3.0, LINEAR, eta=1.0, threshold=0.7).combine(TIME, X, GOOD, BAD)) - data(GOOD)
    np.testing.assert_allclose(np.linalg.norm(bound.reshape(5, -1), axis=1), 2 * 0.7, rtol=1e-12)


def test_zero_star():
    """Parallel velocities need no guidance, two that agree give themselves, and above ``still`` nothing moves."""
    rule = CFGZeroStar(4.0, still=0.8)
    for bad in (GOOD, -0.3 * GOOD):
        np.testing.assert_allclose(rule.combine(TIME, X, GOOD, bad), GOOD, rtol=1e-12, atol=1e-12)
    assert not rule.combine(0.81, X, GOOD, BAD).any()
    assert rule.combine(0.8, X, GOOD, BAD).all()
    assert CFGZeroStar(1.0, still=0.8).active(0.81)
    zero = np.zeros_like(X)
    assert (rule.combine(TIME, X, GOOD, zero) == 4.0 * GOOD).all()


@pytest.mark.parametrize("make", [APG, Rescale])
def test_where_the_data_have_no_noise(make):
    """At t = 0 under Linear a velocity says nothing of the data; the guidance has its limit there and is finite."""
    inner = ClassifierFree(3.0)
    rule = APG(3.0, LINEAR, threshold=1.0) if make is APG else Rescale(inner, LINEAR)
    at_data, near = (rule.combine(time, X, GOOD, BAD) for time in (0.0, 1e-7))
    np.testing.assert_allclose(at_data, near, rtol=1e-5, atol=1e-5)
    assert abs(at_data - inner.combine(0.0, X, GOOD, BAD)).max() > 0.01


def test_constant_samples():
    """Zeros, and samples with no deviation, are divided by nothing."""
    zero = np.zeros((2, 3))
    for rule, _ in FORMULAS.values():
        assert (rule.combine(TIME, zero, zero, zero) == 0.0).all()


def test_a_number_is_classifier_free():
    """A number stands for classifier-free guidance, and the scale of a function leaves float32 as it is."""
    x = np.array([[0.3, 0.1]], np.float32)
    pair = PATH.given("left").velocity, PATH.velocity
    expected = classifier_free(*pair, 2.0)(0.5, x)
    assert (guided(*pair, 2.0)(0.5, x) == expected).all()
    found = guided(*pair, ClassifierFree(lambda time: np.float64(4.0) * time))(0.5, x)
    assert found.dtype == np.float32
    assert (found == expected).all()


@pytest.mark.covering(3)
@every_formula
def test_compilers(name):
    """torch.compile takes a guided model without a graph break, and jax.jit: the numbers stay."""
    rule, _ = FORMULAS[name]
    model = guided(lambda time, x: x.tanh() * time, lambda time, x: -time * x, rule)
    x = torch.tensor(X)
    torch.compiler.reset()
    compiled = torch.compile(lambda x: model(TIME, x) + model(0.95, x), fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(x), model(TIME, x) + model(0.95, x))
    jitted = guided(lambda time, x: jnp.tanh(x) * time, lambda time, x: -time * x, rule)
    x = jnp.asarray(X, jnp.float32)
    np.testing.assert_allclose(jax.jit(lambda x: jitted(TIME, x))(x), jitted(TIME, x), rtol=1e-5, atol=1e-5)
