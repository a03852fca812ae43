"""The variational bound: divergences of normals, differences of SNR, and the exact bound of Gaussian data."""

import math

import mpmath
import numpy as np
import pytest
import torch
from mpmath import mpf

from interpolants import Data, DiscreteDiffusion, ReverseChain, vlb_terms
from tests.support.chains import Known, bin_probability, exact_variance, gaussian_model, posterior, products

PARTS = r"expected .*; received .*; remedy: "
LN2 = math.log(2)
M, C = 0.3, 0.45


@pytest.mark.parametrize("variance", ["small", "large", "learned"])
def test_terms_are_divergences_of_normals(variance):
    """Every term is torch.distributions' KL from the posterior to the network's normal; the prior's too, in bits."""
    betas = np.linspace(0.01, 0.4, 12)
    rng = np.random.default_rng(0)
    x_data = rng.uniform(-1, 1, (2, 1, 3))
    rows = {i: rng.standard_normal(x_data.shape) for i in range(12)}
    guess, v = rng.standard_normal((2, 12, *x_data.shape))
    model = lambda timesteps, x: np.concatenate([guess[timesteps[0]], v[timesteps[0]]], axis=1)  # noqa: E731
    chain = ReverseChain(DiscreteDiffusion(betas), model, Data, variance)
    found = vlb_terms(chain, x_data, Known(rows), levels=None)
    with mpmath.workdps(30):
        signal = products(betas)
        small = [float(posterior(signal, betas[i], i)[2]) for i in range(12)]
        factors = [[float(part) for part in posterior(signal, betas[i], i)[:2]] for i in range(12)]
    signal = np.array([float(s) for s in signal])
    for i in range(12):
        x = np.sqrt(signal[i + 1]) * x_data + np.sqrt(1 - signal[i + 1]) * rows[i]
        means = [factors[i][0] * x + factors[i][1] * data for data in (x_data, guess[i])]
        low, high = small[max(i, 1)], betas[i] if i or variance == "learned" else small[1]
        f = {"small": 0.0, "large": 1.0, "learned": (v[i] + 1) / 2}[variance]
        spread = np.sqrt(high**f * low ** (1 - f)) + 0 * x
        p = torch.distributions.Normal(torch.tensor(means[1]), torch.tensor(spread))
        if i == 0:
            exact = -p.log_prob(torch.tensor(x_data))
        else:
            q = torch.distributions.Normal(torch.tensor(means[0]), torch.tensor(np.sqrt(small[i])))
            exact = torch.distributions.kl_divergence(q, p)
        assert np.abs(found.terms[:, i] - exact.numpy().mean((1, 2)) / LN2).max() < 1e-10 * float(exact.abs().max())
        assert np.abs(found.data_error[:, i] - ((guess[i] - x_data) ** 2).mean((1, 2))).max() < 1e-13
        slope = signal[i + 1] / (1 - signal[i + 1])
        assert np.allclose(found.noise_error[:, i], slope * found.data_error[:, i], rtol=1e-9)
    last = torch.distributions.Normal(torch.tensor(np.sqrt(signal[-1]) * x_data), math.sqrt(1 - signal[-1]))
    prior = torch.distributions.kl_divergence(last, torch.distributions.Normal(0.0, 1.0)).numpy().mean((1, 2)) / LN2
    assert np.abs(found.prior - prior).max() < 1e-13
    assert np.abs(found.total - found.terms.sum(1) - prior).max() < 1e-13


def test_terms_are_differences_of_snr():
    """With the posterior's variance L_i = ½(SNR_{i−1} − SNR_i)|x − x̂|², Kingma et al. (2021), eq. 14."""
    betas = np.linspace(1e-4, 0.02, 1000)
    x_data = np.array([[0.5], [-0.25]])
    chain = ReverseChain(DiscreteDiffusion(betas), lambda timesteps, x: 0.0 * x + 0.75, Data)
    found = vlb_terms(chain, x_data, Known({})).terms
    with mpmath.workdps(40):
        snr = [s / (1 - s) for s in products(betas)[1:]]
        for i in range(1, 1000):
            exact = (snr[i - 1] - snr[i]) / 2 * np.array([0.0625, 1.0]) / mpmath.log(2)
            assert max(abs(f / e - 1) for f, e in zip(found[:, i], exact, strict=True)) < 1e-11


