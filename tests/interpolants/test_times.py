"""Densities of training times: normalised, followed by the draws, and inside their support."""

import json
import math
from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
import sympy
import torch
from scipy.integrate import quad

from interpolants import GVP, VP, Linear, t, times
from interpolants.schedules import TrigFlow

THREE_PARTS = r"expected .*; received .*; remedy: "
SCHEDULES = {"linear": Linear(), "gvp": GVP(), "vp": VP(), "trigflow": TrigFlow()}
LAWS = {
    "uniform": times.Uniform(),
    "uniform-inside": times.Uniform(0.125, 0.75),
    "logit-normal": times.LogitNormal(-0.4, 1.3),
    "logit-normal-inside": times.LogitNormal(0.5, 0.8, 0.1, 0.9),
    "cos-map": times.CosMap(),
    "cos-map-inside": times.CosMap(0.2, 0.9),
    "normal": times.LogSNR(times.Normal(0.5, 2.0)),
    "normal-inside": times.LogSNR(times.Normal(0.5, 2.0), 0.1, 0.7),
    "laplace": times.LogSNR(times.Laplace(0.2, 0.5)),
    "cauchy-inside": times.LogSNR(times.Cauchy(0.0, 1.0), 1e-4, 1 - 1e-4),
    "logistic": times.LogSNR(times.Logistic(0.0, 1.5)),
    "box": times.LogSNR(times.Box(0.5, 3.0)),
    "edm": times.LogNormalSigma(),
}
SCIPY = {
    "Normal": scipy.stats.norm,
    "Laplace": scipy.stats.laplace,
    "Cauchy": scipy.stats.cauchy,
    "Logistic": scipy.stats.logistic,
}


def exact_cdf(choice, schedule):
    """Return the distribution function of a law by scipy's distributions."""
    (lo, hi), (first, last) = choice.of(schedule).support, schedule.domain

    def fraction(time):
        return (np.asarray(time) - first) / (last - first)

    def raw(time):
        with np.errstate(divide="ignore"):
            if isinstance(choice, times.Uniform):
                return np.asarray(time)
            if isinstance(choice, times.LogitNormal):
                return scipy.stats.norm(choice.mean, choice.std).cdf(np.log(fraction(time)) - np.log1p(-fraction(time)))
            if isinstance(choice, times.CosMap):
                return np.arctan2(fraction(time), 1 - fraction(time))
            shape, ratio = choice.shape, schedule.log_snr(np.asarray(time))
            if isinstance(shape, times.Box):
                return scipy.stats.uniform(shape.location - shape.scale, 2 * shape.scale).sf(ratio)
            return SCIPY[type(shape).__name__](shape.location, shape.scale).sf(ratio)

    return lambda time: (raw(time) - raw(lo)) / (raw(hi) - raw(lo))


every_law = pytest.mark.parametrize(
    ("name", "choice"), [(s, c) for s in SCHEDULES for c in LAWS], ids=[f"{s}-{c}" for s in SCHEDULES for c in LAWS]
)


@pytest.mark.covering(3)
@every_law
def test_densities_and_draws(name, choice):
    """The integral is 1 and that of every part scipy's probability to 1e-9; draws pass the Kolmogorov–Smirnov test."""
    schedule, choice = SCHEDULES[name], LAWS[choice]
    law, cdf = choice.of(schedule), exact_cdf(choice, schedule)
    lo, hi = law.support
    near = [1e-8, 1e-6, 1e-4, 1e-3, 0.01, 0.05, 0.2, 0.4]
    points = [lo, *(lo + (hi - lo) * s for s in near), *(hi - (hi - lo) * s for s in reversed(near)), hi]
    if isinstance(choice, times.LogSNR):  # a Laplace density has a kink
        points = sorted({*points, float(np.clip(schedule.time_of_log_snr(choice.shape.location), lo, hi))})
    parts = [quad(law.pdf, a, b, epsabs=1e-13, epsrel=1e-11, limit=200)[0] for a, b in pairwise(points)]
    assert abs(sum(parts) - 1) < 1e-9
    np.testing.assert_allclose(np.cumsum(parts), cdf(np.array(points[1:])), atol=1e-9)
    drawn = law.sample(4000, np.random.default_rng(7))
    assert scipy.stats.kstest(drawn, cdf).pvalue > 1e-4
    even = np.sort(times.Stratified(choice).of(schedule).sample(4000, np.random.default_rng(7)))
    cells = np.floor(cdf(even) * 4000 * (1 - 1e-12) + 1e-9)
    assert abs(cells - np.arange(4000)).max() <= 1  # one draw in each part, but for round-off at its edges


