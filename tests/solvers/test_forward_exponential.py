"""Exponential Euler–Maruyama with rising times: the forward SDE, by its exact law and a recursion by hand."""

import math
from itertools import pairwise

import numpy as np
import pytest
from scipy.integrate import quad
from solver_methods import DENOISING, name

from interpolants import Data, Gaussian, Linear, Path, denoising, diffusion, sampler_law
from solvers import ExponentialEulerMaruyama, solve, uniform
from tests.support import recursions
from tests.support.fields import slope
from tests.support.zoo import CHOICES, LINEAR, TRIGONOMETRIC, VARIANCE_PRESERVING

M, C = 0.7, 0.4
EEM = ExponentialEulerMaruyama()
CHOSEN = {repr(choice): choice for choice in CHOICES if repr(choice) in {"KL()", "Sigma()", "Constant(0.5)"}}
WAYS = {"rising": (0.2, 0.8), "falling": (0.8, 0.2)}


def by_hand(case, choice, ts):
    """Return mean, variance and covariance with the start: ε relaxes by e^(−Θ/2) in either direction of time."""
    alpha, sigma = recursions.ends(case, ts[0])
    mean, variance = alpha * M, alpha * alpha * C + sigma * sigma
    cross = variance
    for t0, t1 in pairwise(ts):
        (alpha, sigma), (alpha_s, sigma_s) = recursions.ends(case, t0), recursions.ends(case, t1)
        theta = float(recursions.clock(case, choice, max(t0, t1), min(t0, t1)))
        gain = alpha * C / (alpha * alpha * C + sigma * sigma)
        # x = αx̂ + σε̂ with x̂ held: the coefficient of x − αm in both, then the noise that is new.
        factor = alpha_s * gain + sigma_s * math.exp(-0.5 * theta) * (1.0 - alpha * gain) / sigma
        mean = alpha_s * M + factor * (mean - alpha * M)
        variance = factor * factor * variance + sigma_s * sigma_s * (1.0 - math.exp(-theta))
        cross *= factor
    return mean, variance, cross


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("choice", CHOSEN)
@pytest.mark.parametrize("case", [LINEAR, VARIANCE_PRESERVING], ids=repr)
def test_steps_have_the_law_of_the_recursion(case, choice, way):
    """Mean, variance and covariance with the start are those of steps written by hand, in both directions."""
    ts = uniform(4, *WAYS[way]).tolist()
    law = sampler_law(Path(case.schedule, Gaussian([M], C)), EEM, ts, CHOSEN[choice].w)
    found = [law.mean.item(), law.cov.item(), law.cross.item()]
    np.testing.assert_allclose(found, by_hand(case, CHOSEN[choice], ts), rtol=1e-9)


@pytest.mark.parametrize("choice", CHOSEN)
@pytest.mark.parametrize("way", WAYS)
def test_a_point_is_followed_exactly(way, choice):
    """For data at a point one step has the exact law: N(α_s y, σ_s²) with covariance σ_s σ_t e^(−Θ/2)."""
    path = Path(TRIGONOMETRIC.schedule, Gaussian([M], 0.0))
    start, stop = WAYS[way]
    law = sampler_law(path, EEM, [start, stop], CHOSEN[choice].w)
    theta = float(recursions.clock(TRIGONOMETRIC, CHOSEN[choice], max(start, stop), min(start, stop)))
    (_, before), (alpha, after) = (recursions.ends(TRIGONOMETRIC, time) for time in (start, stop))
    exact = [alpha * M, after**2, before * after * math.exp(-0.5 * theta)]
    np.testing.assert_allclose([law.mean.item(), law.cov.item(), law.cross.item()], exact, rtol=1e-10)


@pytest.mark.covering(5)
@pytest.mark.parametrize("choice", CHOSEN)
@pytest.mark.parametrize("way", WAYS)
def test_order_in_both_directions(way, choice):
    """Variance and two-time covariance converge with order 1 to those of the stationary process, either way."""
    schedule, w = Linear(), CHOSEN[choice].w
    path, rate = Path(schedule, Gaussian([M], C)), w.of(schedule)
    variances = [(1.0 - t) ** 2 * C + t * t for t in WAYS[way]]
    clock = quad(lambda u: rate(u) / ((1.0 - u) ** 2 * C + u * u), 0.2, 0.8)[0]
    exact = variances[1], math.sqrt(variances[0] * variances[1]) * math.exp(-0.5 * clock)
    counts = [80 * 2**k for k in range(5)]
    laws = [sampler_law(path, EEM, uniform(n, *WAYS[way]), w) for n in counts]
    variance = [abs(law.cov.item() - exact[0]) for law in laws]
    cross = [abs(law.cross.item() - exact[1]) for law in laws]
    # Rising with wKL is the noising process, which needs no prediction; falling, its prediction is a martingale.
    exact_variance, exact_cross = (way, choice) == ("rising", "KL()"), choice == "KL()"
    for errors, exactly in ((variance, exact_variance), (cross, exact_cross)):
        assert max(errors) < 1e-13 if exactly else abs(slope(counts, errors) - EEM.weak_order) < 0.1, errors


def test_up_to_pure_noise():
    """A last step to α = 0 with Θ = ∞ returns the noise it draws, whatever the state and the prediction."""
    made = denoising(Linear(), lambda time, x: 3.0 * x + 1.0, prediction=Data, w=diffusion.KL())
    ends = [solve(made, np.full(3, x), [0.2, 0.6, 1.0], EEM, rng=np.random.default_rng(0)).x for x in (1.0, 9.0)]
    np.testing.assert_array_equal(*ends)
    law = sampler_law(Path(Linear(), Gaussian([M], C)), EEM, [0.2, 0.6, 1.0], diffusion.KL())
    assert [law.mean.item(), law.cov.item(), law.cross.item()] == [0.0, 1.0, 0.0]


STOCHASTIC = [method for method in DENOISING if method.stochastic and not getattr(method, "rising", False)]


@pytest.mark.parametrize("method", STOCHASTIC, ids=name)
def test_other_methods_refuse_to_rise(method):
    """A stochastic method that goes down alone says so before the first call; none starts where σ = 0."""
    made = denoising(Linear(), lambda time, x: pytest.fail("called"))
    with pytest.raises(ValueError, match=r"expected .*falling times|falls through"):
        solve(made, np.ones(2), [0.3, 0.6], method, rng=np.random.default_rng(0))
    with pytest.raises(ValueError, match="sigma > 0 at the first time"):
        solve(made, np.ones(2), [0.0, 0.6], EEM, rng=np.random.default_rng(0))
