"""The noising chain: tables, posterior, conversions, indices, against products and Bayes' rule at 60 digits."""

import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
import torch
from mpmath import mpf

from interpolants import Data, DiscreteDiffusion, Noise, Score, Velocity, VPrediction, zero_terminal_snr
from interpolants.schedules import DDPMCosine, DDPMLinear, DDPMScaledLinear, Linear
from tests.support.chains import ddim, posterior, products

U = 2.0**-53
RATES = {
    "linear": np.linspace(1e-4, 0.02, 200),
    "rough": np.random.default_rng(0).uniform(1e-6, 0.3, 40),
    "tiny": np.full(30, 1e-13),
    "steep": np.array([0.999, 1e-9, 0.5, 0.9999999]),
    "one": np.array([0.25]),
}
PARTS = r"expected .*; received .*; remedy: "


@pytest.mark.parametrize("name", RATES)
def test_levels(name):
    """log ᾱ, α and σ of every index are those of the product at 60 digits, to 2 ulp beyond the exponent's rounding."""
    chain = DiscreteDiffusion(RATES[name])
    with mpmath.workdps(60):
        for index, signal in enumerate(products(RATES[name])[1:]):
            exponent = abs(mpmath.log(signal))
            assert abs(chain.log_signal[index] - mpmath.log(signal)) <= 3 * U * exponent
            assert abs(chain.alpha[index] / mpmath.sqrt(signal) - 1) <= (4 + 2 * exponent) * U
            assert abs(chain.sigma[index] / mpmath.sqrt(1 - signal) - 1) <= 6 * U


@pytest.mark.parametrize("name", RATES)
def test_posterior_is_bayes(name):
    """Mean and variance of q(x_{i−1}|x_i, x_data) are those of two normals multiplied, to 16 roundings."""
    chain = DiscreteDiffusion(RATES[name])
    x_data, x = np.array([0.7, -1.3]), np.array([-0.2, 0.9])
    with mpmath.workdps(60):
        signal = products(RATES[name])
        for index in range(len(chain)):
            own, others, variance = posterior(signal, RATES[name][index], index)
            mean, found = chain.posterior(index, x_data, x)
            assert abs(found - variance) <= 16 * U * variance
            for k in range(2):
                exact, size = own * x[k] + others * x_data[k], abs(own * x[k]) + abs(others * x_data[k])
                assert abs(mean[k] - exact) <= 16 * U * size


@pytest.mark.parametrize("eta", [0.0, 0.3, 0.999, 1.0])
@pytest.mark.parametrize("name", RATES)
def test_backward_is_eq_12_and_16(name, eta):
    """The factors of x_i and x̂ in a step are those of Song et al. (2021), eq. 12 and 16, to 32 roundings."""
    found = DiscreteDiffusion(RATES[name]).backward(eta)
    with mpmath.workdps(60):
        signal = products(RATES[name])
        for index in range(len(RATES[name])):
            own, others, _ = ddim(signal, index, eta)
            assert abs(found[0][index] - own) <= 32 * U * abs(own)
            assert abs(found[1][index] - others) <= 32 * U * abs(others)


@pytest.mark.parametrize("name", ["linear", "rough", "steep"])
def test_log_variances(name):
    """Large is log β; small is log β̃, with that of index 1 in the place of log 0, as in Nichol & Dhariwal's code."""
    betas = RATES[name]
    tables = DiscreteDiffusion(betas).log_variances
    with mpmath.workdps(60):
        signal = products(betas)
        exact = [mpmath.log(posterior(signal, betas[i], i)[2]) for i in range(1, len(betas))]
        for index, value in enumerate([exact[0], *exact]):
            assert abs(tables["small"][index] - value) <= 8 * U * (1 + abs(value))
            assert abs(tables["large"][index] - mpmath.log(mpf(betas[index]))) <= 2 * U * (1 + abs(value))
    assert DiscreteDiffusion([0.25]).log_variances["small"].tolist() == [np.log(0.25)]


def test_rates_of_a_schedule():
    """The rates of a schedule are the published ones, each to an ulp."""
    with mpmath.workdps(60):
        step = (mpf("0.02") - mpf("0.0001")) / 999
        linear = [mpf("0.0001") + step * k for k in range(1000)]
        low, high = mpmath.sqrt(mpf("0.00085")), mpmath.sqrt(mpf("0.012"))
        scaled = [(low + (high - low) * k / 999) ** 2 for k in range(1000)]

        def curve(k):
            return mpmath.cos((mpf(k) / 100 + mpf("0.008")) / mpf("1.008") * mpmath.pi / 2) ** 2

        cosine = [min(1 - curve(k + 1) / curve(k), mpf("0.999")) for k in range(100)]
        for schedule, rates in ((DDPMLinear(), linear), (DDPMScaledLinear(), scaled), (DDPMCosine(100), cosine)):
            found = DiscreteDiffusion(schedule)
            assert max(abs(b / e - 1) for b, e in zip(found.betas, rates, strict=True)) <= 2 * U
            assert found.schedule is schedule