@pytest.mark.parametrize("choice", LAWS)
@pytest.mark.parametrize("name", ["linear", "vp"])
def test_expressions(name, choice):
    """The symbolic density is the numerical one at five times, and outside the support the latter is 0."""
    schedule = SCHEDULES[name]
    law = LAWS[choice].of(schedule)
    (lo, hi), (first, last) = law.support, schedule.domain
    for time in (lo + (hi - lo) * s for s in (0.01, 0.3, 0.5, 0.8, 0.99)):
        exact = float(sympy.N(law.expression.subs(t, sympy.Rational(time)), 30))
        assert law.pdf(time) == pytest.approx(exact, rel=1e-11)
    outside = [time for time in (first, lo / 2, (hi + last) / 2, last) if not lo <= time <= hi]
    assert all(law.pdf(time) == 0 for time in outside)
    assert np.isfinite(law.pdf(np.array([lo, hi]))).all()


def test_laws_that_are_the_same():
    """Under Linear the logit-normal is EDM's log-normal, cos-map is GVP's uniform log-SNR, Logistic(0, 2) uniform."""
    clock = np.linspace(0.02, 0.98, 25)
    pairs = [
        (times.LogitNormal(-1.2, 1.2), times.LogNormalSigma(-1.2, 1.2)),
        (times.LogSNR(times.Logistic(0.0, 2.0)), times.Uniform()),
    ]
    for one, two in pairs:
        np.testing.assert_allclose(one.of(Linear()).pdf(clock), two.of(Linear()).pdf(clock), rtol=1e-12)
    drawn = [c.of(Linear()).sample(9, np.random.default_rng(3)) for c in pairs[0]]
    np.testing.assert_allclose(*drawn, rtol=1e-12)
    uniform = times.Uniform().of().sample(9, np.random.default_rng(3))
    mapped = times.CosMap().of().sample(9, np.random.default_rng(3))
    np.testing.assert_allclose(Linear().log_snr(mapped), GVP().log_snr(uniform), atol=1e-12)


@pytest.mark.parametrize("choice", [times.LogitNormal(0, 50.0), times.Uniform(), times.Uniform(0.1, 0.3)], ids=repr)
def test_draws_are_strictly_inside(choice):
    """Even where round-off would reach an end no draw does, in either precision and library."""
    lo, hi = choice.of().support
    for dtype in (np.float32, np.float64, torch.float32, torch.float64):
        rng = np.random.default_rng(0) if dtype in (np.float32, np.float64) else torch.Generator().manual_seed(0)
        drawn = choice.sample(20000, rng, dtype)
        assert drawn.dtype == dtype
        assert lo < float(drawn.min())
        assert float(drawn.max()) < hi
    ends = times.Law("ends", (lo, hi), None, None, lambda xp, u: xp.where(u < 0.5, lo, hi))
    drawn = ends.sample(64, np.random.default_rng(0), np.float32).astype(float)
    assert ((lo < drawn) & (drawn < hi)).all()