def nodes():
    """Return data and noise of which every mean of a quadratic under N(m, c) × N(0, 1) is exact: 2 × 2 points."""
    spread = math.sqrt(C)
    return np.array([[M + spread], [M + spread], [M - spread], [M - spread]]), np.array([[1.0], [-1.0], [1.0], [-1.0]])


def expected(chain, learned, variance):
    """Return the mean of the bound over data and noise, in nats."""
    x_data, noise = nodes()
    model = gaussian_model(chain, M, C, learned)
    bound = vlb_terms(
        ReverseChain(chain, model, variance=variance), x_data, Known(dict.fromkeys(range(len(chain)), noise)), None
    )
    return float(bound.total.mean()) * LN2, bound


def entropy_and_terminal(betas):
    """Return the entropy of N(m, c) and KL from the law of the last state to N(0, 1)."""
    signal = products(betas)[-1]
    total = signal * C + 1 - signal
    terminal = (total + signal * mpf(M) ** 2 - 1 - mpmath.log(total)) / 2
    return (1 + mpmath.log(2 * mpmath.pi * mpf(C))) / 2, terminal


CHAINS = {
    "linear": DiscreteDiffusion(np.linspace(0.002, 0.3, 30)),
    "rough": DiscreteDiffusion(np.random.default_rng(4).uniform(0.01, 0.6, 9)),
    "two": DiscreteDiffusion([0.3, 0.6]),
    "respaced": DiscreteDiffusion(np.linspace(1e-4, 0.02, 1000)).respaced(25),
}


@pytest.mark.parametrize("name", CHAINS)
def test_the_bound_of_an_exact_chain_is_the_entropy(name):
    """With the exact mean and variance of every step nothing is lost but KL(p_T‖N), whatever the rates."""
    chain = CHAINS[name]
    found, _ = expected(chain, True, "learned")
    with mpmath.workdps(40):
        entropy, terminal = entropy_and_terminal(chain.betas)
        assert abs(found - entropy - terminal) < 1e-12


@pytest.mark.parametrize("variance", ["small", "large"])
@pytest.mark.parametrize("name", CHAINS)
def test_the_bound_of_fixed_variances(name, variance):
    """A fixed variance loses KL(N(0, V)‖N(0, s²)) in each step, V the exact one; at index 0 both have β̃₁."""
    chain = CHAINS[name]
    found, _ = expected(chain, False, variance)
    with mpmath.workdps(40):
        signal = products(chain.betas)
        lost = sum(entropy_and_terminal(chain.betas))
        for i, beta in enumerate(chain.betas):
            small = posterior(signal, chain.betas[max(i, 1)], max(i, 1))[2]
            ratio = exact_variance(chain.betas, i, C) / (small if variance == "small" or i == 0 else mpf(beta))
            lost += (ratio - 1 - mpmath.log(ratio)) / 2
        assert abs(found - lost) < 1e-12 * abs(lost)


def vp_rates(count):
    """The rates of VP(0.1, 20) in ``count`` steps."""
    return np.linspace(0.1, 20.0, count) / count


def test_what_the_small_variance_loses_in_the_limit():
    r"""The gap tends to ½γ + ½(1 − log 2), with Euler's constant, as (a + b log T)/T.

    Near the data the rates are equal, step i has V/β̃ = 1 + 1/i, and Σ½(1/i − log(1 + 1/i)) = ½γ; the decoder, with β̃₁ =
    ½β, loses ½(2 − 1 − log 2). The rest closes.
    """
    gaps, counts = [], np.array([400, 800, 1600])
    for count in counts:
        chain = DiscreteDiffusion(np.linspace(4.0, 8.0, count) / count)
        entropy, terminal = entropy_and_terminal(chain.betas)
        gaps.append(expected_small(chain) - float(entropy + terminal))
    limit = 0.5 * float(mpmath.euler) + 0.5 * (1 - LN2)
    errors = np.abs(np.array(gaps) - limit)
    assert errors[-1] < 0.015
    slopes = np.diff(errors * counts)
    assert slopes.min() > 0.0
    assert abs(slopes[1] / slopes[0] - 1) < 0.03, errors