def test_rates_in_single_precision_are_taken_as_they_are():
    """float32 rates are the numbers they are, not those of the curve that they round."""
    betas = np.linspace(1e-4, 0.02, 1000, dtype=np.float32)
    assert (DiscreteDiffusion(torch.from_numpy(betas)).betas == betas.astype(np.float64)).all()


@pytest.mark.parametrize("source", [Noise, Data, VPrediction, Score, Velocity], ids=repr)
def test_predictions_give_data_and_noise(source):
    """x̂ and ε̂ of each prediction of a known pair are that pair, at all indices at once and one by one."""
    chain = DiscreteDiffusion(DDPMLinear()).respaced(100)
    rng = np.random.default_rng(1)
    x_data, noise = rng.standard_normal((2, 100, 3))
    index = np.arange(100)
    alpha, sigma = chain.alpha[:, None], chain.sigma[:, None]
    rate = chain.schedule.d_alpha((chain.timesteps + 1) / 1000)[:, None]  # and σσ̇ = −αα̇ where α² + σ² = 1
    made = {
        "Noise": noise,
        "Data": x_data,
        "VPrediction": alpha * noise - sigma * x_data,
        "Score": -noise / sigma,
        "Velocity": rate * x_data - alpha * rate / sigma * noise,
    }[source.name]
    x = chain.noised(index, x_data, noise)
    assert np.allclose(x, alpha * x_data + sigma * noise, rtol=1e-15, atol=1e-15)
    for to, wanted in ((Data, x_data), (Noise, noise)):
        found = chain.convert(index, x, made, source=source, to=to)
        assert np.abs(found - wanted).max() < 1e-10
        for i in (0, 57, 99):
            one = chain.convert(i, x[i : i + 1], made[i : i + 1], source=source, to=to)
            assert np.abs(one - wanted[i]).max() < 1e-10


@pytest.mark.parametrize("library", ["numpy", "torch", "jax"])
def test_arrays_of_three_libraries(library):
    """x_i, the posterior and the network's timesteps keep library and dtype, for one index and for one per sample."""
    make = {"numpy": np.asarray, "torch": torch.as_tensor, "jax": jnp.asarray}[library]
    chain = DiscreteDiffusion(np.linspace(0.01, 0.3, 40)).respaced(10)
    x_data, noise = (make(part) for part in np.random.default_rng(2).standard_normal((2, 3, 2, 4)).astype(np.float32))
    index = make(np.array([0, 4, 9]))
    for where in (index, 4):
        x = chain.noised(where, x_data, noise)
        mean, _ = chain.posterior(where, x_data, x)
        timesteps = chain.network_timesteps(where, x)
        for found in (x, mean):
            assert type(found) is type(x_data)
            assert (found.shape, found.dtype) == (x_data.shape, x_data.dtype)
        assert tuple(timesteps.shape) == (3,)
        assert np.asarray(timesteps).tolist() == chain.timesteps[np.asarray(where) + np.zeros(3, int)].tolist()
    each = np.stack([np.asarray(chain.noised(i, x_data, noise))[k] for k, i in enumerate((0, 4, 9))])
    assert np.abs(np.asarray(chain.noised(index, x_data, noise)) - each).max() < 1e-6


def test_no_signal_at_the_last_timestep():
    """A last rate of 1 leaves ᾱ = 0: data follows from v, and nothing is NaN; the noise prediction is infinite."""
    chain = DiscreteDiffusion(zero_terminal_snr(DDPMLinear()))
    assert (chain.betas[-1], chain.alpha[-1], chain.sigma[-1]) == (1.0, 0.0, 1.0)
    assert (DiscreteDiffusion(chain.betas).betas == chain.betas).all()
    keep, gain = chain.backward()
    assert keep[-1] == 0.0
    assert abs(gain[-1] - chain.alpha[-2]) < 1e-15
    assert np.isfinite([*chain.conversion(VPrediction), *chain.backward(0.0)]).all()
    assert not np.isfinite(chain.conversion(Noise)[1][-1])
    short = chain.respaced(5)
    assert (short.betas[-1], short.alpha[-1]) == (1.0, 0.0)


@pytest.mark.parametrize(
    ("betas", "error", "said"),
    [
        ([0.1, 1.5], ValueError, "0 < beta < 1"),
        ([1.0, 0.5], ValueError, "0 < beta < 1"),
        ([[0.1]], ValueError, "shape"),
        ([], ValueError, "shape"),
        (Linear(), TypeError, "a row of betas"),
    ],
    ids=["above", "one too early", "a table", "none", "a schedule of another kind"],
)
def test_refused_rates(betas, error, said):
    """What is not a row of rates is refused in three parts."""
    with pytest.raises(error, match=PARTS) as caught:
        DiscreteDiffusion(betas)
    assert said in str(caught.value)


@pytest.mark.parametrize("index", [-1, 20, np.array([0, -3]), np.array([0, 21])], ids=str)
def test_refused_indices(index):
    """An index outside 0 … K − 1 is refused, not wrapped round."""
    chain = DiscreteDiffusion(np.linspace(0.01, 0.3, 20))
    with pytest.raises(ValueError, match=PARTS):
        chain.noised(index, np.zeros((2, 3)), np.zeros((2, 3)))