def test_generators():
    """numpy, torch and jax each draw from their own generator, the same times for the same seed."""
    choice = times.LogSNR(times.Laplace(0.0, 0.5)).of(Linear())
    assert choice.sample(5, np.random.default_rng(1)).dtype == np.float64
    torches = [choice.sample(5, torch.Generator().manual_seed(1)) for _ in range(2)]
    assert torches[0].dtype == torch.float32
    assert torch.equal(*torches)
    keys = [choice.sample(2000, jax.random.key(seed)) for seed in (1, 1, 2)]
    assert isinstance(keys[0], jax.Array)
    assert jnp.array_equal(*keys[:2])
    assert not jnp.array_equal(*keys[1:])
    drawn = np.asarray(keys[0], float)
    assert scipy.stats.kstest(drawn, exact_cdf(times.LogSNR(times.Laplace(0.0, 0.5)), Linear())).pvalue > 1e-4
    wide = choice.sample(5, torch.Generator().manual_seed(1), torch.float64)
    np.testing.assert_allclose(torches[0].double(), wide, rtol=1e-7)
    densities = choice.pdf(torches[0])
    assert densities.dtype == torch.float32
    np.testing.assert_allclose(densities, choice.pdf(torches[0].double().numpy()), rtol=1e-6)


def test_spread_draws():
    """Antithetic pairs add up to 1, a lattice has equal gaps, and all of them keep the law of a single time."""
    pairs = times.Antithetic(times.Uniform()).sample(9, np.random.default_rng(0))
    np.testing.assert_allclose(pairs[0:8:2] + pairs[1:8:2], 1.0, rtol=1e-15)
    lattice = np.sort(times.LowDiscrepancy(times.Uniform()).sample(8, torch.Generator().manual_seed(0), torch.float64))
    np.testing.assert_allclose(np.diff(lattice), 0.125, rtol=1e-12)
    for kind in (times.Antithetic, times.LowDiscrepancy, times.Stratified):
        choice = kind(times.CosMap())
        singles = np.array([choice.sample(3, np.random.default_rng(seed))[1] for seed in range(600)])
        law = times.Uniform() if kind is times.Stratified else times.CosMap()
        inner = singles if kind is not times.Stratified else 3 * exact_cdf(times.CosMap(), Linear())(singles) - 1
        assert scipy.stats.kstest(inner, exact_cdf(law, Linear())).pvalue > 1e-4
        assert choice.measure is None
    assert times.Stratified(times.Importance(4)).measure == times.Uniform()


def test_stratification_lowers_the_error():
    """The mean of exp(t) over 64 stratified draws is within 1e-3 of e − 1, where independent ones are 0.06 off."""
    means = {}
    for choice in (times.Uniform(), times.Stratified(times.Uniform())):
        rng = np.random.default_rng(0)
        means[repr(choice)] = [np.exp(choice.sample(64, rng)).mean() - math.e + 1 for _ in range(50)]
    plain, even = (np.std(value) for value in means.values())
    assert even < 2e-3 < 0.03 < plain
    assert abs(np.mean(means["Stratified(times=Uniform(lo=None, hi=None))"])) < 6 * even / math.sqrt(50)


def feed(sampler, rounds, size=400, seed=0, loss=lambda time: 1 + 100 * (time > 0.75)):
    rng = np.random.default_rng(seed)
    for _ in range(rounds):
        clock = sampler.sample(size, rng)
        sampler.update(clock, loss(clock))
    return sampler


def test_importance_follows_the_second_moment():
    """Uniform until every bin is full; then bins have the root of the mean square of their last losses."""
    sampler = times.Importance(bins=4, history=3, uniform=0.1)
    assert not sampler.warm
    np.testing.assert_array_equal(sampler.probabilities, 0.25)
    middles = np.array([0.125, 0.375, 0.625, 0.875])
    for losses in ([9, 9, 9, 9], [1, 2, 0, 4], [3, 2, 0, 4], [5, 2, 0, 4]):  # the first one is forgotten
        sampler.update(middles, np.array(losses, float))
    sizes = np.sqrt([(1 + 9 + 25) / 3, 4, 0, 16])
    np.testing.assert_allclose(sampler.probabilities, 0.9 * sizes / sizes.sum() + 0.025, rtol=1e-14)
    law = sampler.of()
    np.testing.assert_allclose(law.pdf(middles), 4 * sampler.probabilities, rtol=1e-14)
    drawn = law.sample(20000, np.random.default_rng(0))
    counts = np.histogram(drawn, np.linspace(0, 1, 5))[0]
    assert scipy.stats.chisquare(counts, 20000 * sampler.probabilities).pvalue > 1e-4
    assert quad(law.pdf, 0, 1, points=[0.25, 0.5, 0.75])[0] == pytest.approx(1, abs=1e-9)