def expected_small(chain):
    """Return the mean bound of the small variance, from a model in floats, which is faster for long chains."""
    x_data, noise = nodes()

    def model(timesteps, x):
        alpha, sigma = chain.alpha[timesteps[0]], chain.sigma[timesteps[0]]
        return M + alpha * C / (alpha**2 * C + sigma**2) * (x - alpha * M)

    source = Known(dict.fromkeys(range(len(chain)), noise))
    return float(vlb_terms(ReverseChain(chain, model, Data), x_data, source, None).total.mean()) * LN2


def test_the_limit_of_continuous_time():
    """Up to t = 1 from t = 0.1 the terms tend to ½∫|SNR'|E|x − x̂|² dt = ½ log((1 + c·SNR₀.₁)/(1 + c·SNR₁)), order 1.

    Kingma et al. (2021), eq. 15, with E|x − x̂|² = c/(1 + c·SNR).
    """
    x_data, noise = nodes()
    errors = []
    for count in (100, 200, 400, 800):
        chain = DiscreteDiffusion(vp_rates(count))
        source = Known(dict.fromkeys(range(count), noise))
        model = gaussian_model(chain, M, C, False) if count == 100 else float_model(chain)
        terms = vlb_terms(ReverseChain(chain, model), x_data, source, None).terms.mean(0) * LN2
        first, snr = count // 10, (chain.alpha / chain.sigma) ** 2
        exact = 0.5 * math.log((1 + C * snr[first - 1]) / (1 + C * snr[-1]))
        errors.append(float(terms[first:].sum()) - exact)
    assert errors[-1] < 0.01
    assert min(errors) > 0
    assert (np.abs(np.log2(np.array(errors[:-1]) / errors[1:])[-2:] - 1) < 0.1).all(), errors


def float_model(chain):
    """Return the exact noise prediction, in floats."""

    def model(timesteps, x):
        alpha, sigma = chain.alpha[timesteps[0]], chain.sigma[timesteps[0]]
        return sigma / (alpha**2 * C + sigma**2) * (x - alpha * M)

    return model


def test_images_of_eight_bits():
    """A network that knows the image pays for the decoder alone; L_0 is that of the bins, in bits per dimension."""
    betas = np.linspace(1e-4, 0.02, 50)
    x_data = np.array([[0, 128, 255, 3]]) / 127.5 - 1
    chain = ReverseChain(DiscreteDiffusion(betas), lambda timesteps, x: x_data, Data)
    bound = vlb_terms(chain, x_data, np.random.default_rng(0))
    assert np.abs(bound.terms[:, 1:]).max() < 1e-15
    with mpmath.workdps(40):
        spread = mpmath.log(posterior(products(betas), betas[1], 1)[2])
        exact = -sum(bin_probability(x, x, spread, 256) for x in x_data[0]) / 4 / mpmath.log(2)
    assert abs(bound.terms[0, 0] - exact) < 1e-12
    assert bound.terms.shape == (1, 50)


def test_three_libraries_agree_on_the_bound():
    """Torch and numpy give the same terms from the same noise, and η ≠ 1 is refused."""
    x_data = np.random.default_rng(0).integers(0, 256, (3, 2, 2)) / 127.5 - 1
    rows = np.random.default_rng(1).standard_normal((8, 3, 2, 2))

    class Rows:
        def increments(self, x):
            make = torch.as_tensor if isinstance(x, torch.Tensor) else np.asarray
            return lambda t0, t1: make(rows[round(t0) - 1])

    chain = DiscreteDiffusion(np.linspace(0.001, 0.4, 8))
    ours = vlb_terms(ReverseChain(chain, lambda timesteps, x: 0.5 * x), x_data, Rows())
    other = vlb_terms(ReverseChain(chain, lambda timesteps, x: 0.5 * x), torch.as_tensor(x_data), Rows())
    assert np.abs(ours.terms - other.terms.numpy()).max() < 1e-12 * np.abs(ours.terms).max()
    assert np.abs(ours.prior - other.prior.numpy()).max() < 1e-15
    with pytest.raises(ValueError, match=PARTS):
        vlb_terms(ReverseChain(chain, lambda timesteps, x: x, eta=0.5), x_data, Rows())
