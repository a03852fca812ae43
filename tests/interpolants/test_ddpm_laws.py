"""The exact law of the reverse chain on a Gaussian, read off the sampler and by a recursion at 60 digits."""

import mpmath
import numpy as np
import pytest
from mpmath import mpf

from interpolants import DiscreteDiffusion, ReverseChain
from tests.support.chains import Known, ddim, exact_variance, gaussian_model, posterior, products

M, C = 0.4, 0.3
RATES = {
    "linear": np.linspace(0.002, 0.3, 30),
    "rough": np.random.default_rng(4).uniform(0.01, 0.6, 9),
    "respaced": DiscreteDiffusion(np.linspace(1e-4, 0.02, 1000)).respaced(20).betas,
}


def recursion(betas, c, variance, eta):
    """Return mean and variance of x before every step and at the end, from N(0, 1), by the papers' formulas."""
    signal = products(betas)
    mean, spread = mpf(0), mpf(1)
    laws = [(mean, spread)]
    for index in range(len(betas) - 1, -1, -1):
        now, beta = signal[index + 1], mpf(betas[index])
        own, others, drawn = ddim(signal, index, eta)
        small = posterior(signal, betas[index], index)[2]
        added = {"small": drawn**2, "large": beta if index else 0, "learned": 0}[variance]
        if variance == "learned" and index:
            added = exact_variance(betas, index, c)
        # x̂ = m + √ᾱ c (x − √ᾱ m)/(ᾱ c + 1 − ᾱ)
        slope = mpmath.sqrt(now) * c / (now * c + 1 - now)
        factor = own + others * slope
        mean = factor * mean + others * (1 - slope * mpmath.sqrt(now)) * M
        spread = factor**2 * spread + added
        assert variance != "small" or eta < 1 or abs(added - small) < mpf(10) ** -50
        laws.append((mean, spread))
    return laws


def read_off(betas, c, variance, eta):
    """Return mean and variance at the end, from an affine map: a row for zero, for one, and for each draw of one."""
    count, chain = len(betas), DiscreteDiffusion(betas)
    x = np.zeros((count + 2, 1))
    x[1] = 1.0
    rows = {}
    for index in range(1, count):
        rows[index] = np.zeros_like(x)
        rows[index][index + 1] = 1.0
    model = gaussian_model(chain, M, c, variance == "learned")
    end = ReverseChain(chain, model, variance=variance, eta=eta).sample(x, Known(rows)).x[:, 0]
    parts = end[1:] - end[0]
    return end[0], float((parts**2).sum())


@pytest.mark.parametrize(
    ("variance", "eta"), [("small", 1.0), ("large", 1.0), ("learned", 1.0), ("small", 0.0), ("small", 0.5)], ids=str
)
@pytest.mark.parametrize("name", RATES)
def test_mean_and_variance_of_the_chain(name, variance, eta):
    """What the sampler makes of N(0, 1) has the mean and the variance of the recursion, to 1e-13."""
    mean, spread = read_off(RATES[name], C, variance, eta)
    with mpmath.workdps(60):
        exact_mean, exact_spread = recursion(RATES[name], C, variance, eta)[-1]
    assert abs(mean - exact_mean) < 1e-13
    assert abs(spread / exact_spread - 1) < 1e-13


@pytest.mark.parametrize("c", [0.05, 0.3, 0.9])
@pytest.mark.parametrize("name", RATES)
def test_the_two_variances_bracket_the_truth(name, c):
    """For data narrower than N(0, 1) β̃ is too small in every step and β too large (Ho et al. §3.2), and so are the
    variances of all states that they make before the data; the exact variance of each step makes the exact ones.
    """
    betas = RATES[name]
    with mpmath.workdps(60):
        signal = products(betas)
        for index in range(1, len(betas)):
            exact = exact_variance(betas, index, c)
            assert posterior(signal, betas[index], index)[2] < exact < mpf(betas[index])
        start = signal[-1] * c + 1 - signal[-1]
        laws = {variance: recursion(betas, c, variance, 1.0) for variance in ("small", "large", "learned")}
        factor = mpf(1)
        for k, index in enumerate(range(len(betas) - 1, 0, -1), start=1):
            true = signal[index] * c + 1 - signal[index]
            slope = mpmath.sqrt(signal[index + 1]) * c / (signal[index + 1] * c + 1 - signal[index + 1])
            own, others, _ = ddim(signal, index, 1.0)
            factor *= (own + others * slope) ** 2
            # All start from N(0, 1), not from the law of x_T, and forget that at the same rate.
            small, large, learned = (laws[v][k][1] - factor * (1 - start) for v in ("small", "large", "learned"))
            assert small < true < large
            assert abs(learned - true) < mpf(10) ** -40


def test_which_variance_is_right_for_which_data():
    """β is exact for N(0, 1), and β̃ for a point, in every step but the last (Ho et al. 2020, §3.2)."""
    betas = RATES["linear"]
    with mpmath.workdps(60):
        signal = products(betas)
        for index in range(1, len(betas)):
            assert abs(exact_variance(betas, index, mpf(1)) / mpf(betas[index]) - 1) < mpf(10) ** -50
            assert abs(exact_variance(betas, index, mpf(0)) - posterior(signal, betas[index], index)[2]) < 1e-50
        ends = recursion(betas, mpf(1), "large", 1.0)
        assert all(abs(spread - 1) < mpf(10) ** -50 for _, spread in ends[:-1])