def test_importance_is_unbiased_and_has_less_variance():
    """The mean of loss/density is the integral within 6 standard errors, and varies less than with uniform times."""
    loss = lambda time: 1 + 100 * (time > 0.75)  # noqa: E731
    sampler = feed(times.Importance(16, 5), 3)
    assert sampler.warm
    law, rng = sampler.of(), np.random.default_rng(1)
    clock = law.sample(4000, rng)
    found = loss(clock) / law.pdf(clock)
    assert abs(found.mean() - 26) < 6 * found.std() / math.sqrt(4000)
    assert found.std() < 0.2 * loss(rng.random(4000)).std()
    biased = loss(clock).mean()
    assert abs(biased - 26) > 20


def test_importance_travels():
    """A state goes through JSON and makes the same draws; torch and jax may update; another shape is refused."""
    first = feed(times.Importance(8, 4), 2)
    second = times.Importance(8, 4)
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    np.testing.assert_array_equal(first.sample(9, np.random.default_rng(0)), second.sample(9, np.random.default_rng(0)))
    third = times.Importance(8, 4)
    rng = np.random.default_rng(0)
    for make in (torch.as_tensor, jnp.asarray):
        clock = third.sample(400, rng)
        third.update(make(clock), make(1 + 100.0 * (clock > 0.75)))
    np.testing.assert_allclose(third.probabilities, first.probabilities, rtol=1e-6)
    drawn = third.sample(7, torch.Generator().manual_seed(0))
    assert drawn.dtype == torch.float32
    with pytest.raises(ValueError, match=THREE_PARTS):
        times.Importance(4, 4).load_state_dict(first.state_dict())


@pytest.mark.parametrize(
    ("error", "make"),
    [
        (ValueError, lambda: times.Uniform(0.5, 0.5).of()),
        (ValueError, lambda: times.Uniform(-0.1, 0.5).of()),
        (ValueError, lambda: times.LogitNormal(0, 1, 0.2, 1.1).of(Linear())),
        (ValueError, lambda: times.LogitNormal(0, 0)),
        (ValueError, lambda: times.LogitNormal(60, 1, 0.1, 0.2).of()),
        (ValueError, lambda: times.Normal(0, -1)),
        (TypeError, lambda: times.LogSNR(scipy.stats.norm)),
        (TypeError, lambda: times.LogSNR(times.Normal(0, 1)).of()),
        (ValueError, lambda: times.LogSNR(times.Normal(-60, 1)).of(VP())),
        (ValueError, lambda: times.LogSNR(times.Cauchy(0, 1)).of(Linear())),
        (ValueError, lambda: times.Uniform().sample(0, np.random.default_rng(0))),
        (ValueError, lambda: times.Uniform().sample(2.0, np.random.default_rng(0))),
        (ValueError, lambda: times.Uniform().sample(2, torch.Generator(), torch.bfloat16)),
        (ValueError, lambda: times.Uniform().sample(2, np.random.default_rng(0), np.float16)),
        (TypeError, lambda: times.Uniform().sample(2, None)),
        (TypeError, lambda: times.Uniform().sample(2, 0)),
        (ValueError, lambda: times.Importance(0)),
        (ValueError, lambda: times.Importance(4, 0)),
        (ValueError, lambda: times.Importance(4, 4, 0)),
        (ValueError, lambda: times.Importance().update(np.ones(2) / 2, np.ones(3))),
        (ValueError, lambda: times.Importance().update(np.array([1.5]), np.ones(1))),
        (ValueError, lambda: times.Importance().update(np.ones(2) / 2, np.array([1.0, np.nan]))),
        (ValueError, lambda: times.Importance().update(np.ones(1) / 2, -np.ones(1))),
    ],
)
def test_refusals(error, make):
    """Ends outside the domain, laws without mass, half precision and losses that are none: an error in three parts."""
    with pytest.raises(error, match=THREE_PARTS):
        make()
